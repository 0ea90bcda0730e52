"""The slope along paths and the slope across them: y = a + bw (m - mean of path) + bb (mean of path) + path + error.

A training that goes on may lift metric and AUC together (within) in another proportion than better trainings do (between). One rate stands for both only where
the two are not told apart.
"""

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.lines import Line, fit_line
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.results import PathSlopes, Slope
from exchange_rate.estimation.sandwich import Clusters, Figure, RobustFit

WITHIN = "slope on the metric minus the mean of its path (checkpoints of one training), noise-corrected; interval by CR2 over paths"
BETWEEN = "slope over the means of paths, noise-corrected; interval by HC2 over paths"
DIFFERENCE = "slope within paths minus slope between paths; Welch's degrees of freedom"


def path_slopes(
    metric: Floats,
    outcome: Floats,
    noise: Noise,
    clusters: Clusters,
    line: Line | None,
    level: float,
) -> PathSlopes:
    """Both slopes and whether they agree.

    Args:
        metric, outcome: `(encoders,)`; clusters: their paths.
        line: of all encoders; where every one is its own path, it is the slope between paths.
    """
    share = 0.0 if line is None else line.frame.share
    none = Slope.unknown
    if clusters.count == len(metric):
        between = none(BETWEEN) if line is None else Slope.of(line.slope, level, BETWEEN)
        return PathSlopes(clusters.count, none(WITHIN), between, none(DIFFERENCE), share, "")
    along = _within(metric, outcome, noise, clusters)
    across = _between(metric, outcome, noise, clusters)
    within = none(WITHIN) if along is None else Slope.of(along, level, WITHIN)
    between = none(BETWEEN) if across is None else Slope.of(across, level, BETWEEN)
    if along is None or across is None:
        return PathSlopes(clusters.count, within, between, none(DIFFERENCE), share, "")
    squares = along.error**2, across.error**2
    total = sum(squares)
    freedom = total**2 / max(
        squares[0] ** 2 / along.freedom + squares[1] ** 2 / across.freedom, 1e-300
    )
    apart = Figure(along.value - across.value, float(np.sqrt(total)), freedom)
    difference = Slope.of(apart, level, DIFFERENCE)
    said = "are told apart" if difference.is_told_from_zero else "are not told apart"
    text = f"along paths (checkpoints of one training) it is {within.value:.3g}, across {clusters.count} paths {between.value:.3g}; the two {said}"
    return PathSlopes(clusters.count, within, between, difference, share, text)


def _between(metric: Floats, outcome: Floats, noise: Noise, clusters: Clusters) -> Figure | None:
    if clusters.count < 3:
        return None
    own = Clusters.of(np.arange(clusters.count))
    line = fit_line(
        clusters.means(metric),
        clusters.means(outcome),
        noise.through(clusters.means),
        own,
        share=0.0,
    )
    return None if line is None else line.slope


def _within(metric: Floats, outcome: Floats, noise: Noise, clusters: Clusters) -> Figure | None:
    """Fixed effects of paths; None where the metric does not vary along two paths or more beyond its noise."""
    paths = (clusters.code[:, None] == np.arange(clusters.count)).astype(np.float64)
    along = metric - clusters.means(metric)[clusters.code]
    varies = clusters.sums(along**2) > 1e-12 * float(metric @ metric)
    own = noise.through(lambda values: values - clusters.means(values)[clusters.code])
    lost = own.metric.diagonal()
    if varies.sum() < 2 or along @ along - lost.sum() <= 1e-12 * float(metric @ metric):
        return None
    design = np.column_stack([paths, along])
    fit = RobustFit.of(design, outcome, clusters, lost, own.both.diagonal())
    around = noise.around(float(fit.weights[-1])) if noise.is_known else None
    return fit.figure(np.eye(design.shape[1])[-1], around)
