"""How much a single column tells of a label: more than is believable, and it was filled in after the fact.

Notable choices
- A column is read in three ways, and the best counts: its values in order, missing ones first or last; where it is
  missing; and the mean label of each of its values (of `MOST_VALUES` ranges of a column with more of them), learnt on one
  half of the rows and judged on the other, so that many rare values prove nothing.
- `BELIEVABLE_AUC`: whole click models reach .75 to .85 on logs of real lists, and .95 where non-clicks are drawn at random
  from the catalogue; one column beyond that knows the answer. An AUC also has to be `DEVIATIONS` standard errors of a
  column that knows nothing (Mann and Whitney 1947) away from a half, so that a handful of rows convicts nobody.
- Position is also read from the end of its request, and by its order within requests, for logs that write what was clicked
  first or last: the share of pairs of a request, one of them positive, that stand in one order.
- What only positive rows have (an order's number, a time of dwelling): every row whose value is not the commonest one is
  positive, and chance would do that less than once in a billion columns (`CHANCE`).
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

BELIEVABLE_AUC = 0.95
DEVIATIONS = 4.0
CHANCE = 1e-9
MOST_VALUES = 256


@dataclass(frozen=True)
class Knowledge:
    """What one column tells of a label.

    Attributes:
        auc: of its best reading, .5 to 1.
        reading: which that is, in words.
        rows: rows that were read.
        num_only: rows that differ from the column's commonest value, where all of those are positive beyond chance; else 0.
        is_believable: neither an AUC beyond belief nor values that only positive rows have.
    """

    auc: float
    reading: str
    rows: int
    num_only: int
    is_believable: bool

    def __str__(self) -> str:
        only = (
            f"; all {self.num_only:,} rows that have another value than the commonest are positive"
        )
        alone = f"{self.reading} alone has AUC {self.auc:.4f} over {self.rows:,} rows"
        return alone + only * bool(self.num_only)


def knowledge(values: pl.Series, labels: pl.Series) -> Knowledge:
    """What `values` tells of `labels`, row by row.

    Args:
        values: numbers, booleans, texts or times, `(rows,)`; null and NaN are missing.
        labels: booleans without null, `(rows,)`.
    """
    positive = labels.cast(pl.Boolean).to_numpy().astype(bool)
    codes, has_order = _codes(values)
    rows, num_positive = positive.size, int(positive.sum())
    if not 0 < num_positive < rows:
        return Knowledge(0.5, "nothing", rows, 0, True)
    found = {"its mean label by value": auc_of(_mean_labels(codes, positive), positive)}
    found["where it is missing"] = auc_of((codes == 0).astype(float), positive)
    if has_order:
        last = np.where(codes == 0, codes.max() + 1, codes)
        found["its value (missing as the largest)"] = auc_of(last, positive)
        found["its value"] = auc_of(codes, positive)
    found = {reading: max(auc, 1 - auc) for reading, auc in found.items()}
    reading = max(reversed(found), key=lambda name: round(found[name], 9))
    deviation = np.sqrt((rows + 1) / (12 * num_positive * (rows - num_positive)))
    beyond = found[reading] > BELIEVABLE_AUC and found[reading] - 0.5 > DEVIATIONS * deviation
    num_only = _only_positive(codes, positive)
    return Knowledge(found[reading], reading, rows, num_only, not (beyond or num_only))


def position_knowledge(rows: pl.DataFrame, label: str) -> Knowledge:
    """What `position` tells of a label by the best of its readings.

    Args:
        rows: with `request_id`, `position` and the label, all rows of a request or none.
    """
    place = pl.col("position")
    from_end = rows.select(place - place.max().over("request_id")).to_series()
    found = [knowledge(values, rows[label]) for values in (rows["position"], from_end)]
    found[1] = replace(found[1], reading=f"counted from the end of the request, {found[1].reading}")
    found.append(_order_within(rows, label))
    return min(found, key=lambda each: (each.is_believable, -each.auc))


def _order_within(rows: pl.DataFrame, label: str) -> Knowledge:
    positive = pl.col(label).cast(pl.Float64)
    ranked = rows.with_columns(rank=pl.col("position").rank().over("request_id"), positive=positive)
    requests = ranked.group_by("request_id").agg(
        positives=pl.col("positive").sum(),
        shown=pl.len(),
        ranks=(pl.col("rank") * pl.col("positive")).sum(),
    )
    positives, shown, ranks = (
        requests[name].to_numpy().astype(float) for name in ("positives", "shown", "ranks")
    )
    pairs = positives * (shown - positives)
    if not pairs.sum():
        return Knowledge(0.5, "its order within requests", rows.height, 0, True)
    auc = (ranks - positives * (positives + 1) / 2)[pairs > 0].sum() / pairs.sum()
    auc = float(max(auc, 1 - auc))
    deviation = np.sqrt((pairs * (shown + 1)).sum() / 12) / pairs.sum()
    beyond = auc > BELIEVABLE_AUC and auc - 0.5 > DEVIATIONS * deviation
    return Knowledge(auc, "its order within requests", rows.height, 0, not beyond)


def auc_of(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive row's score is above a negative row's, ties a half; both classes are there."""
    _, ranks = np.unique(scores, return_inverse=True)
    positives = np.bincount(ranks, weights=positive)
    negatives = np.bincount(ranks, weights=~positive)
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / (positives.sum() * negatives.sum()))


def _codes(values: pl.Series) -> tuple[np.ndarray, bool]:
    """Places of the values in their order, from 1, 0 where one is missing; and whether that order says anything."""
    if values.dtype.is_float():
        values = values.fill_nan(None)
    codes = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
    return codes, values.dtype != pl.String


def _mean_labels(codes: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """For each row the mean label of its value, over the other half of the rows."""
    if codes.max() > MOST_VALUES:  # ranges of equally many rows
        place = np.argsort(np.argsort(codes, kind="stable"), kind="stable")
        codes = np.where(codes == 0, 0, 1 + place * MOST_VALUES // codes.size)
    half = np.random.default_rng(0).integers(0, 2, codes.size)
    rate, found = positive.mean(), np.empty(codes.size)
    for side in (0, 1):
        learnt = half != side
        shown = np.bincount(codes[learnt], minlength=codes.max() + 1)
        clicked = np.bincount(codes[learnt], positive[learnt], minlength=codes.max() + 1)
        means = (clicked + rate) / (shown + 1)
        found[half == side] = means[codes[half == side]]
    return found


def _only_positive(codes: np.ndarray, positive: np.ndarray) -> int:
    """Rows that differ from the commonest value, if all are positive and chance would not do that; else 0."""
    others = codes != np.bincount(codes).argmax()
    number = int(others.sum())
    by_chance = number * np.log(positive.mean()) < np.log(CHANCE)
    return number if number and positive[others].all() and by_chance else 0
