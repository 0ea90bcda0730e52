"""How a ranker is judged: AUC, GAUC, log loss, normalised entropy, calibration. NumPy only, in float64.

Notable choices:
- AUC by midranks: a tie between a click and a non-click counts a half, whatever the row order.
- GAUC has a value only for groups with both classes; the others are left out and *counted*.
- AUC and GAUC are sums of integers until the last division, group after group in order of their ids:
  rows that come in another order, batch size or number of shards give the same bits.
- Labels other than 0 and 1, NaN scores and one-class data are errors, never a silent 0.5 or NaN.

Every statistic is a weighted one underneath (`ranking.judging.resampling`), so that its bootstrap over users
costs one pass a resample; the functions here are those statistics at weight one.
"""

import math
import numbers
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from moon_rec.errors import RankingError
from ranking.groups import group_codes

Weight = Literal["impressions", "users", "positives"]
WEIGHTS: tuple[Weight, ...] = get_args(Weight)
NUM_BINS = 10
SMALLEST_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Gauc:
    """AUC averaged over groups.

    Attributes:
        value: the weighted mean of the groups' AUCs.
        num_groups: groups with both classes, which count.
        num_left_out: groups of one class, which do not.
        weight: `impressions`, `users` or `positives`.
    """

    value: float
    num_groups: int
    num_left_out: int
    weight: Weight

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class Calibration:
    """Whether predicted probabilities are of the right size.

    Attributes:
        ratio: sum of predictions over number of clicks; 1 is right, above 1 promises too much.
        error: over bins of equally many rows, the root mean square difference of the mean prediction and
            the click rate, weighted by rows and freed of its bias: near 0 for calibrated predictions,
            where the mean absolute difference stays above it however right they are.
    """

    ratio: float
    error: float


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a click scores above a non-click, ties counting a half.

    Args:
        labels: `(rows,)` of 0 and 1 (or booleans).
        scores: `(rows,)`, finite; any monotone scale.

    Raises:
        RankingError: other labels, NaN or infinite scores, lengths that differ, or one class only.
    """
    labels, scores = checked(labels, scores)
    negatives = np.sort(scores[labels == 0])
    positives = scores[labels == 1]
    below = np.searchsorted(negatives, positives, side="left")
    up_to = np.searchsorted(negatives, positives, side="right")
    # integers up to 2 * positives * negatives: exact, hence independent of row order
    return int((below + up_to).sum()) / (2 * positives.size * negatives.size)


def gauc(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    weight: Weight = "impressions",
) -> Gauc:
    """AUC within each group (user), averaged; groups of one class are left out and counted.

    Args:
        labels, scores: as in `auc`.
        groups: `(rows,)` user ids, in any order; a user's rows need not be neighbours.
        weight: what a group weighs: its `impressions`, one (`users`), or its `positives`.

    Raises:
        RankingError: as `auc`, an unknown weight, or no group with both classes.
    """
    labels, scores = checked(labels, scores)
    codes = group_codes(groups, labels.size)
    values, weights = group_aucs(labels, scores, codes, weight)
    counted = weights > 0
    if not counted.any():
        raise RankingError(f"gauc: none of {values.size} groups holds both clicks and non-clicks")
    mean = float((values[counted] * weights[counted]).sum() / weights[counted].sum())
    return Gauc(mean, int(counted.sum()), int((~counted).sum()), weight)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log likelihood in nats, probabilities clipped to [1e-12, 1 - 1e-12].

    Raises:
        RankingError: as `auc` (one class is allowed), or a probability outside [0, 1].
    """
    labels, probabilities = checked(labels, probabilities, both_classes=False)
    return float(row_losses(labels, probabilities).mean())


