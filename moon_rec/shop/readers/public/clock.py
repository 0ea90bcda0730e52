"""Sets without times: the publisher's split as a clock of three days, and lists of past items before the day of their row.

Notable choices
- Nothing is known of what came first within a period, so all of its rows are of one moment and make no history for each other.
- A list of past items (oldest first) says an order, and an order is all that is read from it: its entries stand a microsecond apart before
  the day of their row. Where the rows of a user in a period have several lists, one row's list may hold what another was labelled
  with, so all of that user's in that period are left out, and counted.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.files import Source, open_source
from moon_rec.shop.readers.public.sets import Clock, Layout, Untimed

FIRST_DAY = datetime(2000, 1, 1)
"""Of train; validation and test are the next days."""
PERIOD_TIME = "the publisher's split"
PAST_USER, PAST_ITEM, PAST_TIME = "user", "past item", "order"
PRIME, FACTOR = 1_000_003, 777_767
"""Mix ids of users, so that one in so many is drawn whatever order they were given in."""


def clock_map(layout: Layout) -> dict[str, Any]:
    """The importer's settings that a clock adds."""
    if layout.clock is None:
        return {}
    values: dict[str, Any] = {
        "cut_time": FIRST_DAY + timedelta(days=1),
        "test_time": FIRST_DAY + timedelta(days=2),
        "log": {"time": PERIOD_TIME},
    }
    if any(untimed.last for untimed in layout.untimed):
        values["events"] = {"user": PAST_USER, "item": PAST_ITEM, "time": PAST_TIME}
    return values


def with_periods(log: Source, paths: Sequence[Path], clock: Clock, user: str) -> Source:
    """The log with the publisher's test files behind it, and a day for each period.

    Args:
        paths: the test files. user: the column of users, whole numbers.

    Raises:
        ShopError: the test files have other columns than the log.
    """
    test = open_source(paths)
    if test.columns != log.columns:
        raise ShopError(
            f"{test.name} has columns {', '.join(test.columns)}, {log.name} has {', '.join(log.columns)}: take files of one release"
        )
    # a hash of our own: polars' differs from version to version, and a shop's digest may not
    mixed = pl.col(user).cast(pl.Int64) % PRIME * FACTOR % PRIME
    is_validation = mixed % clock.validation_users == 0
    days = [pl.lit(FIRST_DAY + timedelta(days=day)).cast(pl.Datetime("us")) for day in range(3)]
    train = log.frame.with_columns(
        pl.when(is_validation).then(days[1]).otherwise(days[0]).alias(PERIOD_TIME)
    )
    say(
        f"{log.name}: no times, so the publisher's split stands for them: its test files are the test period, one user in "
        f"{clock.validation_users} of the others is validation; nothing tells what came first within a period, so rows of a period make no history"
    )
    frame = pl.concat([train, test.frame.with_columns(days[2].alias(PERIOD_TIME))])
    return replace(log, frame=frame, paths=(*log.paths, *test.paths))


def past_events(log: Source, user: str, untimed: Untimed) -> Source:
    """The last entries of each list of past items as events, in their order.

    Args:
        log: with its periods.
    """
    past = pl.col(untimed.column).list.eval(pl.element().filter(pl.element() != untimed.padding))
    rows = log.frame.select(pl.col(user).alias(PAST_USER), PERIOD_TIME, past.alias(PAST_ITEM))
    rows = rows.filter(pl.col(PAST_ITEM).list.len() > 0)
    lists = rows.group_by(PAST_USER, PERIOD_TIME).agg(
        pl.col(PAST_ITEM).first(), several=pl.col(PAST_ITEM).hash().n_unique() > 1
    )
    found = log.collect(lists).sort(PERIOD_TIME, PAST_USER)
    kept = found.filter(~pl.col("several")).with_columns(
        pl.col(PAST_ITEM).list.tail(untimed.last or 0)
    )
    number = kept[PAST_ITEM].list.len()
    events = (
        kept.with_columns(ago=pl.int_ranges(number, 0, -1))
        .explode(PAST_ITEM, "ago")
        .select(
            PAST_USER,
            PAST_ITEM,
            (pl.col(PERIOD_TIME) - pl.duration(microseconds="ago")).alias(PAST_TIME),
        )
    )
    say(
        f"{log.name}: {events.height:,} events from {untimed.column}, the last {untimed.last} of each list in their order, before the "
        f"period of its rows; {int(found['several'].sum()):,} users' lists of a period differ from row to row and are left out"
    )
    return Source(log.paths, events.lazy(), is_text=False, form=log.form)
