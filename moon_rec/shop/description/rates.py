"""Shares of the log with intervals that know that rows of one user are alike.

Notable choices
- Positives and rows are counted over the whole log. How alike a user's rows are (the design effect, Kish 1965) is measured on the sampled users, for each key
  (period, day, position) by itself, and Wilson's interval takes as many independent rows as that leaves (`moon_rec.shares`).
- A key without a sampled row has no interval.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from moon_rec.shares import effective_count, wilson
from moon_rec.shop.description.results import Share

INTERVAL = (
    "Intervals of shares at 95 %: Wilson's, at the number of independent rows that these are worth; rows of one user count as alike as "
    "they are found to be (design effect, Kish 1965). What is counted whole, such as coverage, has no interval."
)
NOTHING = Share(value=None, low=None, high=None, count=0)


def rates(
    counts: pl.DataFrame, rows: pl.DataFrame, key: str, names: Iterable[str]
) -> dict[Any, dict[str, Share]]:
    """The share of rows in which each of `names` is true, for each value of `key`.

    Args:
        counts: `key`, `rows`, and one count of true rows for each name: of the whole log.
        rows: of the sampled users: `key`, `user_id`, and one truth for each name.
    """
    effects = {name: design_effects(rows, key, name) for name in names}
    return {
        row[key]: {name: share(row[name], row["rows"], found.get(row[key])) for name, found in effects.items()}
        for row in counts.iter_rows(named=True)
    }  # fmt: skip


def share(positive: int, count: int, effect: float | None = None) -> Share:
    """`positive` of `count` rows.

    Args:
        effect: the design effect; None: there is no interval.
    """
    if not count:
        return NOTHING
    value = positive / count
    if effect is None:
        return Share(value=value, low=None, high=None, count=count)
    low, high = wilson(value, count / effect)
    return Share(value=value, low=float(low), high=float(high), count=count)


def design_effects(rows: pl.DataFrame, key: str, name: str) -> dict[Any, float]:
    """For each value of `key`: how many rows are worth one independent row, for the share in which `name` is true.

    Users are the groups; `moon_rec.shares` has the formula.
    """
    users = rows.group_by(key, "user_id").agg(rows=pl.len(), hits=pl.col(name).sum())
    users = users.sort(key, "user_id")  # sums of floats in one order: the same bits every time
    mean = pl.col("hits").sum().over(key) / pl.col("rows").sum().over(key)
    found = users.with_columns(off=(pl.col("hits") - mean * pl.col("rows")) ** 2).group_by(key).agg(
        count=pl.col("rows").sum(),
        share=pl.col("hits").sum() / pl.col("rows").sum(),
        off=pl.col("off").sum(),
        users=pl.len(),
        largest=(pl.col("rows").cast(pl.Float64) ** 2).sum() / pl.col("rows").sum(),
    )  # fmt: skip
    effects = {}
    for row in found.iter_rows(named=True):
        variance = row["off"] / row["count"] ** 2
        worth = effective_count(row["share"], variance, row["count"], row["users"], row["largest"])
        effects[row[key]] = row["count"] / float(np.maximum(worth, 1e-9))
    return effects
