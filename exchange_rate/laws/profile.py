"""Few points: a law's profile likelihood by variable projection (Golub and Pereyra 1973), made robust by weights.

For fixed exponents a law is linear in its other parameters, so one or two exponents are all that is searched: on a grid over their whole range, then locally
from its best cells. The exponents that the likelihood's threshold allows are kept, and for each of them the ellipse of linear parameters that it allows;
intervals and bands are unions over those.

Huber's loss (2 robust standard deviations) and the log scale come in by reweighting: on the log scale a residual is ln(law) - ln(y), which is linear in the
law around the last fit's, so each round solves a weighted problem for values moved accordingly. A case bootstrap is no way for few points: of 8 points with
3 parameters, one draw in fifty has 3 distinct x or fewer and is met exactly.
"""

import functools

import numpy as np
from scipy import optimize, stats

from exchange_rate.laws.forms import (
    EXPONENT,
    INFINITY,
    LINEAR,
    NAN,
    ORDER,
    Floats,
    Interval,
)
from exchange_rate.laws.robust import huber_weights

DELTA = 2.0
"""Residuals beyond this many robust standard deviations count less; with fewer points to spare than 2 nothing tells an outlier."""
ROUNDS = 15


def fit_profile(
    form: str, columns: Floats, values: Floats, level: float, exponents: Interval, is_log: bool
) -> "Profile":
    """The robust fit of one form with its profile; `is_log` is the scale of the residuals."""
    spare = len(values) - len(ORDER[form])
    weights = 1 / values**2 if is_log else np.ones(len(values))
    found = Profile(form, columns, values, weights, level, exponents)
    for _ in range(ROUNDS if is_log or spare >= 2 else 0):
        law = found.law()
        if is_log and (law <= 0).any():
            break
        residuals = np.log(values / law) if is_log else values - law
        largest = np.sort(np.abs(residuals))[-max(spare, 1) :]  # the others may be met exactly
        deviation = 1.4826 * float(np.median(largest))
        tempered = np.ones(len(values))
        if spare >= 2 and deviation > 1e-9 * float(np.ptp(np.log(values) if is_log else values)):
            tempered = huber_weights(residuals, DELTA * deviation)
        new = tempered / law**2 if is_log else tempered
        change = float(np.max(np.abs(new / weights - 1)))
        weights = new
        found = Profile(
            form, columns, law * (1 + residuals) if is_log else values, weights, level, exponents
        )
        if change < 1e-6:
            break
    return found


