"""The log over time and over positions: impressions, rates, histories."""

from typing import Literal

import polars as pl

from moon_rec.shop.description.rates import rates
from moon_rec.shop.description.results import Day, Days, Place, Places
from moon_rec.shop.description.sample import HISTORY, LABELS, Sample
from moon_rec.shop.shop import Shop

Unit = Literal["hour", "day", "week", "month"]
_UNITS: tuple[tuple[int, Unit, str], ...] = (
    (3, "hour", "1h"), (130, "day", "1d"), (900, "week", "1w"), (10**6, "month", "1mo"),
)  # fmt: skip
"""Days up to which the log is shown by each unit, and polars' word for it."""
MOST_POSITIONS = 40
REST = "rest"


def days_of(shop: Shop, sample: Sample) -> Days:
    """The log by hour, day, week or month, whichever gives a readable number of steps.

    Args:
        sample: with `HISTORY`.
    """
    ends = shop.impressions.select(first=pl.col("time").min(), last=pl.col("time").max())
    first, last = ends.collect(engine="streaming").row(0)
    span = (last - first).days if first else 0
    _, unit, every = next(row for row in _UNITS if span <= row[0])
    start = pl.col("time").dt.truncate(every)
    sums = {name: pl.col(name).sum() for name in LABELS}
    counts = shop.impressions.group_by(start=start).agg(rows=pl.len(), **sums)
    counts = counts.collect(engine="streaming").sort("start")
    rows = sample.rows.select(
        "user_id", *LABELS, start=start, history=HISTORY, with_history=pl.col(HISTORY) > 0
    )
    of_sample = rows.group_by("start").agg(
        rows=pl.len(), with_history=pl.col("with_history").sum(), median=pl.col("history").median()
    )
    of_sample = counts.select("start").join(of_sample, on="start", how="left")
    found = rates(counts, rows, "start", LABELS)
    known = rates(of_sample.fill_null(0), rows, "start", ("with_history",))
    medians = dict(of_sample.select("start", "median").rows())
    steps = tuple(
        Day(
            start=row["start"],
            impressions=row["rows"],
            click_rate=found[row["start"]]["clicked"],
            cart_rate=found[row["start"]]["carted"],
            purchase_rate=found[row["start"]]["purchased"],
            with_history=known[row["start"]]["with_history"],
            median_history=medians[row["start"]],
        )
        for row in counts.iter_rows(named=True)
    )
    definition = (
        f"A step is a {unit} (UTC). Rates are shares of its impressions. A history is what the user engaged with strictly before an impression, without a limit to its "
        "length; its median is over impressions."
    )
    return Days(
        unit=unit,
        definition=definition,
        source=f"all impressions; their intervals and the histories on {sample.source}",
        steps=steps,
    )


def places_of(shop: Shop, sample: Sample) -> Places:
    """Clicks by position; from the `MOST_POSITIONS`th distinct one on all are one row."""
    known = shop.impressions.group_by("position").len().collect(engine="streaming").sort("position")
    shown = known["position"].head(MOST_POSITIONS)
    place = pl.when(pl.col("position").is_in(shown.implode())).then(
        pl.col("position").cast(pl.String)
    )
    place = place.otherwise(pl.lit(REST))
    counts = shop.impressions.group_by(place=place).agg(
        rows=pl.len(), clicked=pl.col("clicked").sum()
    )
    counts = counts.collect(engine="streaming")
    found = rates(
        counts, sample.rows.select("user_id", "clicked", place=place), "place", ("clicked",)
    )
    rows = dict(counts.select("place", "rows").rows())
    order = [*map(str, shown), *([REST] if REST in rows else [])]
    places = tuple(
        Place(position=name, impressions=rows[name], click_rate=found[name]["clicked"])
        for name in order
    )
    return Places(
        definition="Clicked impressions at each position of a request, as the log numbers them. Higher at the top by what is shown there and by being seen first.",
        source=f"all impressions; their intervals on {sample.source}",
        positions=places,
    )
