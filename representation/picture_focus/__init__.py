"""NoteLLM-2's remedies for a language model that stops looking at pictures: late fusion with what the vision tower saw, and a token that a picture is compressed to before the words."""

from representation.picture_focus.compression import (
    Compression,
    compression_of,
    put_compression,
)
from representation.picture_focus.config import CompressionConfig, LateFusionConfig
from representation.picture_focus.late_fusion import LateFusion, late_fusion_of, put_late_fusion

__all__ = [
    "Compression",
    "CompressionConfig",
    "LateFusion",
    "LateFusionConfig",
    "compression_of",
    "late_fusion_of",
    "put_compression",
    "put_late_fusion",
]
