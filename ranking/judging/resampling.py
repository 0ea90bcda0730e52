"""Statistics that can be taken again under user weights, in one pass each: what the bootstrap needs.

A resample of users with replacement is a weight a user: how often it was drawn. Each class below
sorts once, when it is made; after that `value(weights)` costs one pass over the rows (AUC) or over the
users (all others), so a thousand resamples of a hundred thousand rows take about a second. Rankers
that are compared see the same weights, which is what makes their difference paired.

**How many users an interval needs.** Percentile intervals are too short where users are few: the draws vary by
(n - 1) / n of what they should, and by the normal's quantiles where t's are due. Both are made good by wider
percentiles (`interval`). Even so, below `MIN_USERS` counted users an interval covers too seldom for what it
says (`benchmarks/verdicts.py`, docs/results.md): there is none then, and no verdict.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from scipy.special import ndtr, stdtrit

from moon_rec.progress import track
from moon_rec.seeds import generator
from ranking.metrics import (
    NUM_BINS,
    Weight,
    entropy,
    group_aucs,
    row_losses,
    score_bins,
    squared_calibration_error,
)

NOTHING = float("nan")
MIN_USERS = 20
"""Counted users below which there is no interval: with as many or more, 95 % ones cover .92 to .96, rows heavy-tailed."""


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products on one thread. BLAS would start threads for a sum this short, which costs several
    times what it saves on a busy machine, and the last bits would depend on how many it starts."""
    return float(np.einsum("i,i", a, b))


class Statistic(Protocol):
    """A number of scored rows, as a function of what each user weighs.

    Users are codes from 0; a statistic of a segment ignores the weights of users it does not know.

    Attributes:
        counted: users it rests on: those of both classes for GAUC, the fewer of those with a click and
            those with a non-click for AUC and normalised entropy, those with rows elsewhere.
    """

    counted: int

    def value(self, weights: np.ndarray) -> float:
        """The statistic at user `weights` `(users,)` float64; NaN where it has none."""
        ...


class WeightedAuc:
    """AUC over all rows, rows weighing what their users do.

    Args:
        labels, scores: `(rows,)`, checked.
        users: `(rows,)` codes from 0.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, users: np.ndarray):
        order = np.argsort(scores, kind="stable")
        scores, users, is_positive = scores[order], users[order], labels[order] == 1
        negatives, positives = scores[~is_positive], scores[is_positive]
        self._negative_users, self._positive_users = users[~is_positive], users[is_positive]
        below = np.searchsorted(negatives, positives, side="left")
        up_to = np.searchsorted(negatives, positives, side="right")
        self._has_ties = bool((below != up_to).any())
        # sums of non-clicks are asked for at clicks alone, which are few: what lies between two of them is summed as one piece
        marks = np.unique(np.concatenate([[0], below, up_to]))
        self._starts = marks[marks < negatives.size]
        ends = np.append(self._starts, negatives.size)
        self._below, self._up_to = np.searchsorted(ends, below), np.searchsorted(ends, up_to)
        sides = (self._negative_users, self._positive_users)
        self.counted = min(np.unique(side).size for side in sides)

    def value(self, weights: np.ndarray) -> float:
        """Sum over clicks of the non-clicks' weight below (half of it for ties), over all pairs."""
        if not self._starts.size:
            return NOTHING
        cumulated = np.zeros(self._starts.size + 1)
        pieces = np.add.reduceat(weights.take(self._negative_users), self._starts)
        np.cumsum(pieces, out=cumulated[1:])
        positive = weights.take(self._positive_users)
        beaten = cumulated.take(self._below)
        if self._has_ties:
            beaten = (beaten + cumulated.take(self._up_to)) / 2
        pairs = positive.sum() * cumulated[-1]
        return dot(positive, beaten) / pairs if pairs > 0 else NOTHING


class WeightedRatio:
    """Sum of one quantity over the sum of another, both kept a user: means, GAUC, calibration ratio."""

    def __init__(self, above: np.ndarray, below: np.ndarray):
        self._above, self._below = above, below
        self.counted = int((below > 0).sum())

    def value(self, weights: np.ndarray) -> float:
        """The ratio at user `weights`."""
        weights = weights[: self._below.size]
        total = dot(weights, self._below)
        return dot(weights, self._above) / total if total > 0 else NOTHING


class WeightedCalibrationError:
    """Root of the squared calibration error, from zero up, over bins that stay where the whole data put them.

    Args:
        gaps, sizes: `(users, bins)` sums of (prediction - click), and rows.
        noise: as in `ranking.metrics.squared_calibration_error`: 1 for the value, 2 for its draws.
    """

    def __init__(self, gaps: np.ndarray, sizes: np.ndarray, noise: int = 1):
        self._gaps, self._squares, self._sizes, self._noise = gaps, gaps**2, sizes, noise
        self._has_rows = np.asarray(sizes.sum(axis=1) > 0, dtype=np.float64)
        self.counted = int(self._has_rows.sum())

    def drawn(self) -> "WeightedCalibrationError":
        """The same for the draws of a bootstrap."""
        return WeightedCalibrationError(self._gaps, self._sizes, noise=2)

    def value(self, weights: np.ndarray) -> float:
        """The error at user `weights`; NaN where fewer than two users are drawn."""
        weights = weights[: self._sizes.shape[0]]
        sums, squares, sizes = (
            np.einsum("u,ub->b", weights, of) for of in (self._gaps, self._squares, self._sizes)
        )
        users = dot(weights, self._has_rows)
        error = squared_calibration_error(sums, squares, sizes, users, self._noise)
        return max(0.0, error) ** 0.5 if error == error else NOTHING


