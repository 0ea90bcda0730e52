"""Whether a line is the right form: curves that flatten or steepen, metrics at their floor or ceiling, and what the next point buys.

A quadratic is fitted to the metric with its noise taken out. Where true metric and noise are normal, the mean of the true metric given the measured one is a line, and
so is that of the outcome's own noise; a quadratic in that mean has the quadratic's true coefficients (regression calibration; Carroll et al. 2006, chapter 4), which a
quadratic in the measured metric has not.

    saturating   the bend is told from zero and the curve at the best encoder is less than half as steep as it is on average, with the same rise
    convex       the bend is told from zero and the curve at the best encoder is more than 1.5 times as steep as on average

What the next point buys is the quadratic's slope at the best encoder, whatever the form: a line's slope would say it with an interval that holds only if it is a line.
"""

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.lines import Line
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.results import NAN, Form, Shape, Slope
from exchange_rate.estimation.sandwich import Clusters, RobustFit

MIN_PATHS_OF_A_CURVE = 5
FLAT, STEEP = 0.5, 1.5
"""Steepness at the best encoder, as a share of the average one."""
PILE = 3
"""So many encoders of one and the same lowest or highest metric are a floor or a ceiling."""
ERRORS_FROM_BOUND = 2.0
SMALL_ERROR = 0.1
BEND = "coefficient of the squared metric, the metric counted in its standard deviations over encoders, noise-corrected"
NEXT = "slope of the quadratic at the best encoder: outcome per unit that the next gain of the metric buys"


def at_bounds(points: Points) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Encoders whose metric is at its floor and at its ceiling: there the metric stands still while encoders differ, so they carry no slope.

    A share (all metrics between 0 and 1, with standard errors) is at a bound where it is within two standard errors of 0 or 1, if it is measured so well that these are small
    beside the spread of encoders: leaving out by a noisy metric would itself bend the line. Any metric is where three encoders or
    more have the very same lowest or highest value, and others have not.
    """
    metric, error = points.metric, points.metric_error
    low, high = (metric == metric.min()), (metric == metric.max())
    low, high = (one & (PILE <= one.sum() < len(one)) for one in (low, high))
    if error.all() and metric.min() >= 0 and metric.max() <= 1:
        reach = np.where(error <= SMALL_ERROR * metric.std(), ERRORS_FROM_BOUND * error, -1.0)
        low, high = low | (metric <= reach), high | (1 - metric <= reach)
    names = np.array(points.names, dtype=object)
    return tuple(names[low]), tuple(names[high & ~low])


def fit_shape(
    metric: Floats, outcome: Floats, clusters: Clusters, line: Line, level: float
) -> Shape:
    """The form of the curve and its slope at the best encoder; floor and ceiling are empty, for encoders there are in no fit."""
    frame, best = line.frame, float(metric.max())
    true = frame.signal * (metric - frame.centre)
    unit = float(true.std())
    own = outcome - float(frame.lost_both.sum()) / frame.spread * (metric - frame.centre)
    scaled = true / unit
    terms = np.column_stack([np.ones(len(metric)), scaled, scaled**2])
    if clusters.count < MIN_PATHS_OF_A_CURVE or np.linalg.cond(terms) > 1e8:
        return Shape("unknown", Slope.unknown(BEND), Slope.unknown(NEXT), best, (), (), "")
    fit = RobustFit.of(frame.white(terms), frame.white(own), clusters)
    bend = Slope.of(fit.figure(np.array((0.0, 0.0, 1.0)), line.around), level, BEND)
    end = float(scaled.max())
    ahead = fit.figure(np.array((0.0, 1.0, 2 * end)) / unit, line.around)
    form, text = _form(fit.weights, scaled, unit, bend)
    return Shape(form, bend, Slope.of(ahead, level, NEXT), best, (), (), text)


def _form(weights: Floats, scaled: Floats, unit: float, bend: Slope) -> tuple[Form, str]:
    """The form and its words; see the module's docstring."""
    ends = np.array([scaled.min(), scaled.max()])
    curve = weights[0] + weights[1] * ends + weights[2] * ends**2
    rise = float(curve[1] - curve[0])
    average = rise / float(ends[1] - ends[0])
    at_end = float(weights[1] + 2 * weights[2] * ends[1])
    top = -weights[1] / (2 * weights[2]) if weights[2] else NAN
    peak = (
        weights[0] + weights[1] * top + weights[2] * top**2 if ends[0] < top < ends[1] else curve[1]
    )
    keeps_sign = abs(rise) >= abs(float(peak - curve[0])) / 2 and rise != 0
    share = at_end / average if rise else NAN
    steepness = f"at the best encoder it rises {at_end / unit:.3g} per unit against {average / unit:.3g} on average"
    if bend.is_told_from_zero and keeps_sign and share < FLAT:
        return (
            "saturating",
            f"a curve that flattens fits clearly better than a line: {steepness}, so the next gain brings less than the slope says",
        )
    if bend.is_told_from_zero and keeps_sign and share > STEEP:
        return (
            "convex",
            f"a curve that steepens fits clearly better than a line: {steepness}, so the slope says too little of the next gain and too much of the first ones",
        )
    return "line", "no curve that flattens or steepens by half is told from a line"
