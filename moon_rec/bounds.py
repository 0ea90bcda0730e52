"""Types of settings, each with its bounds: a subclass that gives a setting another default names the same type, and so keeps them.

Upper bounds are far beyond any use, and small enough that what passes neither overflows 64 bits nor asks for a table that no machine holds.
"""

from collections.abc import Hashable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

MOST_COUNTED = 2**31 - 1
MOST_IN_MEMORY = 65_536
LEAST_TEMPERATURE = 0.01
"""Similarities divided by less are beyond what a softmax in float32 tells apart; losses hold a learned temperature above it, too."""

Count = Annotated[int, Field(ge=1, le=MOST_COUNTED)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST_COUNTED)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Width = Annotated[int, Field(ge=1, le=MOST_IN_MEMORY)]
"""Of a layer, a vector, a histogram: what weights are made of."""
Length = Annotated[int, Field(ge=1, le=10_000_000)]
"""Of a sequence of behaviours, of tokens."""
LengthOrZero = Annotated[int, Field(ge=0, le=10_000_000)]
Layers = Annotated[int, Field(ge=1, le=1_024)]
Side = Annotated[int, Field(ge=8, le=4_096)]
"""Of a square picture, in pixels."""
Threads = Annotated[int, Field(ge=1, le=4_096)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Steps = Annotated[int, Field(ge=1, le=100_000_000)]
BatchRows = Annotated[int, Field(ge=1, le=2**22)]
"""Rows of a batch that teaches row by row."""
BatchPairs = Annotated[int, Field(ge=2, le=2**22)]
"""Rows of a batch that are compared with each other."""
Resamples = Annotated[int, Field(ge=1, le=1_000_000)]

Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]
InnerShare = Annotated[float, Field(gt=0, lt=1)]
Strength = Annotated[float, Field(ge=0, le=1_000)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
WeightDecay = Annotated[float, Field(ge=0, le=10)]
Norm = Annotated[float, Field(gt=0, le=1e6)]
Scale = Annotated[float, Field(gt=0, le=1e4)]
Threshold = Annotated[float, Field(ge=-1e9, le=1e9)]
"""Of a rating or a count."""
Temperature = Annotated[float, Field(ge=LEAST_TEMPERATURE, le=100)]

Name = Annotated[str, Field(min_length=1, max_length=1_000)]

Entry = TypeVar("Entry", bound=Hashable)


def distinct(values: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Refuse what is named twice.

    Raises:
        ValueError: it is.
    """
    twice = [value for place, value in enumerate(values) if value in values[:place]]
    if twice:
        raise ValueError(f"{twice[0]!r} is named twice; name each once")
    return values


def rising(values: tuple[int, ...]) -> tuple[int, ...]:
    """Refuse numbers that do not rise.

    Raises:
        ValueError: they do not.
    """
    if values != tuple(sorted(set(values))):
        raise ValueError(f"wanted each once and rising, such as {sorted(set(values))}")
    return values


LayerWidths = Annotated[tuple[Width, ...], Field(min_length=1, max_length=64)]
RisingWidths = Annotated[tuple[Width, ...], AfterValidator(rising)]
Cuts = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(rising)]
"""The ks of recall@k."""
Names = Annotated[tuple[Name, ...], AfterValidator(distinct)]
