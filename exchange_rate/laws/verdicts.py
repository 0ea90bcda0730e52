"""What points identify of a law that was fitted to them; the first rule that applies.

not identified   fewer distinct x than parameters + 1
not monotone     the curve turns at its end: a law with a falling tail fits better than chance does (`turns_at_its_end`). It is no growing law, however
                 well the part before the turn is fitted
not identified   an exponent at the end of its range; an exponent or an asymptote whose interval is infinite; an asymptote whose interval is wider than the
                 whole range of y that was seen (`huge`, an option)
sign unstable    the interval of an amplitude (of the exponent, where there is no floor) includes zero, or leaving out one point turns the law round
not identified   a plain logarithm of x fits about as well (F test at `RIVAL_LEVEL`): a power has one parameter more, and noise feeds it
saturating       the asymptote is identified, under a tenth of the rise seen is left to it, and on the largest third of the x (two at least) the law is
                 not told from it
identified       otherwise
"""

from collections.abc import Mapping

import numpy as np
from scipy import stats

from exchange_rate.laws.bootstrap import Bootstrap
from exchange_rate.laws.forms import EXPONENT, ORDER, Floats, Interval
from exchange_rate.laws.profile import Profile

RIVAL_LEVEL = 0.995
"""Of the F test against a logarithm; `python -m benchmarks.chinchilla --parts passing` has how often a logarithm or a flat line still passes."""
TURN_LEVEL, LEAST_DROP, NUM_SIMULATED, MOST_KNOTS = 0.95, 0.05, 199, 12
Fit = Profile | Bootstrap


def judge(
    fit: Fit,
    parameters: Mapping[str, float],
    intervals: Mapping[str, Interval],
    huge: float,
) -> tuple[str, str]:
    """Verdict and reason."""
    names = ORDER[fit.form]
    distinct = len(np.unique(fit.columns, axis=0))
    if distinct < len(names) + 1:
        return (
            "not identified",
            f"{distinct} distinct x for {len(names)} parameters leave none to judge them by",
        )
    if fit.form != "additive" and (turn := turns_at_its_end(fit)) is not None:
        return "not monotone", f"from x = {turn:.4g} on the points go back, more than noise does"
    return (
        _unbounded(fit, intervals, huge)
        or _turned_round(fit, intervals)
        or _told_from_a_logarithm(fit)
        or _saturating(fit, parameters, intervals)
        or ("identified", _IDENTIFIED[fit.form])
    )


_IDENTIFIED = {
    "power": "the exponent has a bounded interval, and so has the asymptote",
    "additive": "both exponents have bounded intervals, and so has the asymptote",
    "power_no_floor": "the exponent has a bounded interval",
    "log": "the gain per factor e is told from zero",
}


def _unbounded(fit: Fit, intervals: Mapping[str, Interval], huge: float) -> tuple[str, str] | None:
    if fit.at_a_bound():
        return "not identified", "the best exponent lies at the end of the range searched"
    has_asymptote = fit.form in ("power", "additive")
    for name in (*EXPONENT[fit.form], *(("E",) if has_asymptote else ())):
        if not np.isfinite(intervals[name]).all():
            told = f"the points allow {_words(intervals[name])}"
            return "not identified", f"{name} has no bounded interval: {told}"
    span = float(np.ptp(fit.values))
    if has_asymptote and intervals["E"][1] - intervals["E"][0] > huge * max(span, 1e-300):
        return (
            "not identified",
            f"the asymptote's interval {_words(intervals['E'])} is wider than the range of y that was seen ({span:.4g})",
        )
    return None


def _turned_round(fit: Fit, intervals: Mapping[str, Interval]) -> tuple[str, str] | None:
    for name in ("alpha",) if fit.form == "power_no_floor" else ("A", "B"):
        if name in intervals and intervals[name][0] <= 0 <= intervals[name][1]:
            told = f"the interval of {name} {_words(intervals[name])} includes zero"
            return "sign unstable", told
    if fit.form == "additive":
        return None
    law = fit.law()
    for row in range(len(law)):
        rest, values = np.delete(law, row), np.delete(fit.values, row)
        if float((rest - rest.mean()) @ values) < 0:
            place = float(fit.columns[row, 0])
            return "sign unstable", f"without the point at x = {place:.4g} the law turns round"
    return None


def _told_from_a_logarithm(fit: Fit) -> tuple[str, str] | None:
    if fit.form == "log":
        return None
    more = max(len(ORDER[fit.form]) - 1 - fit.columns.shape[1], 1)
    least = max(fit.loss, 1e-20 * float(np.sum((fit.values - fit.values.mean()) ** 2)))
    ratio = (fit.rival_loss() - least) / more / (least / fit.spare)
    if ratio > stats.f.ppf(RIVAL_LEVEL, more, fit.spare):
        return None
    chance = float(stats.f.sf(max(ratio, 0.0), more, fit.spare))
    return (
        "not identified",
        f"a logarithm of x, which has no asymptote, fits about as well (p = {chance:.2g}; wanted under {1 - RIVAL_LEVEL:.2g})",
    )


