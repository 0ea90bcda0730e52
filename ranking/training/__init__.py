"""The training of rankers, in one process or many."""

from ranking.training.checkpoint import Checkpoints
from ranking.training.course import prepare, train_on_rank, train_ranker

__all__ = ["Checkpoints", "prepare", "train_on_rank", "train_ranker"]
