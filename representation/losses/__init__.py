"""Objectives of post-training, one a file."""

from representation.losses.bank import Asking, Bank, bank_logsumexp
from representation.losses.blocks import by_blocks
from representation.losses.circle import circle
from representation.losses.distillation import score_distillation, vector_distillation
from representation.losses.filtering import (
    FilterConfig,
    confidence,
    filter_weights,
    margin_at,
)
from representation.losses.infonce import infonce, infonce_scores
from representation.losses.matryoshka import matryoshka
from representation.losses.triplet import triplet

__all__ = [
    "Asking",
    "Bank",
    "FilterConfig",
    "bank_logsumexp",
    "by_blocks",
    "circle",
    "confidence",
    "filter_weights",
    "infonce",
    "infonce_scores",
    "margin_at",
    "matryoshka",
    "score_distillation",
    "triplet",
    "vector_distillation",
]
