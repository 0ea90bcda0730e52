"""Whole users of the log, few enough for memory: what histories, intervals and drift are measured on.

Notable choices
- Counts and rates are of all rows, by streaming. What needs rows side by side (histories, alike rows of a user, drift) is measured on all rows of some users,
  `SAMPLE_ROWS` at most: of a smaller log that is every user.
- Users come in the order of a hash of their id, up to the first that would not fit: the same shop gives the same sample, however its files are sorted. The
  first user comes in whatever the number of rows.
"""

from dataclasses import dataclass

import polars as pl

from moon_rec.shop.shop import Period, Shop

SAMPLE_ROWS = 400_000
PERIODS: tuple[Period, ...] = ("train", "validation", "test")
LABELS = ("clicked", "carted", "purchased")
PERIOD, HISTORY = "moon_rec.period", "moon_rec.history"
"""Columns that are put beside those of the log, under names that no log has."""


@dataclass(frozen=True)
class Sample:
    """All impressions of some users.

    Attributes:
        rows: the log's columns and `PERIOD`; `with_histories` adds `HISTORY`.
        users: `user_id` of those that are in it.
        source: what it is of the whole, in words.
    """

    rows: pl.DataFrame
    users: pl.DataFrame
    source: str


def sample_users(shop: Shop, rows_of_user: pl.DataFrame, most: int = SAMPLE_ROWS) -> Sample:
    """Rows of as many whole users as fit.

    Args:
        rows_of_user: `user_id` and `rows`, its impressions, of every user.
        most: rows at most, but for the first user's.
    """
    order = rows_of_user.sort(pl.col("user_id").hash(0), "user_id")
    fits = pl.col("rows").cum_sum() <= most
    users = order.filter(fits | (pl.int_range(pl.len()) == 0)).select("user_id")
    log = shop.impressions.with_columns(period_of(shop).alias(PERIOD))
    if users.height < order.height:
        log = log.join(users.lazy(), on="user_id", how="semi")
    rows = log.collect(engine="streaming")
    return Sample(rows, users, _source(rows.height, users.height, order.height))


def period_of(shop: Shop) -> pl.Expr:
    """The period of a row by its `time`, as text."""
    cut, test = (pl.lit(time, pl.Datetime("us")) for time in (shop.cut_time, shop.test_time))
    time = pl.col("time")
    after = pl.when(time < test).then(pl.lit("validation")).otherwise(pl.lit("test"))
    return pl.when(time < cut).then(pl.lit("train")).otherwise(after)


def _source(rows: int, users: int, of: int) -> str:
    if users == of:
        return f"all {rows:,} impressions of {of:,} users"
    return f"the {rows:,} impressions of {users:,} users drawn of {of:,}"
