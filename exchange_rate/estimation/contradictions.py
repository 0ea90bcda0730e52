"""Pairs of encoders of which the metric prefers one and the outcome, beyond noise, the other: the cases to look into.

A pair contradicts where both differences are told from zero and have opposite signs. Its p-value is the larger of the two (both must be real), one-sided in the direction seen and doubled;
among all pairs the share of false ones is held at 1 - level (Benjamini and Hochberg 1995; pairs that share an encoder depend on each other positively, which the
method allows). The noise is that of measuring these encoders: searches, users, seeds. How encoders scatter around the line is what a contradiction is about, so it is not in it.
"""

import numpy as np
from scipy import stats

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.trust import Disagreement


def contradictions(points: Points, metric: str, level: float) -> list[Disagreement]:
    """The pairs, the surest first; none where the noise of the metric or of the outcome is not known.

    Args:
        points: one an encoder; noise from its `draws`, else from `metric_error` and from the spread between seeds.
        metric: its name.
    """
    errors = _difference_errors(points)
    if errors is None:
        return []
    first, second = np.triu_indices(len(points.names), 1)
    values = [one[first] - one[second] for one in (points.metric, points.outcome)]
    noises = [one[first, second] for one in errors]
    freedom = np.inf if points.draws is not None else _seed_freedom(points)
    sizes = [
        np.abs(one) / np.maximum(noise, 1e-300) for one, noise in zip(values, noises, strict=True)
    ]
    p_values = np.maximum(2 * stats.norm.sf(sizes[0]), 2 * stats.t.sf(sizes[1], freedom))
    opposite = values[0] * values[1] < 0
    p_values = np.where(opposite, p_values, 1.0)
    quantiles = [
        float(stats.norm.ppf((1 + level) / 2)),
        float(stats.t.ppf((1 + level) / 2, freedom)),
    ]
    found = []
    for pair in np.flatnonzero(stats.false_discovery_control(p_values) <= 1 - level).tolist():
        flip = 1.0 if values[0][pair] > 0 else -1.0
        names = [points.names[int(one[pair])] for one in (first, second)]
        ends = [
            (flip * float(value[pair]), quantile * float(noise[pair]))
            for value, noise, quantile in zip(values, noises, quantiles, strict=True)
        ]
        (by_metric, metric_half), (by_outcome, outcome_half) = ends
        better, other = names if flip > 0 else names[::-1]
        found.append(
            Disagreement(
                metric,
                better,
                other,
                by_metric,
                by_metric - metric_half,
                by_metric + metric_half,
                by_outcome,
                by_outcome - outcome_half,
                by_outcome + outcome_half,
                float(min(sizes[0][pair], sizes[1][pair])),
            )
        )
    return sorted(found, key=lambda one: (-one.z, one.better_by_metric, one.better_by_outcome))


def _seed_freedom(points: Points) -> float:
    return max(sum(points.num_runs) - len(points.names), 1)


def _difference_errors(points: Points) -> tuple[Floats, Floats] | None:
    """Standard errors of differences of metric and outcome, `(encoders, encoders)` each."""
    runs = np.array(points.num_runs, dtype=np.float64)
    seeds = points.seed_noise**2 / runs if np.isfinite(points.seed_noise) else None
    if points.draws is not None:
        metric, outcome = (_spread(one) for one in (points.draws.metric, points.draws.outcome))
        seeds = np.zeros(len(runs)) if seeds is None else seeds
        return np.sqrt(metric), np.sqrt(outcome + seeds[:, None] + seeds)
    if seeds is None or not points.metric_error.all():
        return None
    own = (1 - points.shared_noise) * points.metric_error**2
    return np.sqrt(own[:, None] + own), np.sqrt(seeds[:, None] + seeds)


def _spread(draws: Floats) -> Floats:
    """Variances of all differences between columns of `(draws, encoders)`."""
    covariance = np.atleast_2d(np.cov(draws, rowvar=False))
    own = np.diag(covariance)
    return np.maximum(own[:, None] + own - 2 * covariance, 0.0)
