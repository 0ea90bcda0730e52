"""From impression to purchase, and from search to purchase: how many reach each step."""

import polars as pl

from moon_rec.shop.description.rates import design_effects, share
from moon_rec.shop.description.results import Funnel, Step
from moon_rec.shop.description.sample import PERIOD, PERIODS, Sample, period_of
from moon_rec.shop.shop import Shop

IMPRESSIONS = (
    "Rows of the log: shown, then clicked, then of these carted or purchased, then of the clicked purchased. A purchase need not go through the "
    "cart, so a cart counts where the item was carted or purchased."
)
SEARCHES = (
    "Searches, then those that an impression answers, then those of which an answer was clicked, then purchased, at whatever time; the period is that of the "
    "search."
)
_SHOWN = {"impressions": pl.lit(True), "clicked": pl.col("clicked"), "carted": pl.col("clicked") & (pl.col("carted") | pl.col("purchased")),
          "purchased": pl.col("clicked") & pl.col("purchased")}  # fmt: skip


def funnels(shop: Shop, sample: Sample) -> tuple[Funnel, ...]:
    """The funnel of impressions, and that of searches where there are any: of the whole log, then of each period."""
    log = shop.impressions.select("user_id", period_of(shop).alias("period"), **_SHOWN)
    found = [
        _funnels(
            "impressions",
            IMPRESSIONS,
            _counted(log, list(_SHOWN)),
            sample.rows.select("user_id", period=PERIOD, **_SHOWN),
        )
    ]
    asked = _searches(shop)
    if asked.height:
        steps = [name for name in asked.columns if name not in ("user_id", "period")]
        found.append(_funnels("searches", SEARCHES, _counted(asked.lazy(), steps), asked))
    return tuple(one for group in found for one in group)


def _counted(rows: pl.LazyFrame, steps: list[str]) -> pl.DataFrame:
    sums = rows.group_by("period").agg(pl.col(steps).cast(pl.UInt32).sum().cast(pl.Int64))
    return sums.collect(engine="streaming")


def _searches(shop: Shop) -> pl.DataFrame:
    """One row a search: its user, its period, and whether it was answered, clicked, purchased."""
    answers = (
        shop.impressions.filter(pl.col("search_id").is_not_null())
        .group_by("search_id")
        .agg(
            answered=pl.lit(True),
            clicked=pl.col("clicked").any(),
            purchased=(pl.col("clicked") & pl.col("purchased")).any(),
        )
    )
    steps = ("answered", "clicked", "purchased")
    return (
        shop.searches.select("search_id", "user_id", period=period_of(shop), searches=pl.lit(True))
        .join(answers, on="search_id", how="left")
        .select("user_id", "period", "searches", *(pl.col(name).fill_null(False) for name in steps))
        .collect(engine="streaming")
    )


def _funnels(name: str, definition: str, counts: pl.DataFrame, rows: pl.DataFrame) -> list[Funnel]:
    """
    Args:
        counts: `period` and the count of each step, over all rows.
        rows: those that the intervals are measured on: `user_id`, `period`, and whether each step was reached.
    """
    steps = [column for column in counts.columns if column != "period"]
    found = []
    for period in ("all", *PERIODS):
        is_of = pl.lit(True) if period == "all" else pl.col("period") == period
        row = counts.filter(is_of).select(pl.col(steps).sum()).row(0, named=True)
        if row[steps[0]] or period == "all":
            made = tuple(
                _step(row, rows.filter(is_of), steps, place) for place in range(len(steps))
            )
            found.append(Funnel(name=name, period=period, definition=definition, steps=made))
    return found


def _step(counts: dict[str, int], rows: pl.DataFrame, steps: list[str], place: int) -> Step:
    """A step, as a share of those that reached the one before and of all."""
    name = steps[place]

    def of(base: str):
        reached = rows.filter(pl.col(base)).select("user_id", name, key=pl.lit(0))
        return share(counts[name], counts[base], design_effects(reached, "key", name).get(0))

    shares = (of(steps[place - 1]), of(steps[0])) if place else (None, None)
    return Step(name=name, count=counts[name], of_previous=shares[0], of_first=shares[1])
