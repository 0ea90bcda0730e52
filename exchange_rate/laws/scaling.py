"""Scaling laws: how a metric or AUC grows with training tokens, negatives or history length, and what of it the points identify.

The MOON report studies these axes without publishing a functional form (papers.md 1.9); the forms here are the field's usual ones:

    power           y = E + A x^-alpha                        E is the asymptote; A < 0 where y rises to it, A > 0 where it falls to it
    power_no_floor  y = A x^-alpha                            alpha < 0 where y grows
    log             y = E + A ln(x)                           E is the value at x = 1, A the gain per factor e; it has no asymptote
    additive        y = E + A N^-alpha + B D^-beta            x has two columns, N and D

Fitting is variable projection (Golub and Pereyra 1973): for fixed exponents y is linear in the rest, which least squares solves exactly, so only one or
two exponents are searched, on a grid that covers their whole range and then locally from its best cells: no starting values, no local traps.

Intervals are profile likelihood with an F threshold: all parameters whose residual sum of squares is at most RSS_min (1 + F(1, n - p) / (n - p)). For
fixed exponents that set is an ellipse in the linear parameters, so an interval is the union of the ellipses' projections over the exponents; the band of
`predict` likewise. An interval that runs into the end of an exponent's range is infinite there: a power of .02 cannot be told from a logarithm, which has no
asymptote at all.

Verdicts, the first that applies:
    not identified   fewer distinct x than parameters + 1, an exponent at the end of its range, an interval that is infinite, or an asymptote whose interval is
                     wider than the whole range of y that was seen (`huge`, an option)
    sign unstable    the amplitude's interval includes zero, or leaving out one point flips its sign
    saturating       the asymptote is identified, under a tenth of the rise seen is left to it, and on the largest third of the x (two at least) the law is
                     not told from it
    identified       otherwise
An asymptote should never be printed without its band: `str(law)` prints both or neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from exchange_rate.estimation.columns import number_array, number_column, same_length
from exchange_rate.laws.projection import (
    EXPONENT,
    INFINITY,
    NAN,
    ORDER,
    Floats,
    Interval,
    Search,
)
from moon_rec.errors import StudyError

EXPONENTS = (0.02, 5.0)
"""Range searched for a positive exponent; below .02 a power cannot be told from a logarithm on any data we have seen."""

FORMS = tuple(ORDER)
_TEXT = {
    "power": "y = E + A x^-alpha",
    "power_no_floor": "y = A x^-alpha",
    "log": "y = E + A ln(x)",
    "additive": "y = E + A N^-alpha + B D^-beta",
}


@dataclass(frozen=True)
class ScalingLaw:
    """A fitted law.

    Attributes:
        form: one of `FORMS`; `text` writes it out.
        parameters: name -> estimate, by the form's names; NaN where there were fewer points than parameters.
        intervals: name -> (low, high) at `level`; infinite ends are meant.
        verdict: `identified`, `not identified`, `saturating` or `sign unstable`; `reason` says why.
        residual: standard deviation of the points around the law (NaN without a point to spare).
        num_points: points it was fitted on.
    """

    form: str
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    verdict: str
    reason: str
    level: float
    residual: float
    num_points: int
    _search: "Search | None" = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The form as a formula."""
        return _TEXT[self.form]

    def predict(self, x: ArrayLike) -> Floats:
        """The law at `x` `(points,)`, or `(points, 2)` for `additive` -> `(points,)`."""
        return self._linear_at(x)[0]

    def band(self, x: ArrayLike) -> tuple[Floats, Floats]:
        """Ends of the interval of the law itself at `x`, each `(points,)`; infinite where there is no point to spare."""
        return self._linear_at(x)[1:]

    def _linear_at(self, x: ArrayLike) -> tuple[Floats, Floats, Floats]:
        grid = number_array(x, "x")
        shape = grid.shape[:-1] if self.form == "additive" else grid.shape
        columns = _columns(grid, self.form)
        if self._search is None:
            nothing = np.full(shape, NAN)
            return nothing, nothing, nothing
        value, low, high = self._search.predict(columns)
        return value.reshape(shape), low.reshape(shape), high.reshape(shape)

    def __str__(self) -> str:
        parts = [f"{self.text}: {self.verdict}"]
        if self.verdict in ("identified", "saturating"):
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
    exponents: Interval = EXPONENTS,
    huge: float = 1.0,
) -> ScalingLaw:
    """Fit one form; the module's docstring has the forms, the intervals and the verdicts.

    Args:
        x: `(points,)` positive, or `(points, 2)` for `additive`.
        y: `(points,)`.
        exponents: the range searched for alpha and beta; `power_no_floor` searches both signs of it.
        huge: an asymptote whose interval is wider than `huge` times the range of y is not identified.

    Raises:
        StudyError: an unknown form, shapes that do not fit, x that is not positive, values that are not finite.
    """
    columns, values = _checked(x, y, form, level, exponents)
    names = ORDER[form]
    distinct = len(np.unique(columns, axis=0))
    if (
        distinct < len(names)
        or np.linalg.matrix_rank(np.log(columns) - np.log(columns[0])) < columns.shape[1]
    ):
        nothing = dict.fromkeys(names, NAN)
        reason = f"{distinct} distinct x for {len(names)} parameters"
        unknown = dict.fromkeys(names, (-INFINITY, INFINITY))
        return ScalingLaw(
            form, nothing, unknown, "not identified", reason, level, NAN, len(values), None
        )
    search = Search(form, columns, values, level, exponents)
    parameters = search.parameters()
    intervals = search.intervals()
    verdict, reason = _judge(search, parameters, intervals, distinct, huge)
    return ScalingLaw(
        form,
        {name: parameters[name] for name in names},
        {name: intervals[name] for name in names},
        verdict,
        reason,
        level,
        search.residual,
        len(values),
        search,
    )


