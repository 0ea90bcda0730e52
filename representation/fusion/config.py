"""Settings of fusion and of residual enhancement.

MOON3.0 (arXiv 2604.00513) names both and says what they are for; their formulas and all numbers are not public, so that every value here is our choice.
"""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from moon_rec.bounds import Layers, Width, distinct
from moon_rec.config import Config

RawModality = Literal["image", "text"]
RAW_MODALITIES: tuple[RawModality, ...] = get_args(RawModality)


class FusionConfig(Config):
    """How a vector looks again at what it is of.

    Attributes:
        heads: of each modality; they divide the width of the backbone's states.
        modalities: raw signals that are fused in: the picture's tokens, the words'.
    """

    heads: Annotated[int, Field(ge=1, le=256)] = 4
    modalities: Annotated[
        tuple[RawModality, ...], Field(min_length=1), AfterValidator(distinct)
    ] = RAW_MODALITIES


class ResidualEnhancementConfig(Config):
    """How the states of a layer get back what those before the first layer held.

    Attributes:
        rank: width of the narrow layer between the two.
        every: of so many layers one is enhanced, the last among them.
        tokens: those that are enhanced: `all`, or a `picture`'s alone.
    """

    rank: Width = 32
    every: Layers = 1
    tokens: Literal["all", "picture"] = "all"
