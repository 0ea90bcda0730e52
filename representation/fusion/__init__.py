"""MOON3.0's blocks between a language model's states and the vector: fusion of raw modalities, residual enhancement of fine detail."""

from representation.fusion.modality_fusion import ModalityFusion
from representation.fusion.residual_enhancement import ResidualEnhancement

__all__ = ["ModalityFusion", "ResidualEnhancement"]
