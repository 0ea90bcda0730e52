"""Scaling laws: how a metric or AUC grows with training tokens, negatives or history length, and what of it the points identify.

`exchange_rate.laws.forms` has the forms, `exchange_rate.laws.verdicts` the verdicts. Two ways of fitting, by how many points there are:

    many   a hundred distinct x or more: absolute errors from many starts, intervals from a case bootstrap (`exchange_rate.laws.bootstrap`)
    few    fewer: variable projection with Huber's loss, intervals by profile likelihood with an F threshold (`exchange_rate.laws.profile`)

Both have their residuals on a scale. "log" compares ln(law) with ln(y): an error of one per cent counts the same everywhere, which suits a loss that falls
over decades (Hoffmann et al. 2022). "linear" compares law and y: the noise of a recall or an AUC is about as large at .3 as at .5, and on the log scale a recall
of .01, the noisiest of all in per cent, would steer the fit. Without a choice a y that is positive and falls is taken on the log scale, all else linear.

An asymptote should never be printed without its band: `str(law)` prints both or neither.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from exchange_rate.estimation.columns import number_array, number_column, same_length
from exchange_rate.laws.bootstrap import Bootstrap
from exchange_rate.laws.forms import (
    EXPONENTS,
    FORMS,
    INFINITY,
    NAN,
    ORDER,
    TEXT,
    Floats,
    Interval,
)
from exchange_rate.laws.profile import fit_profile
from exchange_rate.laws.results import STANDING, HeldOutPoint
from exchange_rate.laws.verdicts import Fit, judge
from moon_rec.errors import StudyError

MANY = 100
"""Distinct points from which on there is a case bootstrap."""


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law.

    Attributes:
        form: one of `FORMS`; `text` writes it out.
        parameters: name -> estimate, by the form's names; NaN where there were fewer points than parameters.
        intervals: name -> (low, high) at `level`; infinite ends are meant.
        verdict: `identified`, `saturating`, `not identified`, `sign unstable` or `not monotone`; `reason` says why.
        residual: standard deviation of the points around the law, on `scale` (NaN without a point to spare).
        num_points: points it was fitted on.
        scale: "log" or "linear", that of the residuals.
        num_set_aside: points that were outliers to the fit of many points, and count for nothing in it.
    """

    form: str
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    verdict: str
    reason: str
    level: float
    residual: float
    num_points: int
    scale: str = "linear"
    num_set_aside: int = 0
    fit: "Fit | None" = field(default=None, repr=False, compare=False)

    @property
    def text(self) -> str:
        """The form as a formula."""
        return TEXT[self.form]

    def predict(self, x: ArrayLike) -> Floats:
        """The law at `x` `(points,)`, or `(points, 2)` for `additive` -> `(points,)`."""
        columns, shape = self._asked(x)
        if self.fit is None:
            return np.full(shape, NAN)
        return self.fit.value_at(columns).reshape(shape)

    def band(self, x: ArrayLike) -> tuple[Floats, Floats]:
        """Ends of the interval of the law itself at `x`, each `(points,)`; infinite where there is no point to spare."""
        columns, shape = self._asked(x)
        if self.fit is None:
            return np.full(shape, NAN), np.full(shape, NAN)
        _, low, high = self.fit.predict(columns)
        return low.reshape(shape), high.reshape(shape)

    def _asked(self, x: ArrayLike) -> tuple[Floats, tuple[int, ...]]:
        grid = number_array(x, "x")
        shape = grid.shape[:-1] if self.form == "additive" else grid.shape
        return as_columns(grid, self.form), shape

    def __str__(self) -> str:
        parts = [f"{self.text}: {self.verdict}"]
        if self.verdict in STANDING:
            for name, value in self.parameters.items():
                low, high = self.intervals[name]
                parts.append(f"{name} {value:.4g} [{low:.4g}, {high:.4g}]")
        return ", ".join(parts)


def fit_scaling_law(
    x: ArrayLike,
    y: ArrayLike,
    form: str = "power",
    level: float = 0.95,
    *,
    scale: str | None = None,
    exponents: Interval = EXPONENTS,
    huge: float = 1.0,
    seed: int = 0,
) -> ScalingLaw:
    """Fit one form; the module's docstring has the ways of fitting and the scales.

    Args:
        x: `(points,)` positive, or `(points, 2)` for `additive`.
        y: `(points,)`.
        scale: "log" or "linear", that of the residuals; None chooses.
        exponents: the range searched for alpha and beta; `power_no_floor` searches both signs of it.
        huge: an asymptote whose interval is wider than `huge` times the range of y is not identified.
        seed: of the case bootstrap.

    Raises:
        StudyError: an unknown form or scale, shapes that do not fit, x that is not positive, values that are not finite, or not positive on the log scale.
    """
    columns, values = _checked(x, y, form, level, exponents)
    scale = scale_of(columns, values, scale)
    names = ORDER[form]
    distinct = len(np.unique(columns, axis=0))
    if (
        distinct < len(names)
        or np.linalg.matrix_rank(np.log(columns) - np.log(columns[0])) < columns.shape[1]
    ):
        nothing = dict.fromkeys(names, NAN)
        unknown = dict.fromkeys(names, (-INFINITY, INFINITY))
        reason = f"{distinct} distinct x for {len(names)} parameters"
        return ScalingLaw(
            form, nothing, unknown, "not identified", reason, level, NAN, len(values), scale
        )
    is_log = scale == "log"
    fit = (
        Bootstrap(form, columns, values, level, exponents, is_log, seed)
        if distinct >= MANY
        else fit_profile(form, columns, values, level, exponents, is_log)
    )
    parameters, intervals = fit.parameters(), fit.intervals()
    verdict, reason = judge(fit, parameters, intervals, huge)
    return ScalingLaw(
        form,
        {name: parameters[name] for name in names},
        {name: intervals[name] for name in names},
        verdict,
        reason,
        level,
        fit.residual,
        len(values),
        scale,
        int(np.sum(fit.kept == 0)) if isinstance(fit, Bootstrap) else 0,
        fit,
    )


