"""What a shop holds, in numbers: for `shop describe` and `shop check`.

Cold: never shown before the cut. History: at least one click of the user, on an impression or in an event, strictly before
the impression.
"""

from dataclasses import dataclass
from typing import get_args

import polars as pl

from moon_rec.shop.engagement import exposure_counts
from moon_rec.shop.history import Histories
from moon_rec.shop.schema import empty_table
from moon_rec.shop.shop import Period, Shop
from moon_rec.texts import has_text

NO_CUT = 1_000_000
"""A history length that cuts none: the description counts all earlier clicks."""


@dataclass(frozen=True)
class PeriodNumbers:
    """One period of a shop; shares are of its impressions, NaN where it has none."""

    period: str
    requests: int
    impressions: int
    users: int
    searches: int
    click_rate: float
    purchase_rate: float
    share_cold: float
    share_with_history: float
    median_history: float


@dataclass(frozen=True)
class Description:
    """The whole shop; shares are of items or of searches. `events`: behaviour that was no impression, 0 without such a table."""

    items: int
    spus: int
    categories: int
    share_with_picture: float
    share_with_price: float
    users: int
    searches: int
    share_text_only: float
    share_image_only: float
    share_both: float
    impressions: int
    first: object
    last: object
    events: int
    first_event: object
    last_event: object
    periods: tuple[PeriodNumbers, ...]


def describe(shop: Shop) -> Description:
    """Count a shop, period by period. Pictures are not decoded, only their presence is read."""
    items = shop.items.select(
        items=pl.len(),
        spus=pl.col("spu_id").n_unique(),
        categories=pl.col("category").n_unique(),
        share_with_price=_share(pl.col("price").is_not_null()),
    )
    pictures = shop.pictured("items").select(share_with_picture=_share(pl.col("has_picture")))
    by_words, by_picture = has_text("query_text"), pl.col("has_picture")
    searches = shop.searches.drop("query_image").join(shop.pictured("searches"), on="search_id")
    searches = searches.select(
        searches=pl.len(),
        share_text_only=_share(by_words & ~by_picture),
        share_image_only=_share(by_picture & ~by_words),
        share_both=_share(by_words & by_picture),
    )
    impressions = shop.impressions.select(
        impressions=pl.len(),
        users=pl.col("user_id").n_unique(),
        first=pl.col("time").min(),
        last=pl.col("time").max(),
    )
    acts = empty_table("events").lazy() if shop.events is None else shop.events
    events = acts.select(
        events=pl.len(), first_event=pl.col("time").min(), last_event=pl.col("time").max()
    )
    numbers = {}
    for frame in (items, pictures, searches, impressions, events):
        numbers |= frame.collect(engine="streaming").row(0, named=True)
    return Description(**numbers, periods=_periods(shop))


def _periods(shop: Shop) -> tuple[PeriodNumbers, ...]:
    histories, counts = Histories.of(shop), exposure_counts(shop).select("item_id")
    numbers = []
    for period in get_args(Period):
        rows = shop.in_period(shop.impressions, period)
        users = rows.select("user_id", "time").collect(engine="streaming")
        starts, ends = histories.before(
            users["user_id"].to_numpy(), users["time"].to_numpy(), NO_CUT
        )
        lengths = pl.Series(ends - starts)
        found = rows.select(
            requests=pl.col("request_id").n_unique(),
            impressions=pl.len(),
            users=pl.col("user_id").n_unique(),
            click_rate=_share(pl.col("clicked")),
            purchase_rate=_share(pl.col("purchased")),
        ).collect(engine="streaming")
        warm = rows.join(counts, on="item_id", how="semi").select(pl.len()).collect().item()
        searches = shop.in_period(shop.searches, period).select(pl.len()).collect().item()
        num_rows = users.height
        numbers.append(
            PeriodNumbers(
                period=period,
                searches=searches,
                share_cold=1 - warm / num_rows if num_rows else float("nan"),
                share_with_history=_number((lengths > 0).mean()),
                median_history=_number(lengths.median()),
                **found.row(0, named=True),
            )
        )
    return tuple(numbers)


def _share(is_so: pl.Expr) -> pl.Expr:
    return is_so.mean().fill_null(float("nan"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")
