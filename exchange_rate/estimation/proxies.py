"""Proxy quality: how well a metric, measured on a new encoder, tells that encoder's true outcome (Tripuraneni et al. 2023, "Choosing a proxy metric from past experiments").

Over encoders, the true metrics P and the true outcome N (AUC, as if trained on endless seeds and measured on endless users) have a covariance L. A new encoder's metrics
are measured with noise X. The sum of metrics with weights w has the quality

    q(w) = w'L_PN / sqrt(L_NN w'(L_PP + X) w)        and w proportional to (L_PP + X)^-1 L_PN has the largest

It is a correlation: the outcome's noise is taken out, the metric's own stays, for whoever steers by the metric steers by what is measured. What a study shows is
C = L + noise. Hence, with C the covariance of what was measured,

    L_PP + X = C_PP        L_PN = C_PN - X_PN        L_NN = C_NN - X_NN

Noise that all encoders share (an easy draw of searches) moves none apart from the others, and is in neither side. X_PN is there where one draw of users carries both; it comes from
draws of users common to all encoders (`Draws`), and is 0 without them. X_NN is the noise of seeds, and with draws that of users.

Encoders of one path resemble each other: C counts pairs of encoders of *different* paths, half the mean product of their differences. It is the covariance of
an encoder of a new training; where every encoder is its own path it is the usual one.

Intervals: jackknife over paths of Fisher's z of the observed correlation, t with paths - 1 degrees of freedom. Chance of being best: Bayesian bootstrap (Rubin 1981) over paths, for with
six paths the plain bootstrap draws three of them alone in one of forty studies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.leave_out import Codes
from moon_rec.seeds import generator

NAN = float("nan")
MOST = 1 - 1e-9
NUM_BOOTSTRAPS = 2000


def proxy_quality(weights: ArrayLike, latent: ArrayLike, noise: ArrayLike) -> float:
    """q(w); see the module's docstring.

    Args:
        weights: `(metrics,)` w.
        latent: `(metrics + 1, metrics + 1)` L; the outcome is the last row and column.
        noise: `(metrics, metrics)` X.
    """
    w, whole = np.asarray(weights, np.float64), np.asarray(latent, np.float64)
    spread = w @ (whole[:-1, :-1] + np.asarray(noise, np.float64)) @ w
    return float(w @ whole[:-1, -1] / np.sqrt(whole[-1, -1] * spread))


def best_weights(latent: ArrayLike, noise: ArrayLike) -> Floats:
    """`(metrics,)` the w of the largest quality, absolute values summing to 1; arguments as for `proxy_quality`."""
    whole = np.asarray(latent, np.float64)
    weights = np.linalg.solve(whole[:-1, :-1] + np.asarray(noise, np.float64), whole[:-1, -1])
    return weights / np.abs(weights).sum()


@dataclass(frozen=True, eq=False)
class Sample:
    """What was measured of the encoders, and the noise in it.

    Attributes:
        metrics: `(encoders, metrics)`; outcome: `(encoders,)` means over seeds.
        codes: `(encoders,)` paths by number.
        outcome_noise: X_NN, variance.
        shared_noise: `(metrics,)` X_PN, covariances.
    """

    metrics: Floats
    outcome: Floats
    codes: Codes
    outcome_noise: float
    shared_noise: Floats

    @property
    def num_paths(self) -> int:
        """Distinct paths."""
        return int(self.codes.max()) + 1


def noise_of(draws: Draws) -> tuple[float, float]:
    """Variance of the outcome's noise and its covariance with the metric's, less what all encoders share: tr(P S P) / (encoders - 1), P taking out the mean over encoders."""
    metric, outcome = (
        (values - values.mean(axis=0)) - (values - values.mean(axis=0)).mean(axis=1, keepdims=True)
        for values in (draws.metric, draws.outcome)
    )
    size = (len(metric) - 1) * (metric.shape[1] - 1)
    return float(np.sum(outcome**2) / size), float(np.sum(metric * outcome) / size)


@dataclass(frozen=True, eq=False)
class Covariances:
    """C by its parts, over pairs of encoders of different paths: `metric` `(..., metrics)` variances, `cross` `(..., metrics)`, `outcome` `(...)`; leading axes are samples."""

    metric: Floats
    cross: Floats
    outcome: Floats

    def correlation(self, shared_noise: Floats) -> Floats:
        """`(..., metrics)` of the measured metric with the outcome, less noise that they share, within (-1, 1); 0 for a constant metric."""
        size = np.sqrt(self.metric * self.outcome[..., None])
        found = np.divide(self.cross - shared_noise, size, np.zeros_like(size), where=size > 0)
        return np.clip(found, -MOST, MOST)


def covariances(sample: Sample, weights: Floats) -> Covariances:
    """C where the paths count `weights` `(samples, paths)` times each; ones: as they are, a zero: without that path."""
    counts = np.bincount(sample.codes).astype(np.float64)
    y = sample.outcome - sample.outcome.mean()
    x = sample.metrics - sample.metrics.mean(axis=0)
    of_path = np.eye(sample.num_paths)[sample.codes].T
    sums_x, sums_y = of_path @ x, of_path @ y
    total = weights @ counts
    pairs = total**2 - weights**2 @ counts**2

    def parts(products: Floats, first: Floats, second: Floats) -> Floats:
        # half the product of differences, summed over all pairs less those of one path
        everyone = total[:, None] * (weights @ products) - (weights @ first) * (weights @ second)
        siblings = weights**2 @ (counts[:, None] * products - first * second)
        return (everyone - siblings) / pairs[:, None]

    column = sums_y[:, None]
    return Covariances(
        parts(of_path @ x**2, sums_x, sums_x),
        parts(of_path @ (x * y[:, None]), sums_x, column),
        parts((of_path @ y**2)[:, None], column, column)[:, 0],
    )


@dataclass(frozen=True, eq=False)
class Quality:
    """Proxy qualities with their intervals, `(metrics,)` each; all NaN, with a reason, where the outcome does not vary over encoders beyond its noise."""

    value: Floats
    low: Floats
    high: Floats
    reason: str


def qualities(sample: Sample, level: float) -> Quality:
    """The quality of each single metric; the module's docstring has formula and interval."""
    paths, everyone = sample.num_paths, np.ones((1, sample.num_paths))
    found = covariances(sample, everyone)
    reason = _too_little(sample, float(found.outcome[0]), level)
    if reason:
        nothing = np.full(sample.metrics.shape[1], NAN)
        return Quality(nothing, nothing, nothing, reason)
    seen = found.correlation(sample.shared_noise)[0]
    left = covariances(sample, 1 - np.eye(paths)).correlation(sample.shared_noise)
    z = np.arctanh(left)
    error = np.sqrt((paths - 1) / paths * np.sum((z - z.mean(axis=0)) ** 2, axis=0))
    half = float(stats.t.ppf((1 + level) / 2, paths - 1)) * error
    scale = np.sqrt(1 - sample.outcome_noise / float(found.outcome[0]))
    ends = [np.tanh(np.arctanh(seen) + sign * half) for sign in (-1, 1)]
    value, low, high = (np.clip(one / scale, -1, 1) for one in (seen, *ends))
    return Quality(value, low, high, "")


