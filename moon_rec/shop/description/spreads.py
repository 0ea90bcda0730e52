"""How quantities are distributed: prices, sizes of requests, what users and items have of the log."""

import itertools
import math

import numpy as np
import polars as pl

from moon_rec.shop.description.periods import Log
from moon_rec.shop.description.results import Bin, Spread
from moon_rec.shop.description.sample import HISTORY, Sample
from moon_rec.shop.shop import Shop

MOST_VALUES = 24
"""Whole numbers of so many values at most have a bin each; others are in steps of 1, 2, 5, 10 ..."""


def spreads(shop: Shop, log: Log, sample: Sample) -> tuple[Spread, ...]:
    """All distributions of the page.

    Args:
        sample: with `HISTORY`.
    """
    prices = shop.items.select("price").collect(engine="streaming")["price"]
    counted = "all impressions, by streaming"
    sizes = sample.rows.group_by("request_id").len()["len"]
    rows = (
        ("price of an item", "The column price, one value an item.", "the table items", prices),
        ("impressions in a request", "Rows of one request_id.", sample.source, sizes),
        ("impressions of a user", "Rows of one user_id, all periods.", counted, log.users["rows"]),
        ("clicks of a user", "Clicked rows of one user_id, all periods; users without a click count 0.", counted, log.users["clicks"]),
        ("impressions of an item", "Rows of one item_id that was shown, all periods.", counted, log.items["rows"]),
        ("history at an impression", "What the user engaged with strictly before it.", sample.source, sample.rows[HISTORY]),
    )  # fmt: skip
    return tuple(spread(*row) for row in rows)


def spread(name: str, definition: str, source: str, values: pl.Series) -> Spread:
    """The distribution of `values`; nulls, NaN and infinities count as missing."""
    numbers = values.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    numbers = np.sort(numbers[np.isfinite(numbers)])
    count = len(numbers)
    at = {}
    if count:  # the least value that so large a share of all is at or below
        at = {"least": 0, "median": math.ceil(0.5 * count) - 1, "p90": math.ceil(0.9 * count) - 1}
        at["most"] = count - 1
    empty = dict.fromkeys(("least", "median", "p90", "most"))
    return Spread(
        name=name,
        definition=definition,
        source=source,
        count=count,
        missing=len(values) - count,
        **(empty | {part: float(numbers[place]) for part, place in at.items()}),
        mean=float(numbers.mean()) if count else None,
        bins=_bins(numbers),
    )


def _bins(numbers: np.ndarray) -> tuple[Bin, ...]:
    if not len(numbers):
        return ()
    values = np.unique(numbers) if numbers[-1] - numbers[0] < MOST_VALUES else numbers[:0]
    if len(values) and (values == np.round(values)).all():
        kept = np.arange(values[0], values[-1] + 1)
        counts = np.searchsorted(numbers, kept, "right") - np.searchsorted(numbers, kept, "left")
        return tuple(
            Bin(low=one, high=one, count=int(number))
            for one, number in zip(kept, counts, strict=True)
        )
    edges = steps_around(numbers)
    places = np.searchsorted(numbers, edges, "left")
    return tuple(
        Bin(low=low, high=high, count=int(number))
        for (low, high), number in zip(itertools.pairwise(edges), np.diff(places), strict=True)
    )


def steps_around(numbers: np.ndarray) -> list[float]:
    """Edges 1, 2, 5, 10 ... of either sign around values, with 0 among them; below a ten-thousandth of the largest they have no step of their own.

    Args:
        numbers: at least one, ascending.
    """
    sizes = np.abs(numbers[numbers != 0])
    most, least = float(sizes.max(initial=0)) or 1.0, float(sizes.min(initial=np.inf))
    least = max(min(least, most), most * 1e-4)
    powers = range(math.floor(math.log10(least)), math.floor(math.log10(most)) + 2)
    steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    edges = [*(-step for step in reversed(steps)), 0.0, *steps]
    first = max(place for place, edge in enumerate(edges) if edge <= numbers[0])
    last = min(place for place, edge in enumerate(edges) if edge > numbers[-1])
    return edges[first : last + 1]
