"""Objectives of post-training, one a file."""

from representation.losses.infonce import infonce, infonce_scores
from representation.losses.matryoshka import matryoshka

__all__ = ["infonce", "infonce_scores", "matryoshka"]
