"""The noise of measuring, as covariances over encoders: of the metric, of the outcome, and of both together.

All encoders are measured on the same searches and users. What a draw of users does to all of them alike moves the line's height, not its slope; only what is left after
that flattens a slope. From draws of users (`exchange_rate.estimation.draws`) come the whole covariances (joint bootstrap; Bibaut et al. 2024); a metric that no draw
moves, such as a share of 0 of n, keeps its standard error. Where only standard errors are known, noise is taken as independent but for a share that all encoders have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.points import Points

STILL = 1e-6
"""Variance of an encoder's metric over draws, in squares of its standard error, up to which the draws have not moved."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Covariances of the noise, each `(encoders, encoders)`.

    Attributes:
        metric: of the metric; outcome: of the outcome; both: rows the metric's, columns the outcome's.
        is_drawn: whether they come from draws of users.
    """

    metric: Floats
    outcome: Floats
    both: Floats
    is_drawn: bool

    @classmethod
    def of(cls, points: Points) -> "Noise":
        """The noise of these points."""
        count = len(points.names)
        if points.draws is not None:
            stacked = np.hstack([points.draws.metric, points.draws.outcome])
            away = stacked - stacked.mean(axis=0)
            joint = away.T @ away / (len(stacked) - 1)
            metric = joint[:count, :count]
            # of none or all found every draw says the same; the interval of the share knows better
            still = metric.diagonal() <= STILL * points.metric_error**2
            metric = metric + np.diag(np.where(still, points.metric_error**2, 0.0))
            return cls(metric, joint[count:, count:], joint[:count, count:], True)
        error, share = points.metric_error, points.shared_noise
        metric = share * np.outer(error, error) + (1 - share) * np.diag(error**2)
        none = np.zeros((count, count))
        return cls(metric, none, none, False)

    def through(self, linear: Callable[[Floats], Floats]) -> "Noise":
        """The noise after a linear map of encoders, which is given an array `(encoders, ...)` and maps its first axis."""
        metric, outcome, both = (
            linear(linear(one).T).T for one in (self.metric, self.outcome, self.both)
        )
        return Noise(metric, outcome, both, self.is_drawn)

    def keep(self, rows: NDArray[np.bool_]) -> "Noise":
        """The noise of these encoders, a mask `(encoders,)`."""
        cut = np.ix_(rows, rows)
        return Noise(self.metric[cut], self.outcome[cut], self.both[cut], self.is_drawn)

    def around(self, slope: float) -> Floats:
        """Covariance of the noise in `outcome - slope * metric`."""
        return self.outcome - slope * (self.both + self.both.T) + slope**2 * self.metric

    @property
    def is_known(self) -> bool:
        """Whether anything is known of any noise."""
        return bool(self.metric.any() or self.outcome.any())

    @property
    def shared(self) -> float:
        """Share of the metric's noise that all encoders have in common: 1 - (variance around encoders' mean) / (variance)."""
        count, total = len(self.metric), float(np.trace(self.metric))
        if total == 0 or count < 2:
            return 0.0
        around = total - float(self.metric.sum()) / count
        return float(np.clip(1 - around / (total * (1 - 1 / count)), 0, 1))
