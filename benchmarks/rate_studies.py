"""Studies drawn where the exchange rate is known, for `benchmarks.rates`: encoders with true metrics, AUCs on a line of known slope, and the noise of users.

Unit of all noises: the standard deviation of the true metric over encoders, and the slope times it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.points import Points

Floats = np.ndarray
SLOPE = 0.2
CENTRE, SPREAD = 0.45, 0.12
"""Mean and standard deviation of the true metric over encoders."""
SCATTER, METRIC_NOISE, AUC_NOISE, PATH_EFFECT = 0.4, 0.3, 0.3, 0.5
CHECKPOINTS, WITHIN = 3, 0.5
"""Encoders of a path, and the standard deviation of the true metric within one."""
DRAWS = 200
SEARCHES = 3000
FAR = 4.0


@dataclass(frozen=True)
class Scenario:
    """A kind of study.

    Attributes:
        name: what is special about it.
        has_paths: encoders are checkpoints, three a path, with an effect of the path on AUC.
        shared: share of the noise of users that all encoders have in common; leaning: correlation of its part in the metric with that in AUC.
        scatter: of encoders around the line: `even`, `growing` with the metric, or `heavy` (Student's t with 3 degrees of freedom).
        bound: the metric is a share of 3,000 searches that stops at its `floor` or `ceiling` while AUC goes on; empty for none.
        untrained: beside the encoders stand two untrained ones, far off in both: `marked` as untrained, or `unmarked`; empty for none.
    """

    name: str
    has_paths: bool = False
    shared: float = 0.0
    leaning: float = 0.0
    scatter: str = "even"
    bound: str = ""
    untrained: str = ""


SCENARIOS = (
    Scenario("independent encoders"),
    Scenario("60 % of the noise shared", shared=0.6),
    Scenario("80 % of the noise shared", shared=0.8),
    Scenario("noise of metric and AUC correlated (.6)", leaning=0.6),
    Scenario("scatter grows with the metric", scatter="growing"),
    Scenario("heavy tails (t3)", scatter="heavy"),
    Scenario("metric at its floor", bound="floor"),
    Scenario("metric at its ceiling", bound="ceiling"),
    Scenario("two untrained far off, marked", untrained="marked"),
    Scenario("two untrained far off, not marked", untrained="unmarked"),
    Scenario("paths of three checkpoints", has_paths=True),
    Scenario("paths, 60 % of the noise shared", has_paths=True, shared=0.6),
)


def draw_study(scenario: Scenario, count: int, slope: float, random: np.random.Generator) -> Points:
    """One study of `count` encoders (and the untrained ones beside them)."""
    code = np.arange(count) // CHECKPOINTS if scenario.has_paths else np.arange(count)
    latent = random.normal(0, 1, code.max() + 1)[code]
    if scenario.has_paths:
        latent = np.sqrt(1 - WITHIN**2) * latent + WITHIN * random.normal(0, 1, count)
    auc = slope * SPREAD * latent + SLOPE * SPREAD * _scatter(scenario, latent, code, random)
    if scenario.bound:
        return _bounded(scenario.bound, latent, auc, random)
    is_trained = np.ones(count, dtype=np.bool_)
    if scenario.untrained:
        latent = np.concatenate([latent, random.normal(-FAR, 0.3, 2)])
        auc = np.concatenate([auc, SLOPE * SPREAD * random.normal(-FAR, SCATTER, 2)])
        is_trained = np.arange(count + 2) < count
        code = np.arange(count + 2)
    metric = CENTRE + SPREAD * latent
    joint = _noise_root(scenario, len(metric))
    measured = np.concatenate([metric, 0.6 + auc]) + joint @ random.normal(0, 1, 2 * len(metric))
    draws = measured + random.normal(0, 1, (DRAWS, 2 * len(metric))) @ joint.T
    is_marked = scenario.untrained != "unmarked"
    trained = is_trained if is_marked else np.ones_like(is_trained)
    return _points(code, trained, measured, METRIC_NOISE * SPREAD, draws)


def _scatter(
    scenario: Scenario, latent: Floats, code: Floats, random: np.random.Generator
) -> Floats:
    """`(encoders,)` AUC around the line, in units of slope times spread."""
    count = len(latent)
    if scenario.scatter == "heavy":
        return SCATTER * random.standard_t(3, count) / np.sqrt(3)
    around = SCATTER * random.normal(0, 1, count)
    if scenario.scatter == "growing":  # by e from one standard deviation to the next but one
        return around * np.exp(0.5 * latent)
    if scenario.has_paths:
        around = around + PATH_EFFECT * random.normal(0, 1, code.max() + 1)[code]
    return around


@lru_cache(maxsize=4)
def _noise_root(scenario: Scenario, count: int) -> Floats:
    """A root of the covariance of users' noise, of all metrics and then all AUCs."""
    over_encoders = np.linalg.cholesky(scenario.shared + (1 - scenario.shared) * np.eye(count))
    lean = scenario.leaning
    axes = np.array([[METRIC_NOISE * SPREAD, 0.0], [lean, np.sqrt(1 - lean**2)]])
    axes[1] *= AUC_NOISE * SLOPE * SPREAD
    return np.kron(axes, over_encoders)


def _bounded(bound: str, latent: Floats, auc: Floats, random: np.random.Generator) -> Points:
    """A metric that is a share: about one encoder in six is at the bound."""
    share = np.clip(SPREAD * (1 + latent), 0, 1)
    share = 1 - np.clip(SPREAD * (1 - latent), 0, 1) if bound == "ceiling" else share
    hits = random.binomial(SEARCHES, share)
    settled = (hits + 2) / (SEARCHES + 4)  # Agresti and Coull's: no share is without an error
    error = np.sqrt(settled * (1 - settled) / (SEARCHES + 4))
    code, trained = np.arange(len(share)), np.ones(len(share), dtype=np.bool_)
    return _points(code, trained, np.concatenate([hits / SEARCHES, 0.6 + auc]), error, None)


def _points(
    code: Floats, trained: Floats, measured: Floats, error: Floats | float, draws: Floats | None
) -> Points:
    count = len(code)
    names = tuple(f"encoder {row}" for row in range(count))
    return Points(
        names=names,
        paths=tuple(f"path {one}" for one in code),
        is_trained=trained,
        metric=measured[:count],
        outcome=measured[count:],
        metric_error=np.broadcast_to(error, (count,)).astype(np.float64),
        num_runs=(3,) * count,
        seed_noise=0.001,
        draws=None if draws is None else Draws(names, draws[:, :count], draws[:, count:]),
    )
