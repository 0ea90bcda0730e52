"""Figures as they were measured -> `Number`s as they are printed."""

from collections.abc import Mapping

import numpy as np

from exchange_rate.analysis.results import BySegment, Number
from exchange_rate.estimation.results import Slope

NAN = float("nan")
SEGMENTS = {"all": "", "warm": "_warm", "cold": "_cold"}
"""Segment -> what stands behind the name of a figure of it."""


def number(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    definition: str = "",
    source: str = "",
) -> Number:
    """A number; what is not finite becomes null, and without a value there is no interval."""
    ends = [finite(one) for one in (value, low, high)]
    if ends[0] is None:
        ends = [None, None, None]
    return Number(value=ends[0], low=ends[1], high=ends[2], definition=definition, source=source)


def nothing(definition: str = "") -> Number:
    """No number, for it was not measured or nothing identifies it."""
    return Number(value=None, low=None, high=None, definition=definition)


def slope_number(slope: Slope, source: str = "") -> Number:
    """A figure of a fit."""
    return number(slope.value, slope.low, slope.high, slope.definition, source)


def finite(value: float | None) -> float | None:
    """The value; null where it is none."""
    return float(value) if value is not None and np.isfinite(value) else None


def tracked(metrics: Mapping[str, float], name: str, definition: str) -> Number:
    """An estimate as it was tracked: `<name>`, `<name>.low`, `<name>.high` and `<name>.count`."""
    if name not in metrics:
        return nothing(definition)
    count = metrics.get(f"{name}.count")
    source = f"n = {count:,.0f}" if count is not None else ""
    ends = (metrics.get(f"{name}.low"), metrics.get(f"{name}.high"))
    return number(metrics[name], *ends, definition, source)


def by_segment(numbers: Mapping[str, Number]) -> BySegment:
    """The segments that have a value."""
    return BySegment(
        **{
            segment: one
            for segment, one in numbers.items()
            if one is not None and one.value is not None
        }
    )
