"""The upper end of a search's scores as a smooth tail, which goes on where no item of today lies.

Excesses over a high threshold follow a generalised Pareto distribution (Pickands 1975): the "Pareto tail" of score-distribution models of search. The body needs no form, for up to the
threshold the share of items is counted (`skew_normal` is the fitted one of those models). Each search is fitted by probability-weighted moments (Hosking and Wallis
1987, our shape is their -k), which are closed and quick; one shape is taken for all, and the scales are drawn towards each other by how much less they vary than their own errors explain
(empirical Bayes, Morris 1983).
"""

from dataclasses import dataclass

import numpy as np

from representation.metrics.tail_scores import TailScores

FLATTEST, STEEPEST = -2.0, 0.45
"""Shapes are kept between; beyond .5 the variance of an excess does not exist."""
NEAREST = 1e-7
"""1 - score of equal vectors, which float32 does not tell from none."""


@dataclass(frozen=True)
class Tails:
    """A generalised Pareto tail for each search, in `nearness`: `P(nearness > t) = share * (1 + shape (t - threshold) / scale)^(-1 / shape)` beyond the threshold.

    Attributes:
        count: `(searches,)` scores of each tail.
        threshold, share, mean_excess: `(searches,)`; scale is `mean_excess (1 - shape)`.
        ratio: `(searches,)` the second probability-weighted moment over the first; NaN where all scores of the tail are alike.
    """

    count: np.ndarray
    threshold: np.ndarray
    share: np.ndarray
    mean_excess: np.ndarray
    ratio: np.ndarray

    def shape(self, weights: np.ndarray) -> float:
        """The one shape of all tails: a0 / (a0 - 2 a1) - 2 is minus it (Hosking and Wallis 1987, eq. 5), of the weighted mean of a1 / a0."""
        known = weights * np.isfinite(self.ratio)
        mean = float(known @ np.nan_to_num(self.ratio)) / max(float(known.sum()), 1e-12)
        return float(np.clip(2 - 1 / (1 - 2 * min(mean, 0.49)), FLATTEST, STEEPEST)) if mean > 0 else 0.0  # fmt: skip

    def log_excess(self, weights: np.ndarray, shape: float) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the mean excesses, drawn towards what others of this threshold have, and the standard deviations that remain, `(searches,)` each."""
        known = weights * (self.mean_excess > 0)
        own = np.log(np.maximum(self.mean_excess, 1e-12))
        # of a mean of `count` excesses; their variance is (mean excess)^2 / (1 - 2 shape)
        variance = 1 / ((1 - 2 * shape) * self.count)
        line = _line(self.threshold, own, known)
        total = max(float(known.sum()), 1e-12)
        between = max(float(known @ ((own - line) ** 2 - variance)) / total, 0.0)
        kept = np.where(self.mean_excess > 0, between / (between + variance), 0.0)
        return line + kept * (own - line), np.sqrt(kept * variance)

    def beyond(self, nearness: np.ndarray, shape: float, log_excess: np.ndarray) -> np.ndarray:
        """P(another item is nearer) `(searches,)`, at the threshold or beyond."""
        excess = np.maximum(nearness - self.threshold, 0) / (np.exp(log_excess) * (1 - shape))
        if abs(shape) < 1e-6:
            return self.share * np.exp(-excess)
        return self.share * np.maximum(1 + shape * excess, 0) ** (-1 / shape)


def fit_tails(scores: TailScores, count: np.ndarray) -> Tails:
    """Tails of each search's `count` largest scores, by probability-weighted moments: a0 the mean excess, a1 the mean of (1 - p_j) y_j over ascending excesses, p_j = (j - .35) / n."""
    largest = nearness(scores.largest)
    threshold = largest[np.arange(len(count)), np.minimum(count, largest.shape[1] - 1)]
    place = np.arange(largest.shape[1])
    excess = np.where(place < count[:, None], largest - threshold[:, None], 0.0)
    first = excess.sum(axis=1) / count
    # in falling order the j-th of n has 1 - p = (j - 1 + .35) / n
    second = (excess * (place + 0.35)).sum(axis=1) / count**2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first > 0, second / first, np.nan)
    return Tails(count, threshold, count / np.maximum(scores.num_others, 1), first, ratio)


def _line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted least-squares line through the points, at each."""
    total = max(float(weights.sum()), 1e-12)
    centre, middle = float(weights @ x) / total, float(weights @ y) / total
    spread = float(weights @ (x - centre) ** 2)
    slope = float(weights @ ((x - centre) * (y - middle))) / spread if spread > 1e-12 else 0.0
    return middle + slope * (x - centre)


def nearness(scores: np.ndarray) -> np.ndarray:
    """-log(1 - score): where vectors lie near a query as a cloud of D dimensions does, P(score > s) falls as (1 - s)^(D / 2), which is exponential in this."""
    finite = np.where(np.isfinite(scores), scores, -1.0).astype(np.float64)
    return -np.log(np.maximum(1 - finite, NEAREST))


def score_of(nearness: np.ndarray) -> np.ndarray:
    """The score that has this `nearness`."""
    return 1 - np.exp(-nearness)
