"""MOON3.0's parts of an encoder: fusion of a vector with the raw picture and words it is of, and fine detail that is carried through the layers."""

from representation.fusion.config import FusionConfig, ResidualEnhancementConfig
from representation.fusion.modality_fusion import ModalityFusion, fusion_of, put_fusion
from representation.fusion.residual_enhancement import (
    Detail,
    ResidualEnhancement,
    has_residual_enhancement,
    put_residual_enhancement,
)

__all__ = [
    "Detail",
    "FusionConfig",
    "ModalityFusion",
    "ResidualEnhancement",
    "ResidualEnhancementConfig",
    "fusion_of",
    "has_residual_enhancement",
    "put_fusion",
    "put_residual_enhancement",
]
