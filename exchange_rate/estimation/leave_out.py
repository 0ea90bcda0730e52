"""Errors of predicting encoders whose whole path was left out: many metrics, and many reorderings of the outcome, at once.

Checkpoints of one training resemble each other. A line that has seen three of them predicts the fourth from its siblings, which no encoder of a new training has.
So the encoders of one path leave together (leave-one-path-out); where every encoder is its own path this is leave-one-out (Stone 1974).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exchange_rate.estimation.columns import Floats

Codes = NDArray[np.intp]


def path_codes(paths: Sequence[object]) -> Codes:
    """`(encoders,)` numbers of paths, 0 to paths - 1, in order of first appearance."""
    order = {path: code for code, path in enumerate(dict.fromkeys(paths))}
    return np.array([order[path] for path in paths], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class SquaredErrors:
    """Sums over encoders of squared left-out errors.

    Attributes:
        line: `(metrics, outcomes)`; infinite where, without some path, all other encoders have the same metric.
        mean: `(outcomes,)`, the mean of the others as prediction.
    """

    line: Floats
    mean: Floats

    @property
    def share(self) -> Floats:
        """`(metrics, outcomes)`: the line's over the mean's; below 1 a metric predicts."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.mean > 0, self.line / self.mean, np.inf)


def squared_errors(metrics: Floats, outcomes: Floats, codes: Codes) -> SquaredErrors:
    """Sums of squared left-out errors of `metrics` `(encoders, metrics)` for `outcomes` `(encoders, outcomes)`; one pass over paths, in sums and products only."""
    x, y = metrics - metrics.mean(axis=0), outcomes - outcomes.mean(axis=0)
    line = np.zeros((x.shape[1], y.shape[1]))
    mean = np.zeros(y.shape[1])
    xx, xy = np.sum(x**2, axis=0), x.T @ y
    for path in range(codes.max() + 1):
        own = codes == path
        rest = len(x) - int(own.sum())
        in_x, in_y = x[own], y[own]
        # means, and centred sums, of the encoders that stay
        mean_x, mean_y = -in_x.sum(axis=0) / rest, -in_y.sum(axis=0) / rest
        rest_xx = xx - np.sum(in_x**2, axis=0) - rest * mean_x**2
        slope = xy - in_x.T @ in_y - rest * np.outer(mean_x, mean_y)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope /= np.where(rest_xx > 1e-9 * xx, rest_xx, 0.0)[:, None]
        from_x, from_y = in_x - mean_x, in_y - mean_y
        around_mean = np.sum(from_y**2, axis=0)
        line += around_mean + slope * (
            slope * np.sum(from_x**2, axis=0)[:, None] - 2 * (from_x.T @ from_y)
        )
        mean += around_mean
    return SquaredErrors(np.where(np.isfinite(line), np.maximum(line, 0.0), np.inf), mean)


def left_out_errors(metric: Floats, outcome: Floats, codes: Codes) -> tuple[Floats, Floats] | None:
    """`(encoders,)` errors of the line through all other paths' encoders, and of their mean; None where a line cannot be drawn without some path."""
    if codes.max() < 1:
        return None
    line, mean = np.empty(len(metric)), np.empty(len(metric))
    size = float(np.sum((metric - metric.mean()) ** 2))
    for path in range(codes.max() + 1):
        own = codes == path
        x, y = metric[~own], outcome[~own]
        around = x - x.mean()
        if around @ around <= 1e-9 * size:
            return None
        slope = float(around @ y) / float(around @ around)
        mean[own] = outcome[own] - y.mean()
        line[own] = mean[own] - slope * (metric[own] - x.mean())
    return line, mean