def normalised_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Log loss over the log loss of always predicting the mean click rate; below 1 is better than that.

    He et al. 2014 ("Practical Lessons from Predicting Clicks on Ads at Facebook"), section 3, eq. 3:
    `NE = log loss / -(p ln p + (1 - p) ln(1 - p))` with p the click rate of the very rows that are
    scored. Unlike log loss it can be compared between periods of different click rates.

    Raises:
        RankingError: as `log_loss`, or one class only (the entropy is zero then).
    """
    labels, probabilities = checked(labels, probabilities)
    return float(row_losses(labels, probabilities).mean()) / entropy(float(labels.mean()))


def entropy(rate: float) -> float:
    """Entropy in nats of a click that happens with probability `rate`; zero at 0 and 1."""
    if rate <= 0 or rate >= 1:
        return 0.0
    return -(rate * math.log(rate) + (1 - rate) * math.log1p(-rate))


def calibration(
    labels: np.ndarray,
    probabilities: np.ndarray,
    num_bins: int = NUM_BINS,
    groups: np.ndarray | None = None,
) -> Calibration:
    """Predicted over observed clicks, and the calibration error over `num_bins` bins.

    Args:
        groups: `(rows,)` user ids, where the rows of a user are alike; None: rows are independent.

    Raises:
        RankingError: as `log_loss`, no click at all (the ratio has no value then), or what is wrong with
            the groups.
    """
    labels, probabilities = checked(labels, probabilities, both_classes=False)
    check_probabilities(probabilities)
    if not labels.any():
        raise RankingError("calibration: no click among the labels, so the ratio has no value")
    bins = score_bins(probabilities, num_bins)
    gaps = probabilities - labels
    sums, sizes = (np.bincount(bins, values, num_bins) for values in (gaps, np.ones(labels.size)))
    if groups is None:
        num_groups, squares = labels.size, np.bincount(bins, gaps**2, num_bins)
    else:
        cells = group_codes(groups, labels.size) * num_bins + bins
        num_groups = int(cells.max()) // num_bins + 1
        by_group = np.bincount(cells, gaps, num_groups * num_bins).reshape(-1, num_bins)
        squares = (by_group**2).sum(axis=0)
    error = squared_calibration_error(sums, squares, sizes, num_groups)
    return Calibration(float(probabilities.sum() / labels.sum()), max(0.0, error) ** 0.5)


def squared_calibration_error(
    sums: np.ndarray, squares: np.ndarray, sizes: np.ndarray, num_groups: float, noise: int = 1
) -> float:
    """Mean square gap of prediction and click rate over bins of rows, without what sampling adds to it.

    The square of a bin's gap is too large by the gap's variance, which is taken off: Kumar, Liang and Ma
    2019 ("Verified Uncertainty Calibration"), there for independent rows. Here groups are
    drawn: with g the sum of (prediction - click) over a group's rows in a bin, the bin's sum G of n
    groups has the variance `V = n / (n - 1) (sum of g^2 - G^2 / n)`, and the value is the mean over
    rows of `(G^2 - V) / size^2`. It may lie below zero; its root is taken from zero up.

    Args:
        sums, squares, sizes: `(bins,)` G, the sum of g^2, and rows.
        num_groups: n.
        noise: how often V is taken off. A bootstrap draws a second time, which adds V again, so 2
            centres its draws on the value.

    Returns:
        The squared error; NaN for fewer than two groups, of which no variance can be had.
    """
    if num_groups < 2:
        return math.nan
    variances = num_groups / (num_groups - 1) * (squares - sums**2 / num_groups)
    filled = sizes > 0
    parts = (sums**2 - noise * variances)[filled] / sizes[filled]
    return float(parts.sum() / sizes.sum())


def checked(
    labels: np.ndarray, scores: np.ndarray, both_classes: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and scores as float64, or the error that names what is wrong with them."""
    labels, scores = _numbers(labels, "label"), _numbers(scores, "score")
    if labels.ndim != 1 or labels.shape != scores.shape or labels.size == 0:
        raise RankingError(
            f"labels {labels.shape} and scores {scores.shape}: wanted one of each a row, not none"
        )
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if wrong.size:
        raise RankingError(
            f"label {labels[wrong[0]].item()!r} in row {wrong[0]}: wanted 0 or 1 "
            f"({wrong.size:,} of {labels.size:,} rows)"
        )
    scores = scores.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise RankingError(
            f"score {scores[wrong[0]]} in row {wrong[0]}: wanted a finite number "
            f"({wrong.size:,} of {scores.size:,} rows)"
        )
    labels = labels.astype(np.int64)
    if both_classes and labels.min() == labels.max():
        raise RankingError(
            f"all {labels.size} labels are {labels[0]}: AUC needs clicks and non-clicks"
        )
    return labels, scores


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    """Numbers or truth values as they are; anything else is refused, never cast into one."""
    # numpy would turn a list such as [0.5, "0.5"] into texts
    values = (
        np.array(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    )
    if values.dtype.kind == "O" and values.ndim == 1:
        for row, value in enumerate(values):
            if not isinstance(value, numbers.Real | np.bool_):
                raise RankingError(f"{name} {value!r} in row {row}: wanted a number")
        values = np.array(values.tolist())
    if values.size and values.dtype.kind not in "biuf":
        first = values.flat[0]
        raise RankingError(f"{name} {first!s} in row 0 of type {values.dtype}: wanted a number")
    return values


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raise RankingError for the first value outside [0, 1]: logits were given."""
    wrong = np.flatnonzero((probabilities < 0) | (probabilities > 1))
    if wrong.size:
        value = probabilities[wrong[0]]
        raise RankingError(
            f"probability {value} in row {wrong[0]}: wanted [0, 1]; pass sigmoid(logits) "
            f"({wrong.size:,} of {probabilities.size:,} rows)"
        )


def group_aucs(
    labels: np.ndarray, scores: np.ndarray, codes: np.ndarray, weight: Weight
) -> tuple[np.ndarray, np.ndarray]:
    """AUC and weight of every group, `(groups,)` each; weight 0 where a group has one class."""
    if weight not in WEIGHTS:
        raise RankingError(f"weight {weight!r}: wanted one of {', '.join(WEIGHTS)}")
    num_groups = int(codes.max()) + 1
    order = np.lexsort((scores, codes))
    codes, labels, scores = codes[order], labels[order], scores[order]
    starts_tie = np.ones(codes.size, dtype=bool)
    starts_tie[1:] = (codes[1:] != codes[:-1]) | (scores[1:] != scores[:-1])
    tie = np.cumsum(starts_tie) - 1
    tie_start = np.flatnonzero(starts_tie)
    tie_size = np.diff(np.append(tie_start, codes.size))
    group_start = np.searchsorted(codes, np.arange(num_groups))
    # twice the midrank within the group, an integer
    rank_twice = 2 * (tie_start - group_start[codes[tie_start]]) + tie_size + 1
    sizes = np.bincount(codes, minlength=num_groups)
    positives = np.bincount(codes, labels, minlength=num_groups)
    negatives = sizes - positives
    rank_sum = np.bincount(codes, labels * rank_twice[tie], minlength=num_groups) / 2
    pairs = positives * negatives
    values = (rank_sum - positives * (positives + 1) / 2) / np.maximum(pairs, 1)
    chosen = {"impressions": sizes, "users": np.ones(num_groups), "positives": positives}[weight]
    return values, np.where(pairs > 0, chosen, 0).astype(np.float64)


def row_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row, `(rows,)`."""
    check_probabilities(probabilities)
    given = np.where(labels == 1, probabilities, 1 - probabilities)
    return -np.log(np.maximum(given, SMALLEST_PROBABILITY))


def score_bins(scores: np.ndarray, num_bins: int) -> np.ndarray:
    """Bin of each row, `(rows,)`: bins of equally many rows by score; ties share a bin."""
    if num_bins < 1:
        raise RankingError(f"num_bins {num_bins}: wanted at least 1")
    edges = np.quantile(scores, np.linspace(0, 1, num_bins + 1)[1:-1])
    return np.searchsorted(edges, scores, side="right")
