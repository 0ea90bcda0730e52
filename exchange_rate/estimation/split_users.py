"""Split users: the slope without any model of the noise, as a check.

Two halves of the users share no noise. So the metric on one half against the outcome on the other has the true covariance, and the metric on both halves the true
variance:

    slope = half of (C(xA, yB) + C(xB, yA)) over C(xA, xB)

summed over several random splits. Needs the figures of all encoders on the same halves (`exchange_rate.estimation.draws`).
"""

import numpy as np

from exchange_rate.estimation.lines import Line, off
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.results import Slope, SplitUsers

DEFINITION = (
    "slope from users split in two at random: half of C(xA, yB) + C(xB, yA) over C(xA, xB), summed over splits, encoders weighed as in the rate; no noise is "
    "corrected for, for the halves share none"
)


def split_users(points: Points, line: Line, slope: Slope) -> SplitUsers | None:
    """The slope from halves of the users; None where there are none, or where the metrics of the halves do not vary together.

    Args:
        slope: the headline that it is held against.
    """
    draws = points.draws
    if draws is None or draws.metric_halves is None or draws.outcome_halves is None:
        return None
    frame = line.frame
    (xa, xb), (ya, yb) = (
        [off(frame.one, frame.white(half.T)) for half in np.moveaxis(halves, 1, 0)]
        for halves in (draws.metric_halves, draws.outcome_halves)
    )
    both = np.sum(xa * yb + xb * ya, axis=0) / 2
    own = np.sum(xa * xb, axis=0)
    if own.sum() <= 0:
        return None
    value = float(both.sum() / own.sum())
    each = both[own > 0] / own[own > 0]
    spread = float(each.std(ddof=1)) if len(each) > 1 else float("nan")
    return SplitUsers(value, spread, len(own), slope.low <= value <= slope.high, DEFINITION)
