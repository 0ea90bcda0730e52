"""Periods that nothing can be measured on: of one class, or of users whom training never saw."""

from collections.abc import Iterator
from typing import get_args

import polars as pl

from moon_rec.shop.problem import Problem
from moon_rec.shop.shop import Period, Shop

SHARE_UNKNOWN = 0.5


def one_sided_periods(shop: Shop) -> Iterator[Problem]:
    """Periods in which everything shown was clicked: a log of engagements alone."""
    for period in get_args(Period):
        rows = shop.in_period(shop.impressions.select("time", "clicked"), period)
        found = rows.select(pl.len(), pl.col("clicked").sum()).collect(engine="streaming")
        number, clicks = found.row(0)
        if number and number == clicks:
            yield Problem(
                "impressions",
                f"is true in all {number:,} rows of the {period} period, so AUC is undefined there",
                "add what was shown and not clicked; recall alone can do without",
                "clicked",
            )


def unknown_users(shop: Shop) -> Iterator[Problem]:
    """A test period that is mostly of users without a row before the cut."""
    rows = shop.impressions.select("user_id", "time")
    train = shop.in_period(rows, "train").select("user_id").unique()
    test = shop.in_period(rows, "test").group_by("user_id").len("rows")
    new = test.join(train, on="user_id", how="anti")
    count = (pl.len(), pl.col("rows").sum())
    users, shown = test.select(count).collect(engine="streaming").row(0)
    unknown, of_unknown = new.select(count).collect(engine="streaming").row(0)
    if users and unknown > SHARE_UNKNOWN * users:
        yield Problem(
            "impressions",
            f"of {users:,} users of the test period {unknown:,} ({unknown / users:.1%}, {of_unknown / shown:.1%} of its rows) "
            "have no row in train",
            "split by time, not by user; if they are truly new, a ranker's user ids say nothing of them",
            "user_id",
        )