def compare_forms(
    x: ArrayLike,
    y: ArrayLike,
    forms: Sequence[str] = ("power", "power_no_floor", "log"),
    num_held_out: int = 1,
    level: float = 0.95,
    *,
    scale: str | None = None,
) -> pl.DataFrame:
    """Fit each form without the `num_held_out` largest x and say how far off it predicts them: the fair way to choose a form.

    Args:
        x: as of `fit_scaling_law`; of two inputs the product says which points are the largest.
        scale: as there; None chooses once, for all forms.

    Returns:
        One row a form and held-out point, best form first (by root mean square error): form, x, observed, predicted, low, high (the law's own band),
        error (predicted - observed), verdict of the fit, root_mean_square_error.
    """
    inputs, values = number_array(x, "x"), number_column(y, "y")
    same_length(x=inputs, y=values)
    if not 0 < num_held_out < len(values):
        raise StudyError(
            f"held-out comparison: {num_held_out} points held out of {len(values)}; wanted at least 1, and fewer than there are"
        )
    scale = scale_of(inputs.reshape(len(values), -1), values, scale)
    rows = []
    for form in forms:
        law, points = predict_held_out(inputs, values, form, num_held_out, level, scale)
        size = root_mean_square_error(points)
        rows += [
            (form, *astuple(one), one.predicted - one.observed, law.verdict, size) for one in points
        ]
    names = [*(one.name for one in fields(HeldOutPoint)), "error"]
    schema = {"form": pl.String} | dict.fromkeys(names, pl.Float64)
    schema |= {"verdict": pl.String, "root_mean_square_error": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sort("root_mean_square_error", nulls_last=True, maintain_order=True)


def predict_held_out(
    inputs: Floats, values: Floats, form: str, num_held_out: int, level: float, scale: str
) -> tuple[ScalingLaw, tuple[HeldOutPoint, ...]]:
    """The law fitted without the largest x, and what it says of them, smallest first."""
    sizes = inputs.reshape(len(values), -1).prod(axis=1)
    order = np.argsort(sizes, kind="stable")
    seen, held_out = order[:-num_held_out], order[-num_held_out:]
    law = fit_scaling_law(inputs[seen], values[seen], form, level, scale=scale)
    columns = (
        sizes[held_out],
        values[held_out],
        law.predict(inputs[held_out]),
        *law.band(inputs[held_out]),
    )
    return law, tuple(HeldOutPoint(*map(float, row)) for row in zip(*columns, strict=True))


def root_mean_square_error(points: Sequence[HeldOutPoint]) -> float:
    """Of predicted - observed; NaN of nothing."""
    errors = [one.predicted - one.observed for one in points]
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else NAN


def scale_of(columns: Floats, values: Floats, scale: str | None) -> str:
    """The scale of the residuals: as asked for, or chosen as the module's docstring says.

    Raises:
        StudyError: an unknown scale; the log scale with values that have no logarithm.
    """
    if scale not in (None, "log", "linear"):
        raise StudyError(f"scale {scale!r} is unknown; choose log or linear")
    is_positive = bool((values > 0).all())
    if scale == "log" and not is_positive:
        row = int(np.flatnonzero(values <= 0)[0])
        raise StudyError(
            f"y, row {row}: {values[row]:g} has no logarithm; choose scale linear, or leave that point out"
        )
    if scale is not None:
        return scale
    sizes = np.log(np.maximum(columns, 1e-300)).sum(axis=1)
    falls = float((sizes - sizes.mean()) @ values) < 0
    return "log" if is_positive and falls else "linear"


def as_columns(x: Floats, form: str) -> Floats:
    """x as `(points, inputs)`.

    Raises:
        StudyError: not as many inputs as the form has, or one that is not positive.
    """
    wanted = 2 if form == "additive" else 1
    columns = x.reshape(-1, 2) if form == "additive" and x.shape[-1:] == (2,) else x.reshape(-1, 1)
    if columns.shape[1] != wanted or (form != "additive" and x.ndim > 1):
        raise StudyError(f"x: form {form!r} wants {wanted} column(s); received shape {x.shape}")
    if (columns <= 0).any():
        row = int(np.flatnonzero((columns <= 0).any(axis=1))[0])
        value = float(columns[row].min())
        raise StudyError(
            f"x, row {row}: {value:g} is not positive; form {form!r} takes powers or logarithms of x: leave that point out"
        )
    return columns


def _checked(
    x: ArrayLike, y: ArrayLike, form: str, level: float, exponents: Interval
) -> tuple[Floats, Floats]:
    if form not in FORMS:
        raise StudyError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")
    if not 0 < level < 1 or not 0 < exponents[0] < exponents[1] < np.inf:
        raise StudyError(
            f"level = {level}, exponents = {exponents}: wanted 0 < level < 1 and 0 < low < high"
        )
    columns, values = as_columns(number_array(x, "x"), form), number_column(y, "y")
    same_length(x=columns, y=values)
    return columns, values
