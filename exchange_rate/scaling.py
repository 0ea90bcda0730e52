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
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from moon_rec.errors import StudyError

Floats = NDArray[np.float64]
Interval = tuple[float, float]

NAN, INFINITY = float("nan"), float("inf")
EXPONENTS = (0.02, 5.0)
"""Range searched for a positive exponent; below .02 a power cannot be told from a logarithm on any data we have seen."""

_LINEAR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("E", "A"), "power_no_floor": ("A",), "log": ("E", "A"), "additive": ("E", "A", "B")}
)
_EXPONENT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("alpha",), "power_no_floor": ("alpha",), "log": (), "additive": ("alpha", "beta")}
)
_ORDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "power": ("E", "A", "alpha"),
        "power_no_floor": ("A", "alpha"),
        "log": ("E", "A"),
        "additive": ("E", "A", "alpha", "B", "beta"),
    }
)
FORMS = tuple(_ORDER)
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
    _search: "_Search | None" = field(repr=False, compare=False)

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
        grid = np.asarray(x, dtype=np.float64)
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
    names = _ORDER[form]
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
    search = _Search(form, columns, values, level, exponents)
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
    x_values = np.asarray(x, dtype=np.float64)
    y_values = np.asarray(y, dtype=np.float64)
    if x_values.ndim != 1 or not 0 < num_held_out < len(x_values):
        raise StudyError(
            f"held-out comparison: wanted one column of x with more than {num_held_out} points; received shape {x_values.shape}"
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


class _Search:
    """Variable projection of one form on one set of points, with the exponents that the threshold allows.

    x is divided by its geometric mean, so that amplitudes of different exponents are of one size; `parameters` undoes it.
    """

    def __init__(
        self, form: str, columns: Floats, values: Floats, level: float, exponents: Interval
    ):
        self.form, self.columns, self.values = form, columns, values
        self.scale = np.exp(np.log(columns).mean(axis=0))
        self.num_parameters = len(_ORDER[form])
        self.spare = len(values) - self.num_parameters
        low, high = exponents
        grid = np.geomspace(low, high, 161 if form != "additive" else 41)
        if form == "power_no_floor":
            grid = np.concatenate([-grid[::-1], [0.0], grid])
        self.bounds = [(grid[0], grid[-1])] * len(_EXPONENT[form])
        self.best = self._minimise(grid)
        self.smallest, self.linear, _ = self._solve(self.best)
        floor = 1e-20 * float(np.sum((values - values.mean()) ** 2))
        ratio = (
            float(stats.f.ppf(level, 1, self.spare)) / self.spare if self.spare > 0 else INFINITY
        )
        self.threshold = max(self.smallest, floor) * (1 + ratio)
        self.residual = float(np.sqrt(self.smallest / self.spare)) if self.spare > 0 else NAN
        self.allowed = self._allowed(grid)

    def parameters(self) -> dict[str, float]:
        """Estimates in the caller's units of x."""
        found = dict(zip(_LINEAR[self.form], map(float, self.linear), strict=True))
        exponents = dict(zip(_EXPONENT[self.form], map(float, self.best), strict=True))
        return self._in_units(found, self.best) | exponents

    def intervals(self) -> dict[str, Interval]:
        """Profile intervals; infinite where they run into the end of an exponent's range, and everywhere without a point to spare."""
        names = _ORDER[self.form]
        if self.spare <= 0:
            return dict.fromkeys(names, (-INFINITY, INFINITY))
        ends: dict[str, list[tuple[float, float, bool, bool]]] = {name: [] for name in names}
        for exponents in self.allowed:
            smallest, linear, inverse = self._solve(exponents)
            room = max(self.threshold - smallest, 0.0)
            at_low, at_high = self._at_ends(exponents)
            half = np.sqrt(room * np.diag(inverse))
            for which, name in enumerate(_LINEAR[self.form]):
                pair = []
                for end in (linear[which] - half[which], linear[which] + half[which]):
                    moved = dict.fromkeys(_LINEAR[self.form], 0.0) | {name: float(end)}
                    if self.form == "log" and name == "E":
                        moved["A"] = float(linear[1])
                    pair.append(self._in_units(moved, exponents)[name])
                ends[name].append((min(pair), max(pair), at_low, at_high and name != "E"))
            for which, name in enumerate(_EXPONENT[self.form]):
                ends[name].append((exponents[which], exponents[which], at_low, at_high))
        if self.form == "log":
            ends["E"] = [(*self._log_start(), False, False)]
        return {name: _union(ends[name]) for name in names}

    def predict(self, columns: Floats) -> tuple[Floats, Floats, Floats]:
        """The law at `columns` `(points, inputs)` and the ends of its band, each `(points,)`."""
        value = self._design(columns, self.best) @ self.linear
        if self.spare <= 0:
            return value, np.full(len(value), -INFINITY), np.full(len(value), INFINITY)
        low, high = value.copy(), value.copy()
        for exponents in self.allowed:
            smallest, linear, inverse = self._solve(exponents)
            design = self._design(columns, exponents)
            room = max(self.threshold - smallest, 0.0)
            half = np.sqrt(room * np.einsum("pi,ij,pj->p", design, inverse, design))
            low = np.minimum(low, design @ linear - half)
            high = np.maximum(high, design @ linear + half)
        return value, low, high

    def at_a_bound(self) -> bool:
        """Whether a best exponent sits at the end of its range."""
        return any(
            value <= low * (1 + 1e-3) or value >= high * (1 - 1e-3)
            if low > 0
            else abs(value) >= high * (1 - 1e-3)
            for value, (low, high) in zip(self.best, self.bounds, strict=True)
        )

    def _solve(self, exponents: Floats) -> tuple[float, Floats, Floats]:
        """Residual sum of squares, linear parameters and the inverse of the normal matrix, given the exponents."""
        design = self._design(self.columns, exponents)
        normal = design.T @ design
        inverse = np.asarray(np.linalg.pinv(normal, rcond=1e-14, hermitian=True), np.float64)
        linear = np.asarray(np.linalg.lstsq(design, self.values, rcond=None)[0], np.float64)
        return float(np.sum((self.values - design @ linear) ** 2)), linear, inverse

    def _design(self, columns: Floats, exponents: Floats) -> Floats:
        scaled = columns / self.scale
        one = np.ones(len(columns))
        if self.form == "log":
            return np.stack([one, np.log(scaled[:, 0])], axis=1)
        powers = scaled ** -np.asarray(exponents)
        return powers if self.form == "power_no_floor" else np.column_stack([one, powers])

    def _minimise(self, grid: Floats) -> Floats:
        if self.form == "log":
            return np.empty(0)
        starts = self._mesh([grid] * len(self.bounds))
        sums = np.array([self._solve(exponents)[0] for exponents in starts])
        best = starts[int(np.argmin(sums))]
        if len(self.bounds) == 1:
            place = int(np.argmin(sums))
            around = (grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)])
            found = optimize.minimize_scalar(
                lambda value: self._solve(np.array([value]))[0],
                bounds=around,
                method="bounded",
                options={"xatol": 1e-10},
            )
            return np.array([found.x]) if found.fun <= sums[place] else best
        for start in starts[np.argsort(sums, kind="stable")[:4]]:
            found = optimize.minimize(
                lambda value: self._solve(value)[0],
                start,
                bounds=self.bounds,
                method="Nelder-Mead",
                options={"xatol": 1e-8, "fatol": 1e-18, "maxiter": 600},
            )
            if found.fun < self._solve(best)[0]:
                best = found.x
        return best

    def _allowed(self, grid: Floats) -> Floats:
        """Exponents `(cells, exponents)` inside the threshold: coarse cells find the region's box, finer ones fill it."""
        if self.form == "log":
            return np.empty((1, 0))
        if self.spare <= 0:
            return self.best[None]
        axes = [grid] * len(self.bounds)
        for finer in (161, 81) if len(axes) == 1 else (31, 31):
            inside = self._inside(axes)
            axes = [
                np.linspace(*_around(axis, inside[:, which]), finer)
                for which, axis in enumerate(axes)
            ]
        return self._inside(axes)

    def _inside(self, axes: list[Floats]) -> Floats:
        mesh = self._mesh(axes)
        sums = np.array([self._solve(exponents)[0] for exponents in mesh])
        return np.vstack([self.best[None], mesh[sums <= self.threshold]])

    @staticmethod
    def _mesh(axes: list[Floats]) -> Floats:
        return np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1)

    def _at_ends(self, exponents: Floats) -> tuple[bool, bool]:
        pairs = list(zip(exponents, self.bounds, strict=True))
        at_low = any(value <= low * (1 + 1e-3) for value, (low, _) in pairs if low > 0)
        at_low |= any(value <= low * (1 - 1e-3) for value, (low, _) in pairs if low < 0)
        return at_low, any(value >= high * (1 - 1e-3) for value, (_, high) in pairs)

    def _in_units(self, linear: dict[str, float], exponents: Floats) -> dict[str, float]:
        """Linear parameters of scaled x -> those of x itself."""
        units = dict(linear)
        if self.form == "log":
            units["E"] = linear["E"] - linear["A"] * float(np.log(self.scale[0]))
            return units
        for which, name in enumerate(("A", "B")[: len(exponents)]):
            units[name] = linear[name] * float(self.scale[which] ** exponents[which])
        return units

    def _log_start(self) -> Interval:
        """Interval of the logarithm's E, the law at x = 1."""
        _, low, high = self.predict(np.ones((1, 1)))
        return float(low[0]), float(high[0])