def compare_forms(
    x: ArrayLike,
    y: ArrayLike,
    forms: Sequence[str] = ("power", "power_no_floor", "log"),
    num_held_out: int = 1,
    level: float = 0.95,
) -> pl.DataFrame:
    """Fit each form without the `num_held_out` largest x and say how far off it predicts them: the fair way to choose a form.

    Returns:
        One row a form and held-out point, best form first (by root mean square error): form, x, observed, predicted, low, high (the law's own band),
        error (predicted - observed), verdict of the fit, root_mean_square_error.
    """
    x_values, y_values = number_column(x, "x"), number_column(y, "y")
    same_length(x=x_values, y=y_values)
    if not 0 < num_held_out < len(x_values):
        raise StudyError(
            f"held-out comparison: {num_held_out} points held out of {len(x_values)}; wanted at least 1, and fewer than there are"
        )
    order = np.argsort(x_values, kind="stable")
    seen, held_out = order[:-num_held_out], order[-num_held_out:]
    rows = []
    for form in forms:
        law = fit_scaling_law(x_values[seen], y_values[seen], form, level)
        predicted = law.predict(x_values[held_out])
        low, high = law.band(x_values[held_out])
        error = predicted - y_values[held_out]
        size = float(np.sqrt(np.mean(error**2)))
        for place, row in enumerate(held_out):
            figures = (x_values[row], y_values[row], predicted[place], low[place], high[place])
            rows.append((form, *map(float, figures), float(error[place]), law.verdict, size))
    names = ["x", "observed", "predicted", "low", "high", "error"]
    schema = {"form": pl.String} | dict.fromkeys(names, pl.Float64)
    schema |= {"verdict": pl.String, "root_mean_square_error": pl.Float64}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sort("root_mean_square_error", nulls_last=True, maintain_order=True)


def _judge(
    search: Search,
    parameters: Mapping[str, float],
    intervals: Mapping[str, Interval],
    distinct: int,
    huge: float,
) -> tuple[str, str]:
    """Verdict and reason, by the module's rules."""
    names = ORDER[search.form]
    span = float(np.ptp(search.values))
    if distinct < len(names) + 1:
        return (
            "not identified",
            f"{distinct} distinct x for {len(names)} parameters leave none to judge them by",
        )
    if search.at_a_bound():
        return "not identified", "the best exponent lies at the end of the range searched"
    for name in ("E", *(EXPONENT[search.form])):
        if name in names and not np.isfinite(intervals[name]).all():
            return (
                "not identified",
                f"{name} has no bounded interval: the points allow {_words(intervals[name])}",
            )
    has_asymptote = search.form in ("power", "additive")
    if has_asymptote and intervals["E"][1] - intervals["E"][0] > huge * max(span, 1e-300):
        return (
            "not identified",
            f"the asymptote's interval {_words(intervals['E'])} is wider than the range of y that was seen ({span:.4g})",
        )
    for name in ("A", "B"):
        if name in names and intervals[name][0] <= 0 <= intervals[name][1]:
            return (
                "sign unstable",
                f"the interval of {name} {_words(intervals[name])} includes zero",
            )
    if (flips := _sign_flips(search, parameters)) is not None:
        return "sign unstable", f"without the point at x = {flips:.4g} the sign of A flips"
    if search.form == "power":
        largest = np.unique(search.columns)[-max(2, distinct // 3) :]
        left = abs(parameters["A"]) * float(largest[-1]) ** -parameters["alpha"]
        curve = search.predict(largest[:, None])[0]
        low, high = intervals["E"]
        if left <= 0.1 * span and (low <= curve).all() and (curve <= high).all():
            return (
                "saturating",
                f"from x = {largest[0]:.4g} on the law is not told from its asymptote: {left:.3g} is left to gain",
            )
    return "identified", "every exponent has a bounded interval" + (
        ", and so has the asymptote" if has_asymptote else ""
    )


def _sign_flips(search: Search, parameters: Mapping[str, float]) -> float | None:
    """The x of a point without which a line of y on the fitted curve's shape turns round; None where there is none."""
    if search.form == "additive":
        return None
    curve = search.design(search.columns, search.best)[:, -1]
    sign = np.sign(parameters["A"])
    for row in range(len(curve)):
        keep = np.arange(len(curve)) != row
        rest, values = curve[keep], search.values[keep]
        if search.form == "power_no_floor":
            turned = sign * float(rest @ values) < 0
        else:
            turned = sign * float((rest - rest.mean()) @ values) < 0
        if turned:
            return float(search.columns[row, 0])
    return None


def _words(interval: Interval) -> str:
    return f"[{interval[0]:.4g}, {interval[1]:.4g}]"


def _columns(x: Floats, form: str) -> Floats:
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
    columns, values = _columns(number_array(x, "x"), form), number_column(y, "y")
    same_length(x=columns, y=values)
    return columns, values
