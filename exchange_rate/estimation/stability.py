"""Whether a metric buys the same in every segment (warm and cold items, a category): slopes side by side, and a test that they are equal.

All segments are measured on the same encoders, so their slopes are compared within encoders: leaving out each path in turn moves all slopes together, and the jackknife over paths
gives the standard error of each segment's slope minus the mean of the others'. t with paths - 2 degrees of freedom (a line takes two), the smallest p-value times the number of
comparisons (Bonferroni): segments may outnumber paths, where Hotelling's test has no answer and with a third as many as paths, seen in simulation, errs twice as often as it says.
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.leave_out import Codes
from exchange_rate.estimation.proxies import Sample, covariances, qualities
from exchange_rate.estimation.trust import NAN, SegmentEffect, Stability


def stability(
    metric: Floats,
    outcomes: Mapping[str, Floats],
    codes: Codes,
    level: float,
    noises: Mapping[str, float],
) -> Stability:
    """Effects by segment and the test.

    Args:
        metric: `(encoders,)`.
        outcomes: `(encoders,)` by segment, finite.
        codes: `(encoders,)` paths by number.
        noises: variance of each segment's outcome from its own noise; see `proxies`.
    """
    paths = int(codes.max()) + 1
    size = float(np.std(metric, ddof=1))
    weights = np.vstack([np.ones(paths), 1 - np.eye(paths)])
    slopes, effects = [], []
    for name, outcome in outcomes.items():
        sample = Sample(metric[:, None], outcome, codes, noises[name], np.zeros(1))
        parts = covariances(sample, weights)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = size * parts.cross[:, 0] / parts.metric[:, 0]
        error = np.sqrt((paths - 1) / paths * np.sum((slope[1:] - slope[1:].mean()) ** 2))
        half = float(stats.t.ppf((1 + level) / 2, paths - 1) * error) if paths > 1 else NAN
        value, quality = float(slope[0]), float(qualities(sample, level).value[0])
        effects.append(SegmentEffect(name, value, value - half, value + half, quality, len(metric)))
        slopes.append(slope)
    return _tested(tuple(effects), np.array(slopes).T, level)


def _tested(effects: tuple[SegmentEffect, ...], slopes: Floats, level: float) -> Stability:
    """The test; `slopes` `(1 + paths, segments)`, the first row of all encoders, the others without a path."""
    paths, segments = len(slopes) - 1, slopes.shape[1]
    if segments < 2:
        return Stability(effects, NAN, None, "one segment: nothing to compare it with")
    if paths < 4 or not np.isfinite(slopes).all():
        return Stability(effects, NAN, None, f"{paths} paths are too few to compare segments")
    found = (slopes - slopes.mean(axis=1, keepdims=True)) * segments / (segments - 1)
    around = found[1:] - found[1:].mean(axis=0)
    error = np.sqrt((paths - 1) / paths * np.sum(around**2, axis=0))
    sizes = np.abs(found[0]) / np.maximum(error, 1e-300)
    comparisons = segments if segments > 2 else 1  # of two, one is the other with its sign turned
    p_value = float(min(1.0, comparisons * 2 * stats.t.sf(sizes.max(), paths - 2)))
    steepest, flattest = (choose(effects, key=lambda one: one.slope) for choose in (max, min))
    if p_value > 1 - level:
        words = f"no difference between segments is shown (p = {p_value:.2g})"
    else:
        words = (
            f"it buys more in {steepest.segment} ({steepest.slope:.3g} a standard deviation) than in {flattest.segment} ({flattest.slope:.3g}); "
            f"p = {p_value:.2g}"
        )
    return Stability(effects, p_value, p_value > 1 - level, words)
