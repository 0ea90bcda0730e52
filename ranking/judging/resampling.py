"""Statistics that can be taken again under user weights, in one pass each: what the bootstrap needs.

A resample of users with replacement is a weight a user: how often it was drawn. Each class below
sorts once, when it is made; after that `value(weights)` costs one pass over the rows (AUC) or over the
users (all others), so a thousand resamples of a hundred thousand rows take about a second. Rankers
that are compared see the same weights, which is what makes their difference paired.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from moon_rec.progress import track
from moon_rec.seeds import generator
from ranking.metrics import NUM_BINS, Weight, entropy, group_aucs, row_losses, score_bins

NOTHING = float("nan")


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products on one thread. BLAS would start threads for a sum this short, which costs several
    times what it saves on a busy machine, and the last bits would depend on how many it starts."""
    return float(np.einsum("i,i", a, b))


class Statistic(Protocol):
    """A number of scored rows, as a function of what each user weighs.

    Users are codes from 0; a statistic of a segment ignores the weights of users it does not know.
    """

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
        self._below = np.searchsorted(negatives, positives, side="left")
        self._up_to = np.searchsorted(negatives, positives, side="right")
        self._has_ties = bool((self._below != self._up_to).any())

    def value(self, weights: np.ndarray) -> float:
        """Sum over clicks of the non-clicks' weight below (half of it for ties), over all pairs."""
        cumulated = np.zeros(self._negative_users.size + 1)
        np.cumsum(weights[self._negative_users], out=cumulated[1:])
        positive = weights[self._positive_users]
        beaten = cumulated[self._below]
        if self._has_ties:
            beaten = (beaten + cumulated[self._up_to]) / 2
        pairs = positive.sum() * cumulated[-1]
        return dot(positive, beaten) / pairs if pairs > 0 else NOTHING


class WeightedRatio:
    """Sum of one quantity over the sum of another, both kept a user: means, GAUC, calibration ratio."""

    def __init__(self, above: np.ndarray, below: np.ndarray):
        self._above, self._below = above, below

    def value(self, weights: np.ndarray) -> float:
        """The ratio at user `weights`."""
        weights = weights[: self._below.size]
        total = dot(weights, self._below)
        return dot(weights, self._above) / total if total > 0 else NOTHING


class WeightedCalibrationError:
    """Expected calibration error over bins that stay where the whole data put them."""

    def __init__(self, gaps: np.ndarray, sizes: np.ndarray):
        self._gaps, self._sizes = gaps, sizes

    def value(self, weights: np.ndarray) -> float:
        """Mean absolute gap of prediction and click rate, bins weighing their rows."""
        weights = weights[: self._sizes.size]
        total = dot(weights, self._sizes)
        return (
            float(np.abs(np.einsum("u,ub->b", weights, self._gaps)).sum()) / total
            if total > 0
            else NOTHING
        )


class WeightedNormalisedEntropy:
    """Log loss over the entropy of the click rate, all three taken again under the weights."""

    def __init__(self, losses: np.ndarray, clicks: np.ndarray, sizes: np.ndarray):
        self._losses, self._clicks, self._sizes = losses, clicks, sizes

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
    """Predicted over observed clicks, and the expected calibration error, under user weights."""
    num_users = int(users.max()) + 1
    bins = score_bins(probabilities, num_bins)
    gaps = np.bincount(
        users * num_bins + bins, probabilities - labels, minlength=num_users * num_bins
    ).reshape(num_users, num_bins)
    predicted = np.bincount(users, probabilities, minlength=num_users)
    clicks = np.bincount(users, labels, minlength=num_users)
    sizes = np.bincount(users, minlength=num_users).astype(np.float64)
    return WeightedRatio(predicted, clicks), WeightedCalibrationError(gaps, sizes)


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


def interval(values: np.ndarray, level: float) -> tuple[float, float]:
    """The percentile interval of resampled values; NaN where fewer than half have a value."""
    if values.size == 0 or np.isnan(values).mean() > 0.5:
        return NOTHING, NOTHING
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
