"""Parts of ours that are put into a backbone's module, saved with its weights, and put in again before these are read."""

from typing import Any, NamedTuple

from torch import nn

from moon_rec.errors import EncoderError
from representation.fusion import (
    FusionConfig,
    ResidualEnhancementConfig,
    fusion_of,
    has_residual_enhancement,
    put_fusion,
    put_residual_enhancement,
)
from representation.fusion.modality_fusion import NAME as FUSION
from representation.fusion.residual_enhancement import NAME as RESIDUAL_ENHANCEMENT
from representation.mixture import ExpertsConfig, has_experts, put_experts
from representation.mixture.experts import ROUTER
from representation.picture_focus import (
    CompressionConfig,
    LateFusionConfig,
    compression_of,
    late_fusion_of,
    put_compression,
    put_late_fusion,
)
from representation.picture_focus.compression import NAME as COMPRESSION
from representation.picture_focus.late_fusion import NAME as LATE_FUSION


class AddedParts(NamedTuple):
    """Settings of each part; None: the module is without."""

    experts: ExpertsConfig | None = None
    fusion: FusionConfig | None = None
    residual_enhancement: ResidualEnhancementConfig | None = None
    late_fusion: LateFusionConfig | None = None
    compression_tokens: CompressionConfig | None = None

    def put(self, module: Any, seed: int = 0) -> None:
        """Put the parts into a backbone's module, in place; what it computes stays as it is until they learn, but for compression tokens.

        Raises:
            EncoderError: one is there already, or does not fit.
        """
        if self.experts is not None:
            put_experts(module, self.experts, seed)
        if self.fusion is not None:
            put_fusion(module, self.fusion, seed)
        if self.residual_enhancement is not None:
            put_residual_enhancement(module, self.residual_enhancement, seed)
        if self.late_fusion is not None:
            put_late_fusion(module, self.late_fusion)
        if self.compression_tokens is not None:
            put_compression(module, self.compression_tokens, seed)

    def check(self, module: nn.Module) -> None:
        """
        Raises:
            EncoderError: the module has other parts than these.
        """
        there = (
            has_experts(module),
            fusion_of(module) is not None,
            has_residual_enhancement(module),
            late_fusion_of(module) is not None,
            compression_of(module) is not None,
        )
        for name, wanted, has in zip(self._fields, self, there, strict=True):
            if has != (wanted is not None):
                raise EncoderError(
                    f"{name} = {wanted!r}, and the backbone has {'some' if has else 'none'}; the two do not belong together"
                )


NOTHING_ADDED = AddedParts()
_NEW = frozenset((FUSION, RESIDUAL_ENHANCEMENT, LATE_FUSION, COMPRESSION))


def is_new(name: str) -> bool:
    """Whether a parameter is of a part that is no copy of what the backbone had: a router of experts, fusion, residual enhancement, late fusion, compression tokens."""
    return ROUTER in name or not _NEW.isdisjoint(name.split("."))
