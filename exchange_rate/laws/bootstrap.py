"""Many points: absolute errors on the points' own scale, and a case bootstrap for everything that is printed of them.

Huber's loss with a delta of a thousandth of the residuals' standard deviation is the sum of absolute errors but for rounded corners: five points of 240 may
lie anywhere. It is what the refit of Chinchilla's points has (Besiroglu et al. 2024): its printed values are those of delta -> 0, while the 1e-3 of Hoffmann
et al. 2022, a fifth of the residuals' deviation, moves B by 2.8 %.
"""

import functools
from dataclasses import replace

import numpy as np

from exchange_rate.laws.forms import (
    EXPONENT,
    INFINITY,
    LINEAR,
    ORDER,
    Floats,
    Interval,
)
from exchange_rate.laws.robust import Problem, minimise

DELTA = 1e-3
"""In standard deviations of the residuals."""
PER_AXIS, NUM_STARTS, NUM_DRAWS = 12, 24, 1000
NEAR, FAR, ROUNDS = 5.0, 14.0, 10
"""A point is set aside where it lies further than FAR standard deviations from a fit of the points within NEAR. Absolute errors alone withstand any residual,
but not five points at one end of x that lean the same way; all 240 points of Chinchilla's stay (the furthest at 11.2), 10 % off in the loss is twenty."""


class Bootstrap:
    """A robust fit from many starts, and its draws (fitted when first asked for)."""

    def __init__(
        self,
        form: str,
        columns: Floats,
        values: Floats,
        level: float,
        exponents: Interval,
        is_log: bool,
        seed: int,
    ):
        self.form, self.columns, self.values = form, columns, values
        self.level, self.seed = level, seed
        unit = 1.0 if is_log else float(np.ptp(np.quantile(values, [0.25, 0.75]))) or 1.0
        self.problem = Problem(form, columns, values, is_log, unit, exponents)
        self.spare = len(values) - len(ORDER[form])
        starts = self.problem.starts(PER_AXIS, NUM_STARTS)
        everything = np.ones(len(values))
        first = self._best(self.problem, starts, everything, 1e-3)
        core, self.kept = self._without_outliers(first)
        self.delta = DELTA * self._deviation(core)
        starts = np.vstack([first, core, starts])
        self.found = self._best(self.problem, starts, self.kept, self.delta)
        self.loss = self._loss(self.problem, self.found)
        self.residual = self._deviation(self.found) * unit
        self.best = self.found[0, self.problem.num_linear :]

    def law(self) -> Floats:
        """The law at its own points."""
        return self.value_at(self.columns)

    def rival_loss(self) -> float:
        """The loss of a plain logarithm in each input, on the same points."""
        rival = replace(self.problem, form="log")
        return self._loss(rival, self._best(rival, rival.starts(1, 1), self.kept, self.delta))

    def parameters(self) -> dict[str, float]:
        """Estimates in the caller's units of x."""
        return self._named(self.problem.in_units(self.found))

    @functools.cached_property
    def draws(self) -> Floats:
        """Parameters `(draws, parameters)` of scaled x, each fitted on as many points drawn with replacement, from the fit of all."""
        random = np.random.default_rng(self.seed)
        weights = random.multinomial(self.kept.sum(), self.kept / self.kept.sum(), NUM_DRAWS)
        starts = np.repeat(self.found, NUM_DRAWS, axis=0)
        return minimise(self.problem, starts, weights.astype(np.float64), self.delta)[0]

    def intervals(self) -> dict[str, Interval]:
        """Percentiles of the draws; infinite where draws at the end of an exponent's range reach into them."""
        low, high = self.problem.exponents
        exponents = self.draws[:, self.problem.num_linear :]
        at_low = (np.abs(exponents) <= low * (1 + 1e-3)).any(axis=1)
        at_high = (np.abs(exponents) >= high * (1 - 1e-3)).any(axis=1)
        found = {}
        for name, values in zip(self._names(), self.problem.in_units(self.draws).T, strict=True):
            beyond = (at_low | at_high) if name != "E" else at_low
            down, up = np.where(beyond, -INFINITY, values), np.where(beyond, INFINITY, values)
            found[name] = self._ends(down)[0], self._ends(up)[1]
        return {name: found[name] for name in ORDER[self.form]}

    def value_at(self, columns: Floats) -> Floats:
        """The law at `columns` `(points, inputs)`, `(points,)`."""
        return self.problem.law(self.found, columns)[0][0]

    def predict(self, columns: Floats) -> tuple[Floats, Floats, Floats]:
        """The law at `columns` `(points, inputs)` and the ends of its band, each `(points,)`."""
        value = self.value_at(columns)
        curves = self.problem.law(self.draws, columns)[0]
        low, high = np.quantile(curves, [(1 - self.level) / 2, (1 + self.level) / 2], axis=0)
        return value, low, high

    def at_a_bound(self) -> bool:
        """Whether a best exponent sits at the end of its range."""
        low, high = self.problem.exponents
        size = np.abs(self.best)
        at_low = self.form != "power_no_floor" and (size <= low * (1 + 1e-3)).any()
        return bool(at_low or (size >= high * (1 - 1e-3)).any())

    def _without_outliers(self, first: Floats) -> tuple[Floats, Floats]:
        """A fit `(1, parameters)` of the points near it, and 1 for every point that is no outlier of that fit, else 0, `(points,)`."""
        core, near = first, np.ones(len(self.values))
        for _ in range(ROUNDS):
            new = (self._sizes(core) <= NEAR).astype(np.float64)
            if (new == near).all():
                break
            near = new
            core = self._best(self.problem, core, near, DELTA * self._deviation(core))
        return core, (self._sizes(core) <= FAR).astype(np.float64)

    def _best(self, problem: Problem, starts: Floats, weights: Floats, delta: float) -> Floats:
        """The best fit from many starts, `(1, parameters)`."""
        found, losses = minimise(problem, starts, weights[None], delta)
        return found[[int(np.argmin(losses))]]

    def _loss(self, problem: Problem, parameters: Floats) -> float:
        return float(problem.loss(parameters, self.kept[None], self.delta)[0])

    def _deviation(self, parameters: Floats) -> float:
        """Robust standard deviation of the residuals on the scale; tiny where the points are met exactly."""
        residuals = self.problem.residuals(self.problem.law(parameters)[0])[0]
        return max(1.4826 * float(np.median(np.abs(residuals))), 1e-9)

    def _sizes(self, parameters: Floats) -> Floats:
        """Sizes of the residuals `(points,)` in standard deviations."""
        residuals = self.problem.residuals(self.problem.law(parameters)[0])[0]
        return np.abs(residuals) / self._deviation(parameters)

    def _ends(self, values: Floats) -> Interval:
        ends = (1 - self.level) / 2, (1 + self.level) / 2
        low, high = np.quantile(values, ends, method="closest_observation")
        return float(low), float(high)

    def _names(self) -> tuple[str, ...]:
        return LINEAR[self.form] + EXPONENT[self.form]

    def _named(self, parameters: Floats) -> dict[str, float]:
        return dict(zip(self._names(), map(float, parameters[0]), strict=True))
