"""The body of a search's scores as a skew-normal distribution: an option beside counting, as score-distribution models of search have it.

Each search is fitted by the mean, deviation and skewness of its scores (Azzalini 1985), which is closed: with skewness g and r = |g|^(2/3),
delta^2 = pi/2 * r / (r + ((4 - pi) / 2)^(2/3)) with g's sign, shape = delta / sqrt(1 - delta^2), scale = deviation / sqrt(1 - 2 delta^2 / pi),
location = mean - scale * delta * sqrt(2 / pi).
"""

from dataclasses import replace

import numpy as np
from scipy import stats

from representation.metrics.pareto_tails import Tails, score_of
from representation.metrics.tail_scores import TailScores

MOST_SKEWED = 0.99
"""Of any skew-normal the skewness lies below .9953; what is more skewed is taken as this."""


def share_above(moments: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """P(another item's score is larger), `(searches,)`, of the skew-normal that has the `moments` `(searches, 3)`: mean, deviation, skewness."""
    mean, deviation, skewness = moments.T
    skewness = np.clip(skewness, -MOST_SKEWED, MOST_SKEWED)
    size = np.abs(skewness) ** (2 / 3)
    delta = np.sign(skewness) * np.sqrt(np.pi / 2 * size / (size + ((4 - np.pi) / 2) ** (2 / 3)))
    scale = np.maximum(deviation, 1e-12) / np.sqrt(1 - 2 * delta**2 / np.pi)
    location = mean - scale * delta * np.sqrt(2 / np.pi)
    return stats.skewnorm.sf(scores, delta / np.sqrt(1 - delta**2), location, scale)


def with_this_body(scores: TailScores, tails: Tails) -> tuple[Tails, np.ndarray]:
    """Tails that begin with the mass which the fitted body has beyond their thresholds, and the body's share above the best relevant item, `(searches,)`."""
    threshold = share_above(scores.moments, score_of(tails.threshold))
    return replace(tails, share=threshold), share_above(scores.moments, scores.best)
