"""Intervals of shares: of hits among searches, of rows that are right, of any mean of values that lie between two bounds.

At 0 of n and at n of n every resample is alike, so that a bootstrap's interval has no width and nothing looks certain. Notable choices:
- Wilson's score interval (1927), with `count` values that are 0 or 1, each independent of the others; see `wilson`.
- Values between (an expected hit, a share of each search's answers) vary less, and values of one group (the searches of one user) are alike: both
  change how many independent 0-or-1 values they are worth, the *effective count* (Kish 1965: count over design effect). Wilson's interval takes that count.
- The design effect is a ratio of variances, which a few values, or values that are all the same, tell badly. So it is drawn towards the largest it can be,
  that of groups each wholly alike (1 without groups), with the weight of `PRIOR` values: never an interval without width, and one group is one value. Of
  0-or-1 values without groups it is 1 exactly. This part is ours, and so is the weight; `benchmarks/share_intervals.py` shows what they cover.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from moon_rec.estimate import Estimate

PRIOR = 0.5
"""Weight of the largest design effect, in units of the variance `p (1 - p)` that one group tells."""
FARTHEST = 1e6
"""A ratio's interval that reaches so far has no end."""


def wilson(
    share: ArrayLike, count: ArrayLike, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval: all shares t with `(p - t)^2 <= z^2 t (1 - t) / n` (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4).

    Args:
        share: p, between 0 and 1.
        count: n, above 0; any real number.

    Returns:
        The lower and the upper ends, shaped as the arguments together; NaN where there is nothing (n = 0).
    """
    share, count = np.asarray(share, np.float64), np.asarray(count, np.float64)
    z2 = ndtri((1 + level) / 2) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (share + z2 / (2 * count)) / (1 + z2 / count)
        half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count) / (1 + z2 / count)
    # the ends of 0 and of all are 0 and 1, whatever rounding says
    low = np.where(share <= 0, share, np.clip(centre - half, 0, share))
    high = np.where(share >= 1, share, np.clip(centre + half, share, 1))
    nothing = ~(count > 0)
    return np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)


def effective_count(
    share: ArrayLike,
    variance: ArrayLike,
    count: int,
    num_groups: int | None = None,
    largest_effect: float = 1.0,
) -> np.ndarray:
    """Independent 0-or-1 values that a mean of values in [0, 1] is worth.

    Args:
        share: the mean.
        variance: of the mean, as measured: the sum over groups of the squared sum of deviations, over `count^2`.
        count: values.
        num_groups: independent groups; each value is one by default.
        largest_effect: the design effect of groups wholly alike: `sum(n_g^2) / count`.
    """
    share = np.asarray(share, np.float64)
    freedom = (count if num_groups is None else num_groups) - 1
    spread = np.maximum(share * (1 - share), 0)
    effect = (freedom * count * np.asarray(variance, np.float64) + PRIOR * largest_effect) / (
        freedom * spread + PRIOR
    )
    return count / effect


def interval(
    mean: ArrayLike,
    variance: ArrayLike,
    count: int,
    level: float = 0.95,
    *,
    num_groups: int | None = None,
    largest_effect: float = 1.0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of means of bounded values, at the effective count that their `variance` says; see `effective_count`.

    Returns:
        The lower and the upper ends, within the bounds and around the means.
    """
    least, most = bounds
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    share = np.clip((mean - least) / (most - least), 0, 1)
    worth = effective_count(
        share, variance / (most - least) ** 2, count, num_groups, largest_effect
    )
    low, high = (least + end * (most - least) for end in wilson(share, worth, level))
    return np.minimum(low, mean), np.maximum(high, mean)


def mean_share(
    values: np.ndarray,
    level: float = 0.95,
    definition: str = "",
    *,
    groups: np.ndarray | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """Mean of bounded values with Wilson's interval at their effective count.

    Args:
        values: `(units,)`, finite, within the bounds: hits, expected hits, shares, or with other bounds cosines and differences of hits.
        groups: `(units,)` whose values may be alike, such as each search's user; none: all are independent.
        bounds: least and largest that a value can be.

    Returns:
        The mean and its interval, which lies within the bounds; NaN throughout where there are no units.
    """
    values = np.asarray(values, dtype=np.float64)
    count = values.size
    if count == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, definition, level)
    least, most = bounds
    assert values.min() >= least - 1e-6 and values.max() <= most + 1e-6, "values out of bounds"
    scaled = np.clip((values - least) / (most - least), 0, 1)
    sums, sizes = scaled - scaled.mean(), np.ones(count)
    if groups is not None:
        group = np.unique(groups, return_inverse=True)[1].ravel()
        sums, sizes = np.bincount(group, weights=sums), np.bincount(group)
    low, high = interval(
        values.mean(),
        float(np.sum(sums**2)) * (most - least) ** 2 / count**2,
        count,
        level,
        num_groups=len(sizes),
        largest_effect=float(np.sum(sizes.astype(np.float64) ** 2)) / count,
        bounds=bounds,
    )
    return Estimate(float(values.mean()), float(low), float(high), count, definition, level)


def ratio_of_shares(
    above: np.ndarray,
    below: np.ndarray,
    level: float = 0.95,
    definition: str = "",
    *,
    less: tuple[float, float] = (0.0, 0.0),
) -> Estimate:
    """Ratio of two means over the same units, each less a known number: all R for which the mean of `above - R below` may be what it would then be.

    Fieller's (1954) set, with the interval of `mean_share` for the normal one, so that it has a width at 0 of n.

    Args:
        above, below: `(units,)` in [0, 1], paired.
        less: taken off either mean, such as what chance gives.

    Returns:
        The ratio (NaN of 0 by 0, infinite over 0) and its interval; an end that the data leave open is infinite.
    """
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    tops, bottoms = float(above.mean()) - less[0], float(below.mean()) - less[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(np.float64(tops) / bottoms)

    def is_possible(ratio: float) -> bool:
        bounds = (min(0.0, -ratio), max(1.0, 1.0 - ratio))
        found = mean_share(above - ratio * below, level, bounds=bounds)
        return found.low <= less[0] - ratio * less[1] <= found.high

    if np.isnan(value) or value == -np.inf:
        return Estimate(value, float("nan"), float("nan"), len(above), definition, level)
    start = min(value, FARTHEST)
    low, high = (_last(is_possible, start, sign * FARTHEST) for sign in (-1, 1))
    return Estimate(value, low if any(less) else max(low, 0.0), high, len(above), definition, level)


def _last(is_possible: Callable[[float], bool], start: float, end: float) -> float:
    """How far from `start` towards `end` it is possible, by bisection; infinite where all the way."""
    if is_possible(end):
        return float(np.copysign(np.inf, end))
    inside, step = start, np.copysign(max(abs(start), 1e-3), end)
    while is_possible(inside + step):
        inside, step = inside + step, 2 * step
    for _ in range(50):
        step /= 2
        if is_possible(inside + step):
            inside += step
    return float(inside)