class Profile:
    """Weighted variable projection of one form on one set of points, with the exponents that the threshold allows (found when first asked for).

    x is divided by its geometric mean, so that amplitudes of different exponents are of one size; `parameters` undoes it.
    """

    def __init__(
        self,
        form: str,
        columns: Floats,
        values: Floats,
        weights: Floats,
        level: float,
        exponents: Interval,
    ):
        self.form, self.columns, self.values = form, columns, values
        self.level, self.roots = level, np.sqrt(weights)
        self.scale = np.exp(np.log(columns).mean(axis=0))
        self.spare = len(values) - len(ORDER[form])
        low, high = exponents
        self.grid = np.geomspace(low, high, 161 if form != "additive" else 41)
        if form == "power_no_floor":
            self.grid = np.concatenate([-self.grid[::-1], [0.0], self.grid])
        self.bounds = [(self.grid[0], self.grid[-1])] * len(EXPONENT[form])
        self.best = self._minimise()
        self.loss, self.linear, _ = self._solve(self.best)
        self.residual = float(np.sqrt(self.loss / self.spare)) if self.spare > 0 else NAN

    @functools.cached_property
    def threshold(self) -> float:
        """The largest sum of squares that the likelihood allows: the least one (1 + F(1, spare) / spare)."""
        centred = self.roots * (self.values - self.values.mean())
        floor = 1e-20 * float(np.sum(centred**2))
        ratio = float(stats.f.ppf(self.level, 1, self.spare)) / self.spare
        return max(self.loss, floor) * (1 + ratio)

    def law(self) -> Floats:
        """The law at its own points."""
        return self.value_at(self.columns)

    def rival_loss(self) -> float:
        """The weighted sum of squares of a plain logarithm in each input, on the same points."""
        design = np.column_stack([np.ones(len(self.values)), np.log(self.columns)])
        rows = self.roots[:, None] * design
        target = self.roots * self.values
        return float(np.sum((target - rows @ np.linalg.lstsq(rows, target, rcond=None)[0]) ** 2))

    def parameters(self) -> dict[str, float]:
        """Estimates in the caller's units of x."""
        found = dict(zip(LINEAR[self.form], map(float, self.linear), strict=True))
        exponents = dict(zip(EXPONENT[self.form], map(float, self.best), strict=True))
        return self._in_units(found, self.best) | exponents

    def intervals(self) -> dict[str, Interval]:
        """Profile intervals; infinite where they run into the end of an exponent's range, and everywhere without a point to spare."""
        names = ORDER[self.form]
        if self.spare <= 0:
            return dict.fromkeys(names, (-INFINITY, INFINITY))
        ends: dict[str, list[tuple[float, float, bool, bool]]] = {name: [] for name in names}
        sums, linears, inverses = self._solve_all(self.allowed)
        room = np.maximum(self.threshold - sums, 0.0)
        halves = np.sqrt(room[:, None] * np.einsum("cii->ci", inverses))
        for exponents, linear, half in zip(self.allowed, linears, halves, strict=True):
            at_low, at_high = self._at_ends(exponents)
            for which, name in enumerate(LINEAR[self.form]):
                pair = []
                for end in (linear[which] - half[which], linear[which] + half[which]):
                    moved = dict.fromkeys(LINEAR[self.form], 0.0) | {name: float(end)}
                    pair.append(self._in_units(moved, exponents)[name])
                ends[name].append((min(pair), max(pair), at_low, at_high and name != "E"))
            for which, name in enumerate(EXPONENT[self.form]):
                ends[name].append((exponents[which], exponents[which], at_low, at_high))
        if self.form == "log":
            ends["E"] = [(*self._log_start(), False, False)]
        return {name: _union(ends[name]) for name in names}

    def value_at(self, columns: Floats) -> Floats:
        """The law at `columns` `(points, inputs)`, `(points,)`."""
        return self.design(columns, self.best[None])[0] @ self.linear

    def predict(self, columns: Floats) -> tuple[Floats, Floats, Floats]:
        """The law at `columns` `(points, inputs)` and the ends of its band, each `(points,)`."""
        value = self.value_at(columns)
        if self.spare <= 0:
            return value, np.full(len(value), -INFINITY), np.full(len(value), INFINITY)
        sums, linears, inverses = self._solve_all(self.allowed)
        design = self.design(columns, self.allowed)
        room = np.maximum(self.threshold - sums, 0.0)
        spread = np.einsum("cpi,cij,cpj->cp", design, inverses, design, optimize=True)
        half = np.sqrt(room[:, None] * spread)
        curves = np.einsum("cpi,ci->cp", design, linears)
        return (
            value,
            np.minimum(value, (curves - half).min(axis=0)),
            np.maximum(value, (curves + half).max(axis=0)),
        )

    def at_a_bound(self) -> bool:
        """Whether a best exponent sits at the end of its range."""
        return any(
            value <= low * (1 + 1e-3) or value >= high * (1 - 1e-3)
            if low > 0
            else abs(value) >= high * (1 - 1e-3)
            for value, (low, high) in zip(self.best, self.bounds, strict=True)
        )

    def _solve(self, exponents: Floats) -> tuple[float, Floats, Floats]:
        """Weighted sum of squares, linear parameters and the inverse of the normal matrix, given the exponents."""
        design = self.roots[:, None] * self.design(self.columns, exponents[None])[0]
        target = self.roots * self.values
        inverse = np.linalg.pinv(design.T @ design, rcond=1e-14, hermitian=True)
        linear = np.asarray(np.linalg.lstsq(design, target, rcond=None)[0], np.float64)
        return float(np.sum((target - design @ linear) ** 2)), linear, inverse

    def _sum(self, exponents: Floats) -> float:
        """The weighted sum of squares alone."""
        design = self.roots[:, None] * self.design(self.columns, exponents[None])[0]
        target = self.roots * self.values
        return float(np.sum((target - design @ np.linalg.lstsq(design, target)[0]) ** 2))

    def _solve_all(self, mesh: Floats) -> tuple[Floats, Floats, Floats]:
        """`_solve` of many exponents `(cells, exponents)`: `(cells,)`, `(cells, linear)`, `(cells, linear, linear)`."""
        design = self.roots[:, None] * self.design(self.columns, mesh)
        target = self.roots * self.values
        normal = np.einsum("cpi,cpj->cij", design, design)
        inverse = np.linalg.pinv(normal, rcond=1e-14, hermitian=True)
        linear = np.einsum("cij,cj->ci", inverse, np.einsum("cpj,p->cj", design, target))
        left = target - np.einsum("cpi,ci->cp", design, linear)
        return np.sum(left**2, axis=1), linear, inverse

    def design(self, columns: Floats, mesh: Floats) -> Floats:
        """The linear part `(cells, points, linear)` for exponents `(cells, exponents)`."""
        scaled = columns / self.scale
        one = np.ones((len(mesh), len(columns), 1))
        if self.form == "log":
            return np.concatenate([one, np.broadcast_to(np.log(scaled), one.shape)], axis=2)
        powers = np.exp(-np.log(scaled) * mesh[:, None, :])
        return powers if self.form == "power_no_floor" else np.concatenate([one, powers], axis=2)

    def _minimise(self) -> Floats:
        if self.form == "log":
            return np.empty(0)
        starts = self._mesh([self.grid] * len(self.bounds))
        sums = self._solve_all(starts)[0]
        place = int(np.argmin(sums))
        best = starts[place]
        if len(self.bounds) == 1:
            around = (self.grid[max(place - 1, 0)], self.grid[min(place + 1, len(self.grid) - 1)])
            found = optimize.minimize_scalar(
                lambda value: self._sum(np.array([value])),
                bounds=around,
                method="bounded",
                options={"xatol": 1e-10},
            )
            return np.array([found.x]) if found.fun <= self._sum(best) else best
        for start in starts[np.argsort(sums, kind="stable")[:4]]:
            found = optimize.minimize(
                self._sum,
                start,
                bounds=self.bounds,
                method="Nelder-Mead",
                options={"xatol": 1e-8, "fatol": 1e-18, "maxiter": 600},
            )
            if found.fun < self._sum(best):
                best = found.x
        return best

    @functools.cached_property
    def allowed(self) -> Floats:
        """Exponents `(cells, exponents)` inside the threshold: coarse cells find the region's box, finer ones fill it."""
        if self.form == "log" or self.spare <= 0:
            return self.best[None]
        axes = [self.grid] * len(self.bounds)
        for finer in (161, 81) if len(axes) == 1 else (31, 31):
            inside = self._inside(axes)
            axes = [
                np.linspace(*_around(axis, inside[:, which]), finer)
                for which, axis in enumerate(axes)
            ]
        return self._inside(axes)

    def _inside(self, axes: list[Floats]) -> Floats:
        mesh = self._mesh(axes)
        return np.vstack([self.best[None], mesh[self._solve_all(mesh)[0] <= self.threshold]])

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
