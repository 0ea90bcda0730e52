"""Who engaged with what after which search, and how often each item was shown before the cut.

These are the only two tables that training of encoders and the notion of a cold item rest on, so the rule of no peeking is kept
here: a pair belongs to a period only when its search and its engagement both do, and exposures are counted before the cut alone.
"""

from typing import Literal, get_args

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.shop import Period, Shop

Engagement = Literal["clicked", "carted", "purchased"]


def engagements(
    shop: Shop, kind: Engagement = "purchased", period: Period = "train"
) -> pl.LazyFrame:
    """The items engaged with after each search.

    An item that answers one search in several requests is one engagement, at its earliest time. A pair whose search lies in one
    period and whose engagement lies in the next belongs to neither.

    Returns:
        search_id, user_id, item_id, time (of the engagement), sorted by time, search_id, item_id.

    Raises:
        ShopError: the kind or the period is unknown.
    """
    check_kind(kind)
    engaged = shop.impressions.filter(pl.col(kind) & pl.col("search_id").is_not_null())
    searches = shop.in_period(shop.searches, period).select("search_id")
    return (
        shop.in_period(engaged, period)
        .select("search_id", "user_id", "item_id", "time")
        .join(searches, on="search_id", how="semi")
        .group_by("search_id", "user_id", "item_id")
        .agg(pl.col("time").min())
        .sort("time", "search_id", "item_id")
    )


def exposure_counts(shop: Shop) -> pl.LazyFrame:
    """How often each item was shown before the cut; an item that was never shown is absent, that is, cold.

    Returns:
        item_id, impressions (UInt32), sorted by item_id.
    """
    return (
        shop.in_period(shop.impressions, "train")
        .group_by("item_id")
        .agg(impressions=pl.len())
        .sort("item_id")
    )


def check_kind(kind: str) -> None:
    """Refuse an engagement that the tables do not know.

    Raises:
        ShopError: it is none of `Engagement`.
    """
    if kind not in get_args(Engagement):
        known = ", ".join(get_args(Engagement))
        raise ShopError(f"engagement {kind!r} is unknown: choose one of {known}")
