"""Variable projection of a scaling law: the exponents are searched, everything else is solved for (Golub and Pereyra 1973).

For fixed exponents a law is linear in its other parameters, so one or two exponents are all that is searched: on a grid over their whole range, then locally
from its best cells. The exponents that the likelihood's threshold allows are kept, and for each of them the ellipse of linear parameters that it allows;
intervals and bands are unions over those. `exchange_rate.laws.scaling` says what the forms are and judges what comes out.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Floats = NDArray[np.float64]
Interval = tuple[float, float]

NAN, INFINITY = float("nan"), float("inf")

LINEAR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("E", "A"), "power_no_floor": ("A",), "log": ("E", "A"), "additive": ("E", "A", "B")}
)
EXPONENT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("alpha",), "power_no_floor": ("alpha",), "log": (), "additive": ("alpha", "beta")}
)
ORDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "power": ("E", "A", "alpha"),
        "power_no_floor": ("A", "alpha"),
        "log": ("E", "A"),
        "additive": ("E", "A", "alpha", "B", "beta"),
    }
)


class Search:
    """Variable projection of one form on one set of points, with the exponents that the threshold allows.

    x is divided by its geometric mean, so that amplitudes of different exponents are of one size; `parameters` undoes it.
    """

    def __init__(
        self, form: str, columns: Floats, values: Floats, level: float, exponents: Interval
    ):
        self.form, self.columns, self.values = form, columns, values
        self.scale = np.exp(np.log(columns).mean(axis=0))
        self.num_parameters = len(ORDER[form])
        self.spare = len(values) - self.num_parameters
        low, high = exponents
        grid = np.geomspace(low, high, 161 if form != "additive" else 41)
        if form == "power_no_floor":
            grid = np.concatenate([-grid[::-1], [0.0], grid])
        self.bounds = [(grid[0], grid[-1])] * len(EXPONENT[form])
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
        found = dict(zip(LINEAR[self.form], map(float, self.linear), strict=True))
        exponents = dict(zip(EXPONENT[self.form], map(float, self.best), strict=True))
        return self._in_units(found, self.best) | exponents

    def intervals(self) -> dict[str, Interval]:
        """Profile intervals; infinite where they run into the end of an exponent's range, and everywhere without a point to spare."""
        names = ORDER[self.form]
        if self.spare <= 0:
            return dict.fromkeys(names, (-INFINITY, INFINITY))
        ends: dict[str, list[tuple[float, float, bool, bool]]] = {name: [] for name in names}
        for exponents in self.allowed:
            smallest, linear, inverse = self._solve(exponents)
            room = max(self.threshold - smallest, 0.0)
            at_low, at_high = self._at_ends(exponents)
            half = np.sqrt(room * np.diag(inverse))
            for which, name in enumerate(LINEAR[self.form]):
                pair = []
                for end in (linear[which] - half[which], linear[which] + half[which]):
                    moved = dict.fromkeys(LINEAR[self.form], 0.0) | {name: float(end)}
                    if self.form == "log" and name == "E":
                        moved["A"] = float(linear[1])
                    pair.append(self._in_units(moved, exponents)[name])
                ends[name].append((min(pair), max(pair), at_low, at_high and name != "E"))
            for which, name in enumerate(EXPONENT[self.form]):
                ends[name].append((exponents[which], exponents[which], at_low, at_high))
        if self.form == "log":
            ends["E"] = [(*self._log_start(), False, False)]
        return {name: _union(ends[name]) for name in names}

    def predict(self, columns: Floats) -> tuple[Floats, Floats, Floats]:
        """The law at `columns` `(points, inputs)` and the ends of its band, each `(points,)`."""
        value = self.design(columns, self.best) @ self.linear
        if self.spare <= 0:
            return value, np.full(len(value), -INFINITY), np.full(len(value), INFINITY)
        low, high = value.copy(), value.copy()
        for exponents in self.allowed:
            smallest, linear, inverse = self._solve(exponents)
            design = self.design(columns, exponents)
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
        design = self.design(self.columns, exponents)
        normal = design.T @ design
        inverse = np.asarray(np.linalg.pinv(normal, rcond=1e-14, hermitian=True), np.float64)
        linear = np.asarray(np.linalg.lstsq(design, self.values, rcond=None)[0], np.float64)
        return float(np.sum((self.values - design @ linear) ** 2)), linear, inverse

    def design(self, columns: Floats, exponents: Floats) -> Floats:
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
