"""Domain-knowledge pretraining: questions about products and the next-token objective."""

from representation.pretraining.train import PretrainConfig, pretrain

__all__ = ["PretrainConfig", "pretrain"]
