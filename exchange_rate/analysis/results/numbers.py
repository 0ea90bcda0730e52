"""Numbers as they are printed, and what all parts of the results are made of."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Role = Literal["baseline", "content", "permuted", "reference"]
"""Of a ranker: without vectors, on each encoder's, on those dealt out anew; or another model without vectors that stands beside it."""


class Result(BaseModel):
    """A part of the results: fixed, without fields that are not declared, without NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Number(Result):
    """A number as it is printed."""

    value: float | None
    """The estimate; null where nothing identifies one."""
    low: float | None
    """Lower end of its interval; null where there is none."""
    high: float | None
    """Upper end of its interval; null where there is none."""
    definition: str
    """What it is, and what its interval is."""
    source: str = ""
    """What it was measured on, and how much of it."""


class Named(Result):
    """A number with a name."""

    name: str
    """Of a parameter, a metric or a quantity."""
    number: Number
    """The number."""


class BySegment(Result):
    """A number over all items, over warm ones and over cold ones; null where the segment was not measured."""

    all: Number | None = None
    """Over all items."""
    warm: Number | None = None
    """Over items that were shown before the cut."""
    cold: Number | None = None
    """Over the others."""


class Line(Result):
    """A fitted line or curve, for the figure."""

    x: tuple[float, ...]
    """Values of the metric."""
    value: tuple[float, ...]
    """The fit at them."""
    low: tuple[float, ...]
    """Lower end of its interval."""
    high: tuple[float, ...]
    """Upper end of its interval."""
