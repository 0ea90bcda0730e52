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
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from moon_rec.errors import RankingError

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
        error: expected calibration error: over bins of equally many rows, the mean absolute
            difference of the mean prediction and the click rate, weighted by rows.
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
    labels: np.ndarray, probabilities: np.ndarray, num_bins: int = NUM_BINS
) -> Calibration:
    """Predicted over observed clicks, and the expected calibration error over `num_bins` bins.

    Raises:
        RankingError: as `log_loss`, or no click at all (the ratio has no value then).
    """
    labels, probabilities = checked(labels, probabilities, both_classes=False)
    check_probabilities(probabilities)
    if not labels.any():
        raise RankingError("calibration: no click among the labels, so the ratio has no value")
    bins = score_bins(probabilities, num_bins)
    gaps = np.bincount(bins, probabilities - labels, minlength=num_bins)
    return Calibration(
        float(probabilities.sum() / labels.sum()), float(np.abs(gaps).sum() / labels.size)
    )


def checked(
    labels: np.ndarray, scores: np.ndarray, both_classes: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and scores as float64, or the error that names what is wrong with them."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.ndim != 1 or labels.shape != scores.shape or labels.size == 0:
        raise RankingError(
            f"labels {labels.shape} and scores {scores.shape}: wanted one of each a row, not none"
        )
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if wrong.size:
        raise RankingError(f"label {labels[wrong[0]]!r} in row {wrong[0]}: wanted 0 or 1")
    scores = scores.astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise RankingError(f"score {scores[wrong[0]]} in row {wrong[0]}: wanted a finite number")
    labels = labels.astype(np.int64)
    if both_classes and labels.min() == labels.max():
        raise RankingError(
            f"all {labels.size} labels are {labels[0]}: AUC needs clicks and non-clicks"
        )
    return labels, scores


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raise RankingError for the first value outside [0, 1]: logits were given."""
    wrong = np.flatnonzero((probabilities < 0) | (probabilities > 1))
    if wrong.size:
        value = probabilities[wrong[0]]
        raise RankingError(
            f"probability {value} in row {wrong[0]}: wanted [0, 1]; pass sigmoid(logits)"
        )


def group_codes(groups: np.ndarray, num_rows: int) -> np.ndarray:
    """Groups numbered from 0 in ascending order, `(rows,)`."""
    groups = np.asarray(groups)
    if groups.shape != (num_rows,):
        raise RankingError(f"groups {groups.shape}: wanted one for each of {num_rows} rows")
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


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