def _too_little(sample: Sample, spread: float, level: float) -> str:
    """Why there is nothing to correlate with; empty where there is."""
    if sample.num_paths < 4:
        return f"{sample.num_paths} paths; an interval of a quality requires 4 or more"
    if spread <= 0:
        return "every encoder has the same outcome"
    ratio = (sample.num_paths - 1) * spread / max(sample.outcome_noise, 1e-300)
    if ratio < stats.chi2.ppf(level, sample.num_paths - 1):
        return (
            f"the outcome's spread over encoders (standard deviation {spread**0.5:.2g}) is not told from its own noise ({sample.outcome_noise**0.5:.2g}): "
            "more seeds, or encoders further apart, are needed"
        )
    return ""


def chances_of_best(sample: Sample, seed: int, num: int = NUM_BOOTSTRAPS) -> Floats:
    """`(metrics,)` how often each metric has the largest absolute quality when paths are drawn anew; ties are shared, so that they sum to 1."""
    random = generator(seed, "bootstrap of paths", *map(int, sample.metrics.shape))
    weights = random.dirichlet(np.ones(sample.num_paths), num) * sample.num_paths
    size = np.abs(covariances(sample, weights).correlation(sample.shared_noise))
    best = size >= size.max(axis=1, keepdims=True) - 1e-12
    return (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
