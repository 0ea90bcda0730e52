"""Negatives: the batch's own, hard ones of the same category or the same search, those of other ranks, and a queue of past ones."""

from representation.negatives.hard import HardNegatives
from representation.negatives.in_batch import keep_some
from representation.negatives.known_positives import NO_ITEM, KnownPositives
from representation.negatives.queue import Drawn, NegativeQueue
from representation.negatives.spatial import gather

__all__ = [
    "NO_ITEM",
    "Drawn",
    "HardNegatives",
    "KnownPositives",
    "NegativeQueue",
    "gather",
    "keep_some",
]
