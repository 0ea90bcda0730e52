"""Objectives of post-training, one a file."""

from representation.losses.bank import Asking, Bank, bank_logsumexp
from representation.losses.blocks import by_blocks
from representation.losses.circle import circle
from representation.losses.distillation import score_distillation, vector_distillation
from representation.losses.infonce import infonce, infonce_scores
from representation.losses.matryoshka import matryoshka
from representation.losses.triplet import triplet

__all__ = [
    "Asking",
    "Bank",
    "bank_logsumexp",
    "by_blocks",
    "circle",
    "infonce",
    "infonce_scores",
    "matryoshka",
    "score_distillation",
    "triplet",
    "vector_distillation",
]