class WeightedNormalisedEntropy:
    """Log loss over the entropy of the click rate, all three taken again under the weights."""

    def __init__(self, losses: np.ndarray, clicks: np.ndarray, sizes: np.ndarray):
        self._losses, self._clicks, self._sizes = losses, clicks, sizes
        self.counted = int(min((clicks > 0).sum(), (clicks < sizes).sum()))

    def value(self, weights: np.ndarray) -> float:
        """Normalised entropy at user `weights`; none where only one class is drawn."""
        weights = weights[: self._sizes.size]
        total = dot(weights, self._sizes)
        if total <= 0:
            return NOTHING
        background = entropy(dot(weights, self._clicks) / total)
        return dot(weights, self._losses) / total / background if background else NOTHING


def weighted_gauc(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray, weight: Weight
) -> WeightedRatio:
    """GAUC under user weights: a user's own AUC does not change, only how often it counts."""
    values, weights = group_aucs(labels, scores, users, weight)
    return WeightedRatio(values * weights, weights)


def weighted_log_loss(
    labels: np.ndarray, probabilities: np.ndarray, users: np.ndarray
) -> WeightedRatio:
    """Mean log loss over rows under user weights."""
    losses = np.bincount(users, row_losses(labels, probabilities))
    return WeightedRatio(losses, np.bincount(users).astype(np.float64))


def weighted_normalised_entropy(
    labels: np.ndarray, probabilities: np.ndarray, users: np.ndarray
) -> WeightedNormalisedEntropy:
    """Normalised entropy under user weights."""
    losses = np.bincount(users, row_losses(labels, probabilities))
    sizes = np.bincount(users).astype(np.float64)
    return WeightedNormalisedEntropy(losses, np.bincount(users, labels), sizes)


def weighted_calibration(
    labels: np.ndarray, probabilities: np.ndarray, users: np.ndarray, num_bins: int = NUM_BINS
) -> tuple[WeightedRatio, WeightedCalibrationError]:
    """Predicted over observed clicks, and the calibration error, under user weights."""
    num_users = int(users.max()) + 1
    cells, shape = users * num_bins + score_bins(probabilities, num_bins), (num_users, num_bins)
    size = num_users * num_bins
    gaps = np.bincount(cells, probabilities - labels, minlength=size).reshape(shape)
    rows = np.bincount(cells, minlength=size).reshape(shape).astype(np.float64)
    predicted = np.bincount(users, probabilities, minlength=num_users)
    clicks = np.bincount(users, labels, minlength=num_users)
    return WeightedRatio(predicted, clicks), WeightedCalibrationError(gaps, rows)


def user_resamples(num_users: int, num_resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each user is drawn, `(users,)` float64, for each resample."""
    random = generator(seed, "users drawn", num_users)
    for _ in range(num_resamples):
        drawn = random.integers(0, num_users, size=num_users)
        yield np.bincount(drawn, minlength=num_users).astype(np.float64)


def resample(
    statistics: Sequence[Statistic],
    num_users: int,
    num_resamples: int,
    seed: int,
    description: str = "",
) -> np.ndarray:
    """Every statistic under the same resamples of users: `(resamples, statistics)`; with progress where there is a description."""
    values = np.empty((num_resamples, len(statistics)))
    draws = user_resamples(num_users, num_resamples, seed)
    if description:
        draws = track(draws, description, num_resamples)
    for row, weights in enumerate(draws):
        values[row] = [statistic.value(weights) for statistic in statistics]
    return values


def drawn_values(
    statistics: Iterable[Statistic],
    num_users: int,
    num_resamples: int,
    seed: int,
    description: str = "",
) -> dict[Statistic, np.ndarray]:
    """Every statistic once, however often it is named: on all users, then under the same resamples of them, `(1 + resamples,)` each."""
    each = [*dict.fromkeys(statistics)]
    whole = np.ones(num_users)
    point = np.array([one.value(whole) for one in each])
    drawn = resample(each, num_users, num_resamples, seed, description)
    return dict(zip(each, np.vstack([point, drawn]).T, strict=True))


def interval(values: np.ndarray, level: float, counted: int) -> tuple[float, float]:
    """The interval of values resampled over `counted` users.

    Returns:
        The ends of `expanded_percentiles`; NaN below `MIN_USERS` users (see `too_few`), and where fewer
        than half the values are any.
    """
    if counted < MIN_USERS or values.size == 0 or np.isnan(values).mean() > 0.5:
        return NOTHING, NOTHING
    return expanded_percentiles(values, level, counted)


def expanded_percentiles(values: np.ndarray, level: float, counted: int) -> tuple[float, float]:
    """Percentiles at `Phi(-c)` and `Phi(c)` with `c = t((1 + level) / 2; n - 1) sqrt(n / (n - 1))`, n users.

    The expanded percentile interval of Hesterberg 2015 ("What Teachers Should Know About the Bootstrap", The
    American Statistician 69:4). For a mean of normal values it is nearly Student's interval; with a thousand
    users it is nearly the plain one.
    """
    wide = stdtrit(counted - 1, (1 + level) / 2) * (counted / (counted - 1)) ** 0.5
    low, high = np.nanquantile(values, [ndtr(-wide), ndtr(wide)])
    return float(low), float(high)


def too_few(counted: int) -> str:
    """Why there is no interval over users; empty where there is one."""
    if counted >= MIN_USERS:
        return ""
    return f"no interval: {counted:,} counted user{'s' * (counted != 1)}, {MIN_USERS} needed"
