"""Reasoning (MOON3.0): the model writes a product's attributes, and its vector is what stands behind them; both are learnt from rewards and by contrast."""

from representation.reasoning.train import ReasonConfig, reason

__all__ = ["ReasonConfig", "reason"]