def _judge(
    search: _Search,
    parameters: Mapping[str, float],
    intervals: Mapping[str, Interval],
    distinct: int,
    huge: float,
) -> tuple[str, str]:
    """Verdict and reason, by the module's rules."""
    names = _ORDER[search.form]
    span = float(np.ptp(search.values))
    if distinct < len(names) + 1:
        return (
            "not identified",
            f"{distinct} distinct x for {len(names)} parameters leave none to judge them by",
        )
    if search.at_a_bound():
        return "not identified", "the best exponent lies at the end of the range searched"
    for name in ("E", *(_EXPONENT[search.form])):
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


def _sign_flips(search: _Search, parameters: Mapping[str, float]) -> float | None:
    """The x of a point without which a line of y on the fitted curve's shape turns round; None where there is none."""
    if search.form == "additive":
        return None
    curve = search._design(search.columns, search.best)[:, -1]
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


def _union(ends: list[tuple[float, float, bool, bool]]) -> Interval:
    """Smallest and largest end; infinite where an exponent's bound is what holds it."""
    low = min(ends, key=lambda end: end[0])
    high = max(ends, key=lambda end: end[1])
    return (
        -INFINITY if low[2] or low[3] else float(low[0]),
        INFINITY if high[2] or high[3] else float(high[1]),
    )


