"""Mixtures of experts in a backbone's language model: MOON's guided experts, MOON2.0's modality-driven weights of objectives."""

from representation.mixture.config import ExpertsConfig
from representation.mixture.experts import Experts, has_experts, put_experts
from representation.mixture.modality_driven import OBJECTIVES, ObjectiveWeights
from representation.mixture.routing import Gates, Routing

__all__ = [
    "OBJECTIVES",
    "Experts",
    "ExpertsConfig",
    "Gates",
    "ObjectiveWeights",
    "Routing",
    "has_experts",
    "put_experts",
]
