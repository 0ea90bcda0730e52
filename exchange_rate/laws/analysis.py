"""Points -> everything that is said of their law: the asked form, the forms beside it, their weights, and what they predict of points held out."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from exchange_rate.estimation.columns import number_array, number_column, same_length
from exchange_rate.laws.forms import NAN, ORDER, Floats
from exchange_rate.laws.results import STANDING, FormFit, LawResult
from exchange_rate.laws.robust import huber
from exchange_rate.laws.scaling import (
    ScalingLaw,
    fit_scaling_law,
    predict_held_out,
    root_mean_square_error,
)
from moon_rec.errors import StudyError

ONE_INPUT = ("power", "power_no_floor", "log")
HUBER = 1.345
"""Robust standard deviations at which the criterion's residuals are tempered (95 % efficient under normal noise)."""
MOST_HELD_OUT = 5


def analyse_law(
    x: ArrayLike,
    y: ArrayLike,
    form: str | None = None,
    level: float = 0.95,
    *,
    scale: str | None = None,
    num_held_out: int | None = None,
    average_repeats: bool = False,
    x_name: str = "x",
    y_name: str = "y",
    seed: int = 0,
) -> LawResult:
    """Fit a form and those that rival it, weigh them, and hold out the largest x.

    Args:
        x: `(points,)` positive, or `(points, 2)`.
        y: `(points,)`.
        form: the asked one; None is `power`, or `additive` where x has two columns.
        scale: as of `fit_scaling_law`, one for all forms.
        num_held_out: of the largest x; None is a fifth of the points, 1 to 5, none of fewer than 5 points.
        average_repeats: points of equal x are repeats (seeds) of one point: their mean is fitted.
        x_name, y_name: what the sentence calls them.

    Raises:
        StudyError: as `fit_scaling_law`; more held out than there are points.
    """
    inputs, values = number_array(x, "x"), number_column(y, "y")
    same_length(x=inputs, y=values)
    spread, most = NAN, 1
    if average_repeats:
        inputs, values, spread, most = _averaged(inputs, values)
    form = form or ("additive" if inputs.ndim == 2 else "power")
    others = [one for one in ONE_INPUT if one != form] if form in ONE_INPUT else []
    law = fit_scaling_law(inputs, values, form, level, scale=scale, seed=seed)
    laws = [law] + [
        fit_scaling_law(inputs, values, one, level, scale=law.scale, seed=seed) for one in others
    ]
    held_out = _num_held_out(num_held_out, len(values))
    scores = _aicc([one.predict(inputs) for one in laws], laws, values)
    fits = [
        _form_fit(one, inputs, values, held_out, score, weight)
        for one, score, weight in zip(laws, scores, _weights(scores), strict=True)
    ]
    rivals = sorted(fits[1:], key=lambda one: -one.weight)
    return LawResult(
        law.verdict,
        law.reason,
        form,
        law.text,
        law.scale,
        level,
        len(values),
        most,
        spread,
        law.parameters,
        law.intervals,
        (fits[0], *rivals),
        _sentence(law, x_name, y_name),
        law.num_set_aside,
        law,
    )


def _form_fit(
    law: ScalingLaw, inputs: Floats, values: Floats, num: int, score: float, weight: float
) -> FormFit:
    points = predict_held_out(inputs, values, law.form, num, law.level, law.scale)[1] if num else ()
    error = root_mean_square_error(points)
    return FormFit(law.form, law.text, law.verdict, law.reason, law.parameters, law.intervals, score, weight, points, error)  # fmt: skip


def _num_held_out(asked: int | None, num_points: int) -> int:
    if asked is None:
        return min(max(num_points // 5, 1), MOST_HELD_OUT) if num_points >= 5 else 0
    if not 0 <= asked < num_points:
        raise StudyError(f"held out: {asked} of {num_points} points; wanted fewer than there are")
    return asked


def _averaged(inputs: Floats, values: Floats) -> tuple[Floats, Floats, float, int]:
    """Mean y of each distinct x in the order of x, the pooled standard deviation of repeats, and the most repeats of one x."""
    distinct, places = np.unique(inputs, axis=0, return_inverse=True)
    places = places.reshape(-1)
    counts = np.bincount(places)
    means = np.bincount(places, values) / counts
    spare = len(values) - len(means)
    spread = float(np.sqrt(np.sum((values - means[places]) ** 2) / spare)) if spare else NAN
    return distinct, means, spread, int(counts.max())


def _aicc(predicted: Sequence[Floats], laws: Sequence[ScalingLaw], values: Floats) -> list[float]:
    """AICc of each form on residuals of the common scale, tempered at the smallest deviation; NaN where a form has none."""
    count = len(values)
    is_log = laws[0].scale == "log"
    residuals = [
        np.log(np.where(one > 0, one, NAN) / values) if is_log else one - values
        for one in predicted
    ]
    known = [law.residual for law in laws if np.isfinite(law.residual)]
    delta = HUBER * max(min(known, default=NAN), 1e-12)
    found = []
    for law, one in zip(laws, residuals, strict=True):
        number = len(ORDER[law.form]) + 1  # and the deviation
        room = count - number - 1
        if room <= 0 or not np.isfinite(one).all():
            found.append(NAN)
            continue
        mean = max(2 * float(np.mean(huber(one, delta))), 1e-300)
        found.append(count * np.log(mean) + 2 * number + 2 * number * (number + 1) / room)
    return found


def _weights(scores: Sequence[float]) -> list[float]:
    known = np.isfinite(scores)
    if not known.any():
        return [0.0] * len(scores)
    best = min(one for one in scores if np.isfinite(one))
    shares = np.where(known, np.exp(-(np.nan_to_num(scores) - best) / 2), 0.0)
    return [float(one) for one in shares / shares.sum()]


def _sentence(law: ScalingLaw, x_name: str, y_name: str) -> str:
    aside = f" {law.num_set_aside} points were set aside as outliers." if law.num_set_aside else ""
    if law.verdict not in STANDING:
        return f"{y_name} by {x_name}: no law of the form {law.text} stands: {law.verdict}, {law.reason}.{aside}"
    named = ", ".join(
        f"{name} = {value:.4g} [{law.intervals[name][0]:.4g}, {law.intervals[name][1]:.4g}]"
        for name, value in law.parameters.items()
    )
    return f"{y_name} by {x_name} follows {law.text}, {law.verdict}, on {law.num_points} points: {named} ({law.level:.0%} intervals); {law.reason}.{aside}"