def _saturating(
    fit: Fit, parameters: Mapping[str, float], intervals: Mapping[str, Interval]
) -> tuple[str, str] | None:
    if fit.form != "power":
        return None
    distinct = np.unique(fit.columns)
    largest = distinct[-max(2, len(distinct) // 3) :]
    left = abs(parameters["A"]) * float(largest[-1]) ** -parameters["alpha"]
    curve = fit.predict(largest[:, None])[0]
    low, high = intervals["E"]
    if left <= 0.1 * float(np.ptp(fit.values)) and (low <= curve).all() and (curve <= high).all():
        return (
            "saturating",
            f"from x = {largest[0]:.4g} on the law is not told from its asymptote: {left:.3g} is left to gain",
        )
    return None


def turns_at_its_end(fit: Fit) -> float | None:
    """The x from which on the points go back, where that is more than noise does; None where they do not.

    A power with a kink, y = E + A x^-alpha + C max(0, ln x - ln x_k), against the power alone, over all alpha and the x_k of the second half. Only ends that
    go back count (the slope after the kink is against the law's direction), by `LEAST_DROP` of the range of y at least: a plateau that a power does not meet is
    none. How large the best ratio of sums of squares gets by noise is simulated from the fitted law with normal noise.
    """
    order = np.argsort(fit.columns[:, 0], kind="stable")
    logs = np.log(fit.columns[order, 0])
    values, law = fit.values[order], fit.law()[order]
    direction = np.sign((law - law.mean()) @ (logs - logs.mean()))
    distinct = np.unique(logs)
    if len(distinct) < 6 or direction == 0:
        return None
    knots = distinct[len(distinct) // 2 - 1 : -1]
    knots = knots[np.unique(np.linspace(0, len(knots) - 1, MOST_KNOTS).astype(int))]
    deviation = float(np.sqrt(np.sum((values - law) ** 2) / max(fit.spare, 1)))
    noise = np.random.default_rng(0).normal(0, deviation, (NUM_SIMULATED, len(values)))
    drawn = np.vstack([values, law + noise]) * direction
    ratios, knot, curve = _kink_ratios(logs, drawn, knots)
    drop = float(curve.max() - curve[-1])
    if drop < LEAST_DROP * float(np.ptp(values)):
        return None
    return float(np.exp(knot)) if ratios[0] > np.quantile(ratios[1:], TURN_LEVEL) else None


def _kink_ratios(logs: Floats, drawn: Floats, knots: Floats) -> tuple[Floats, float, Floats]:
    """For each row of values that should rise: (sum without a kink - sum with one) / sum with one, over the kinks that turn; the first row's kink and curve."""
    scaled = logs - logs.mean()
    alphas = np.array([0.0, *np.geomspace(0.02, 3.0, 16)])
    largest = np.where(alphas > 0, np.exp(-alphas * scaled[0]), 1.0)  # so that no column is huge
    curves = np.where(alphas[:, None] > 0, -np.exp(-alphas[:, None] * scaled), scaled)
    curves /= largest[:, None]
    ends = np.where(alphas > 0, alphas * np.exp(-alphas * scaled[-1]), 1.0) / largest
    centred = (drawn - drawn.mean(axis=1, keepdims=True)).T
    one = np.ones_like(curves)
    least = _solved(np.stack([one, curves], axis=2), centred)[0].min(axis=0)
    kinks = np.maximum(logs - knots[:, None], 0.0)
    shape = (len(alphas), len(knots), len(logs))
    parts = (one[:, None], curves[:, None], kinks[None])
    design = np.stack([np.broadcast_to(part, shape) for part in parts], axis=3)
    design = design.reshape(-1, len(logs), 3)
    sums, linear = _solved(design, centred)
    slopes = linear[:, 1] * np.repeat(ends, len(knots))[:, None] + linear[:, 2]
    sums = np.where((linear[:, 1] > 0) & (slopes < 0), sums, np.inf)
    turned = sums.min(axis=0)
    best = int(np.argmin(sums[:, 0]))
    floor = 1e-12 * np.sum(centred**2, axis=0)
    found = np.where(np.isfinite(turned), turned, least)  # no kink that turns: no gain
    ratios = (least - found) / np.maximum(found, floor)
    is_turned = np.isfinite(turned[0])
    curve = design[best] @ linear[best, :, 0] if is_turned else np.zeros(len(logs))
    return ratios, float(knots[best % len(knots)]), curve


def _solved(design: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Least squares of many designs `(cells, points, parameters)` on many `(points, draws)`: sums `(cells, draws)`, parameters `(cells, parameters, draws)`."""
    basis, triangle = np.linalg.qr(design)
    parts = np.einsum("cpi,pd->cid", basis, values)
    sums = np.sum(values**2, axis=0) - np.sum(parts**2, axis=1)
    return np.maximum(sums, 0.0), np.linalg.solve(triangle, parts)


def _words(interval: Interval) -> str:
    return f"[{interval[0]:.4g}, {interval[1]:.4g}]"
