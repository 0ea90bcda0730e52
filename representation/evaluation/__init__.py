"""How good embeddings are: search recall and the other intermediate metrics that people steer by."""

from representation.evaluation.search_recall import RecallResult, search_recall
from representation.evaluation.shop_metrics import measure_segments, measure_shop

__all__ = ["RecallResult", "measure_segments", "measure_shop", "search_recall"]
