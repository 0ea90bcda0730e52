"""How good embeddings are: search recall and the other intermediate metrics that people steer by."""

from representation.evaluation.search_recall import RecallResult, search_recall

__all__ = ["RecallResult", "search_recall"]
