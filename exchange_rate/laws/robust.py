"""Robust fits of one form, many at once: Huber's loss on the residuals, by damped Gauss-Newton steps with reweighting (Holland and Welsch 1977).

A batch holds what differs from fit to fit: the starting values and the weights of the points. Many starts are a batch, and so are the draws of a case
bootstrap, in which a point that was drawn three times weighs three. x is divided by its geometric mean, so that amplitudes of different exponents are of
one size; `in_units` undoes it. On the log scale this is the objective of Hoffmann et al. 2022 (equation 3); their log-sum-exp only keeps E, A and B positive.
"""

from dataclasses import dataclass

import numpy as np

from exchange_rate.laws.forms import EXPONENT, INFINITY, LINEAR, Floats, Interval

STEPS_A_DELTA, LAST_STEPS = 12, 120
TIGHTENING = (64.0, 16.0, 4.0)
"""Multiples of delta before delta itself: a loss that is nearly absolute error has corners, at which steps from afar get stuck."""


def huber(residuals: Floats, delta: float) -> Floats:
    """Huber's loss: r^2 / 2 up to delta, delta (|r| - delta / 2) beyond."""
    size = np.abs(residuals)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


def huber_weights(residuals: Floats, delta: float) -> Floats:
    """Weights by which least squares has Huber's stationary points: 1 up to delta, delta / |r| beyond."""
    return np.minimum(1.0, delta / np.maximum(np.abs(residuals), 1e-300))


@dataclass(frozen=True)
class Problem:
    """One form on one set of points.

    Attributes:
        form: one of `FORMS`.
        columns: `(points, inputs)`, positive.
        values: `(points,)`.
        is_log: residuals are ln(law) - ln(y); otherwise (law - y) / unit.
        unit: see `is_log`.
        exponents: range of a positive exponent.
    """

    form: str
    columns: Floats
    values: Floats
    is_log: bool
    unit: float
    exponents: Interval

    @property
    def centre(self) -> Floats:
        """Geometric mean of x, `(inputs,)`."""
        return np.exp(np.log(self.columns).mean(axis=0))

    @property
    def num_linear(self) -> int:
        """Parameters other than exponents; "log" may have several inputs here, as a rival of `additive`."""
        return 1 + self.columns.shape[1] if self.form == "log" else len(LINEAR[self.form])

    @property
    def bounds(self) -> Interval:
        low, high = self.exponents
        return (-high, high) if self.form == "power_no_floor" else (low, high)

    def law(self, parameters: Floats, columns: Floats | None = None) -> tuple[Floats, Floats]:
        """Values `(batch, points)` and their derivatives `(batch, points, parameters)`, parameters `(batch, parameters)` in units of scaled x."""
        logs = np.log((self.columns if columns is None else columns) / self.centre)
        linear, exponents = parameters[:, : self.num_linear], parameters[:, self.num_linear :]
        one = np.ones((len(parameters), len(logs), 1))
        if self.form == "log":
            shape = (len(parameters), *logs.shape)
            design = np.concatenate([one, np.broadcast_to(logs, shape)], axis=2)
            return np.einsum("bpl,bl->bp", design, linear), design
        powers = np.exp(-logs * exponents[:, None, :])
        design = powers if self.form == "power_no_floor" else np.concatenate([one, powers], axis=2)
        amplitudes = linear[:, None, -powers.shape[2] :]
        slopes = -amplitudes * logs * powers
        return np.einsum("bpl,bl->bp", design, linear), np.concatenate([design, slopes], axis=2)

    def residuals(self, law: Floats) -> Floats:
        """Residuals of values of the law; infinite where the log scale has none."""
        if not self.is_log:
            return (law - self.values) / self.unit
        with np.errstate(invalid="ignore", divide="ignore"):
            found = np.log(law) - np.log(self.values)
        return np.where(law > 0, found, INFINITY)

    def loss(self, parameters: Floats, weights: Floats, delta: float) -> Floats:
        """Weighted sum of Huber's loss, `(batch,)`."""
        return np.sum(weights * huber(self.residuals(self.law(parameters)[0]), delta), axis=1)

    def starts(self, per_axis: int, keep: int) -> Floats:
        """Starting values `(keep, parameters)`: a grid over the exponents, the rest by weighted least squares, the best cells of it."""
        low, high = self.exponents
        axis = np.geomspace(low, high, per_axis)
        if self.form == "power_no_floor":
            axis = np.concatenate([-axis[::-1], axis])
        axes = [axis] * len(EXPONENT[self.form])
        mesh = np.stack([part.ravel() for part in np.meshgrid(*axes, indexing="ij")], axis=1) if axes else np.empty((1, 0))  # fmt: skip
        blank = np.column_stack([np.ones((len(mesh), self.num_linear)), mesh])
        design = self.law(blank)[1][:, :, : self.num_linear]
        weights = 1 / self.values**2 if self.is_log else np.ones(len(self.values))
        normal = np.einsum("bpi,p,bpj->bij", design, weights, design)
        moment = np.einsum("bpi,p,p->bi", design, weights, self.values)
        linear = np.einsum(
            "bij,bj->bi", np.linalg.pinv(normal, rcond=1e-13, hermitian=True), moment
        )
        starts = np.column_stack([linear, mesh])
        losses = self.loss(starts, np.ones((1, len(self.values))), 1e-3 if self.is_log else 1.0)
        order = np.argsort(losses, kind="stable")
        return starts[order[np.isfinite(losses[order])][:keep]]

    def in_units(self, parameters: Floats) -> Floats:
        """Parameters of scaled x -> those of x itself."""
        found = parameters.copy()
        if self.form == "log":
            found[:, 0] -= found[:, 1] * np.log(self.centre[0])
            return found
        exponents = parameters[:, self.num_linear :]
        found[:, self.num_linear - exponents.shape[1] : self.num_linear] *= self.centre**exponents
        return found