def _around(axis: Floats, inside: Floats) -> Interval:
    """The part of an axis that holds the cells inside the threshold, one cell more on either side."""
    first = int(np.searchsorted(axis, inside.min(), side="right")) - 1
    last = int(np.searchsorted(axis, inside.max(), side="left"))
    return float(axis[max(first - 1, 0)]), float(axis[min(last + 1, len(axis) - 1)])


def _words(interval: Interval) -> str:
    return f"[{interval[0]:.4g}, {interval[1]:.4g}]"


def _columns(x: Floats, form: str) -> Floats:
    wanted = 2 if form == "additive" else 1
    columns = x.reshape(-1, 2) if form == "additive" and x.shape[-1:] == (2,) else x.reshape(-1, 1)
    if columns.shape[1] != wanted or (columns <= 0).any() or not np.isfinite(columns).all():
        raise StudyError(
            f"form {form!r} wants {wanted} column(s) of positive finite x; received shape {x.shape}"
            + (f" with smallest value {x.min()}" if x.size else "")
        )
    return columns


def _checked(
    x: ArrayLike, y: ArrayLike, form: str, level: float, exponents: Interval
) -> tuple[Floats, Floats]:
    if form not in FORMS:
        raise StudyError(f"form {form!r} is unknown; choose one of {', '.join(FORMS)}")
    if not 0 < level < 1 or not 0 < exponents[0] < exponents[1]:
        raise StudyError(
            f"level = {level}, exponents = {exponents}: wanted 0 < level < 1 and 0 < low < high"
        )
    columns = _columns(np.asarray(x, dtype=np.float64), form)
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (len(columns),) or not np.isfinite(values).all():
        raise StudyError(
            f"y: wanted {len(columns)} finite values, one a point; received {values.tolist()}"
        )
    return columns, values
