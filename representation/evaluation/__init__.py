"""How good embeddings are: search recall and the other intermediate metrics that people steer by."""

from representation.evaluation.search_recall import RecallResult, search_recall
from representation.evaluation.shop_metrics import (
    ShopMeasures,
    measure_segments,
    measure_shop,
    measure_shop_by_row,
)

__all__ = [
    "RecallResult",
    "ShopMeasures",
    "measure_segments",
    "measure_shop",
    "measure_shop_by_row",
    "search_recall",
]