def minimise(
    problem: Problem, starts: Floats, weights: Floats, delta: float
) -> tuple[Floats, Floats]:
    """Parameters `(batch, parameters)` of scaled x and losses `(batch,)` from starts of that shape; weights `(batch or 1, points)`."""
    found = starts.copy()
    for tightening in TIGHTENING:
        found = _descend(problem, found, weights, delta * tightening, STEPS_A_DELTA)[0]
    return _descend(problem, found, weights, delta, LAST_STEPS)


def _descend(
    problem: Problem, parameters: Floats, weights: Floats, delta: float, steps: int
) -> tuple[Floats, Floats]:
    """Levenberg's damped steps, each fit with its own damping; a step that does not improve is taken back."""
    batch = len(parameters)
    weights = np.broadcast_to(weights, (batch, weights.shape[1]))
    low, high = problem.bounds
    damping = np.full(batch, 1e-4)
    best = parameters.copy()
    losses = problem.loss(best, weights, delta)
    open_fits = np.arange(batch)
    for _ in range(steps):
        own, own_weights = best[open_fits], weights[open_fits]
        law, jacobian = problem.law(own)
        residuals = problem.residuals(law)
        jacobian = jacobian / (law[:, :, None] if problem.is_log else problem.unit)
        heavy = own_weights * huber_weights(residuals, delta)
        normal = np.einsum("bpi,bp,bpj->bij", jacobian, heavy, jacobian)
        slope = np.einsum("bpi,bp->bi", jacobian, heavy * residuals)
        diagonal = np.einsum("bii->bi", normal).copy()
        diagonal = np.maximum(diagonal, 1e-14 * diagonal.max(axis=1, keepdims=True) + 1e-300)
        normal += np.einsum("bi,ij->bij", damping[open_fits, None] * diagonal, np.eye(own.shape[1]))
        step = np.linalg.solve(normal, slope[:, :, None])[:, :, 0]
        tried = own - step
        tried[:, problem.num_linear :] = np.clip(tried[:, problem.num_linear :], low, high)
        new = problem.loss(tried, own_weights, delta)
        better = new < losses[open_fits]
        gain = losses[open_fits] - new
        damping[open_fits] = np.clip(damping[open_fits] * np.where(better, 0.2, 6.0), 1e-12, 1e12)
        done = (better & (gain < 1e-11 * losses[open_fits])) | (damping[open_fits] >= 1e11)
        best[open_fits[better]] = tried[better]
        losses[open_fits[better]] = new[better]
        open_fits = open_fits[~done]
        if not len(open_fits):
            break
    return best, losses
