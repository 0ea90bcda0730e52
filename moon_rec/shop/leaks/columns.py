"""Columns that know more than was known when the page was shown: the label itself, or its mean over rows to come.

Notable choices
- Columns are judged on a sample of whole requests, at most about `SAMPLE_ROWS` rows, drawn by a hash of the request's id:
  memory stays bounded, and a column beyond belief is so on any sample.
- A target mean is told from one of train rows alone: over items (or users) with rows on both sides of the cut, the column
  follows (squared correlation) the mean of a label over all rows, plain, smoothed or without the row itself, to
  `EXPLAINED`, and misses it by a quarter of what it misses the mean over train rows by.
- The columns looked at are those that a schema does not declare, and `position`; their use is the owner's choice, so these
  are warnings.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from moon_rec.shop.leaks.knowledge import knowledge, position_knowledge
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import TABLES
from moon_rec.shop.shop import Shop

SAMPLE_ROWS = 200_000
LABELS = ("clicked", "carted", "purchased")
SMOOTHING = (0, 1, 10, 100)
"""Rows of the overall mean that a smoothed mean adds to a group's own."""
EXPLAINED = 0.99
FEWEST_GROUPS = 20
KEYS = {"item_id": "items", "user_id": "users"}


def label_columns(shop: Shop) -> Iterator[Problem]:
    """Columns of the log that know `clicked` or `purchased` in the train period, position included."""
    names = further_columns(shop, "impressions")
    rows = sample_requests(shop.in_period(shop.impressions, "train"), [*names, *LABELS, "position"])
    rows = rows.drop_nulls(["clicked", "purchased"])
    for name in names:
        for label in ("clicked", "purchased"):
            found = knowledge(rows[name], rows[label])
            if not found.is_believable:
                yield Problem(
                    "impressions",
                    f"knows {label} in the train period: {found}",
                    "it is no feature of a ranker, unless it is known before the page is shown",
                    name,
                )
                break
    found = position_knowledge(rows, "clicked")
    if not found.is_believable:
        yield Problem(
            "impressions",
            f"encodes clicked in the train period: {found}",
            "write the order in which items were shown, from 0, or the same number everywhere",
            "position",
        )


def mean_columns(shop: Shop) -> Iterator[Problem]:
    """Numeric columns of log, items and users that are the mean of a label by item or user, rows after the cut included."""
    tables = {table: further_columns(shop, table, numeric=True) for table in KEYS.values()}
    tables["impressions"] = further_columns(shop, "impressions", numeric=True)
    if not any(tables.values()):
        return
    rows = sample_requests(shop.impressions, [*KEYS, *LABELS, *tables["impressions"]])
    for key, table in KEYS.items():
        means = _means(shop, rows, key)
        for where in (table, "impressions"):
            for name in tables[where]:
                values = rows[name] if where == "impressions" else _joined(shop, rows, key, name)
                found = _followed(values, rows, means, key)
                if found:
                    yield Problem(
                        where, found, "compute it from rows before cut_time, or leave it out", name
                    )


def _joined(shop: Shop, rows: pl.DataFrame, key: str, name: str) -> pl.Series:
    there = shop.table(KEYS[key]).select(key, name).collect()
    return rows.select(key).join(there, on=key, how="left", maintain_order="left")[name]


def further_columns(shop: Shop, table: str, numeric: bool = False) -> list[str]:
    """Columns that the schema does not declare and that hold numbers, or also truths, texts and times."""
    if not shop.has(table):
        return []
    declared = {column.name for column in TABLES[table]}
    names = []
    for name, dtype in shop.table(table).collect_schema().items():
        fits = dtype.is_numeric() or (
            not numeric and (dtype in (pl.Boolean, pl.String) or dtype.is_temporal())
        )
        if name not in declared and fits:
            names.append(name)
    return names


def sample_requests(frame: pl.LazyFrame, columns: list[str]) -> pl.DataFrame:
    """Whole requests, about `SAMPLE_ROWS` rows at most."""
    number = frame.select(pl.len()).collect(engine="streaming").item()
    parts = -(-number // SAMPLE_ROWS)
    rows = frame.filter(pl.col("request_id").hash(0) % max(parts, 1) == 0)
    return rows.select("request_id", "time", *columns).collect(engine="streaming")


Means = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]


def _means(shop: Shop, rows: pl.DataFrame, key: str) -> Means:
    """(label, kind of mean) -> for each row the mean over all rows of its group, and over those before the cut."""
    early = pl.col("time") < pl.lit(shop.cut_time)
    counts = [pl.len().alias("all"), early.sum().alias("train")]
    for label in LABELS:
        counts += [pl.col(label).sum().alias(f"{label} all")]
        counts += [(pl.col(label) & early).sum().alias(f"{label} train")]
    groups = shop.impressions.group_by(key).agg(counts).collect(engine="streaming")
    groups = rows.select(key).join(groups, on=key, how="left", maintain_order="left")
    number = {span: groups[span].to_numpy().astype(float) for span in ("all", "train")}
    found: Means = {}
    for label in LABELS:
        own = rows[label].to_numpy().astype(float)
        total = {span: groups[f"{label} {span}"].to_numpy().astype(float) for span in number}
        rate = own.mean()
        spans = ("all", "train")
        for extra in SMOOTHING:
            means = [(total[s] + extra * rate) / np.maximum(number[s] + extra, 1) for s in spans]
            kind = f"mean smoothed by {extra} rows" if extra else "mean"
            found[label, kind] = (means[0], means[1])
        others = [(total[s] - own) / np.maximum(number[s] - 1, 1) for s in spans]
        found[label, "mean without the row itself"] = (others[0], others[1])
    both = (number["train"] > 0) & (number["all"] > number["train"])
    found["", "on both sides"] = (both, both)
    return found


def _followed(values: pl.Series, rows: pl.DataFrame, means: Means, key: str) -> str | None:
    """Which mean of later rows the column is, in words."""
    column = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    kept = means["", "on both sides"][0] & np.isfinite(column)
    if rows[key].filter(pl.Series(kept)).n_unique() < FEWEST_GROUPS:
        return None
    misses = {
        name: tuple(1 - _correlation(column[kept], mean[kept]) ** 2 for mean in both)
        for name, both in means.items()
        if name[0]
    }
    least_of_train = min(train for _, train in misses.values())
    (label, kind), (missed, _) = min(misses.items(), key=lambda item: item[1][0])
    if missed > 1 - EXPLAINED or least_of_train < 4 * missed or least_of_train < 1e-9:
        return None
    group = key.removesuffix("_id")
    return (
        f"is the {group}'s {kind} of {label} with the rows after the cut: squared correlation {1 - missed:.4f} over "
        f"{int(kept.sum()):,} rows, {1 - least_of_train:.4f} with that of train rows"
    )


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if one.std() == 0 or other.std() == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
