"""One fit with its verdict, from which all verdicts are made: of all encoders, and without some of them."""

from dataclasses import dataclass

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.lines import Line, fit_line, is_within_noise
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.paths import path_slopes
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.results import PathSlopes, Shape, Slope, Verdict
from exchange_rate.estimation.sandwich import Clusters
from exchange_rate.estimation.shapes import fit_shape

MIN_ENCODERS = 4
MIN_PATHS = 4


@dataclass(frozen=True, eq=False)
class Judged:
    """A line, its parts, and what they say together.

    Attributes:
        line: the fit; slope: its slope at the level.
        verdict: `identified`, `saturating`, `convex` or `not identified`; reason: in words.
    """

    line: Line
    slope: Slope
    paths: PathSlopes
    shape: Shape
    verdict: Verdict
    reason: str

    @property
    def stand(self) -> tuple[str, float]:
        """What must not change when encoders are left out: the verdict, and the sign of a rate that there is."""
        has_sign = self.verdict != "not identified"
        return self.verdict, float(np.sign(self.slope.value)) if has_sign else 0.0


def clusters_of(points: Points) -> Clusters:
    """Paths as clusters."""
    order = {path: code for code, path in enumerate(dict.fromkeys(points.paths))}
    return Clusters.of(np.array([order[path] for path in points.paths], dtype=np.intp))


def judge(
    points: Points,
    noise: Noise,
    level: float,
    definition: str,
    *,
    share: float | None = None,
    form_level: float | None = None,
) -> Judged | None:
    """Fit and judge; None where the metric does not vary beyond its noise. How many encoders there must be is not asked here.

    Args:
        noise: of these points.
        definition: of the slope.
        share: see `fit_line`.
        form_level: at which a curve is told from a line and the slopes of paths from each other; by default `level`.
    """
    form_level = level if form_level is None else form_level
    metric, outcome, clusters = points.metric, points.outcome, clusters_of(points)
    line = (
        None
        if len(metric) < 3 or clusters.count < 3
        else fit_line(metric, outcome, noise, clusters, share)
    )
    if line is None:
        return None
    slope = Slope.of(line.slope, level, definition)
    paths = path_slopes(metric, outcome, noise, clusters, line, form_level)
    shape = fit_shape(metric, outcome, clusters, line, form_level)
    verdict, reason = _verdict(slope, paths, shape)
    return Judged(line, slope, paths, shape, verdict, reason)


def _verdict(slope: Slope, paths: PathSlopes, shape: Shape) -> tuple[Verdict, str]:
    if paths.disagree:
        return "not identified", f"one rate cannot stand for both: {paths.text}"
    if shape.form in ("saturating", "convex"):
        return shape.form, shape.text
    if not slope.is_told_from_zero:
        return (
            "not identified",
            f"the interval [{slope.low:.3g}, {slope.high:.3g}] includes zero: more encoders, or encoders further apart, are needed",
        )
    return "identified", "the interval excludes zero"


def why_no_slope(points: Points, noise: Noise, level: float, min_encoders: int) -> str:
    """Why there is no slope to speak of; empty when there is one."""
    count, paths = len(points.names), len(set(points.paths))
    if count < min_encoders:
        encoders = "encoder" if count == 1 else "encoders"
        return f"{count} distinct {encoders}; a slope with an interval needs {min_encoders} or more (seeds are no further encoders)"
    if paths < min(min_encoders, MIN_PATHS):
        trainings = "path" if paths == 1 else "paths"
        return (
            f"{paths} {trainings}: the {count} encoders are checkpoints of {paths} training{'' if paths == 1 else 's'}, which are alike beyond their metric, so they count as "
            f"{paths}; a slope with an interval needs {MIN_PATHS} paths or more (train from other starts, data or losses)"
        )
    metric: Floats = points.metric
    spread = float(np.std(metric, ddof=1))
    if spread <= 1e-12 * max(1.0, float(np.abs(metric).max())):
        return "every encoder has the same metric: there is nothing to set AUC against"
    if is_within_noise(metric, noise, level):
        return (
            f"the metric's spread over encoders (standard deviation {spread:.2g}) is not told from its own measurement noise "
            f"(standard error {points.metric_noise:.2g}): measure on more searches, or take encoders further apart"
        )
    return ""
