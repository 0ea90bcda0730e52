"""What a fit of the exchange rate says, as typed results; `exchange_rate.estimation.rate` fits them.

Every number has an interval at the fit's level and says what it is in `definition`. A number that there is none of is NaN; a part that does not apply is None.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.sandwich import Figure, t_quantile

NAN = float("nan")

OutcomeKind = Literal["auc", "over permuted"]
"""What the outcome is: AUC, or AUC with true vectors minus AUC with permuted vectors of the same encoder."""

Form = Literal["line", "saturating", "convex", "unknown"]
Part = Literal["encoder", "path", "far group"]

Verdict = Literal[
    "identified",
    "saturating",
    "convex",
    "rests on one encoder",
    "rests on one path",
    "rests on a far group",
    "not identified",
]


@dataclass(frozen=True)
class Slope:
    """A slope (AUC per unit of the metric), or another figure of the line, with its interval.

    Attributes:
        value, low, high: the figure and its interval's ends.
        freedom: degrees of freedom of the t distribution behind the interval; small ones mean few independent paths.
        definition: what it is, to be printed beside it.
    """

    value: float
    low: float
    high: float
    freedom: float
    definition: str

    @property
    def is_known(self) -> bool:
        """Whether there is a figure with an interval."""
        return bool(np.isfinite([self.value, self.low, self.high]).all())

    @property
    def is_told_from_zero(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.is_known and not self.low <= 0 <= self.high

    @classmethod
    def of(cls, figure: Figure, level: float, definition: str) -> "Slope":
        """A figure of a fit with its interval."""
        return cls(figure.value, *figure.ends(level), figure.freedom, definition)

    @classmethod
    def unknown(cls, definition: str) -> "Slope":
        """No figure, for a reason that `definition` says."""
        return cls(NAN, NAN, NAN, NAN, definition)


@dataclass(frozen=True)
class PathSlopes:
    """Checkpoints of one training are one path: the slope along paths and the slope across them.

    Attributes:
        num_paths: paths among the encoders of the headline.
        within: slope on the metric minus its path's mean; unknown where no path has two encoders.
        between: slope on the means of paths; unknown below three paths.
        difference: within minus between; unknown where either is.
        share: of the scatter around the line, the share that encoders of one path have in common (REML); 0 where every encoder is its own path.
        text: whether they agree, in words; empty where there is nothing to compare.
    """

    num_paths: int
    within: Slope
    between: Slope
    difference: Slope
    share: float
    text: str

    @property
    def disagree(self) -> bool:
        """Whether the two slopes are told apart."""
        return self.difference.is_told_from_zero


@dataclass(frozen=True)
class Shape:
    """Whether a line is the right form, and what the next point buys.

    Attributes:
        form: `line` (no curve is told from it), `saturating`, `convex`, or `unknown` (too few encoders to tell).
        bend: coefficient of the squared metric, the metric counted in its standard deviations over encoders.
        next_point: slope of the curve at the best encoder: what the next gain of the metric buys.
        at: the metric of the best encoder.
        at_floor, at_ceiling: encoders whose metric is at its floor or ceiling; they carry no slope and are in no fit.
        text: the form in words.
    """

    form: Form
    bend: Slope
    next_point: Slope
    at: float
    at_floor: tuple[str, ...]
    at_ceiling: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class LeftOut:
    """The headline without some encoders.

    Attributes:
        what: `encoder`, `path`, or `far group` (the encoders on the smaller side of a gap as wide as all the others together).
        name: the encoder, the path, or the group's encoders joined by commas.
        slope: the slope without them.
        verdict: the verdict without them.
    """

    what: Part
    name: str
    slope: Slope
    verdict: str


@dataclass(frozen=True)
class Influence:
    """What becomes of the headline without any one encoder, path or far-off group.

    Attributes:
        left_out: one entry an encoder, then one a path of several encoders, then the far group where there is one.
        low, high: the whole range of the slopes.
        changes: the entries whose verdict differs from that of all encoders (its shape and whether zero is left out, then with the sign).
    """

    left_out: tuple[LeftOut, ...]
    low: float
    high: float
    changes: tuple[LeftOut, ...]


@dataclass(frozen=True)
class SplitUsers:
    """The slope from users split in two halves: the check that needs no model of the noise.

    Attributes:
        value: mean over splits of half of (C(xA, yB) + C(xB, yA)) over C(xA, xB).
        spread: its standard deviation over splits.
        num_splits: random splits.
        agrees: whether it lies within the headline's interval.
        definition: what it is, to be printed beside it.
    """

    value: float
    spread: float
    num_splits: int
    agrees: bool
    definition: str


@dataclass(frozen=True)
class ExchangeRate:
    """The slope of AUC on a metric over trained encoders, and all that qualifies it.

    Attributes:
        slope, low, high: AUC per unit of the metric, with its interval at `level`; NaN when there is no slope to speak of.
        verdict: see `exchange_rate.estimation.rate`; `reason` says why in plain words.
        definition: what the slope is, to be printed beside it.
        outcome_kind: AUC, or its difference from permuted vectors.
        freedom: degrees of freedom of the interval.
        num_encoders, num_runs: encoders of the headline (trained, neither at floor nor at ceiling) and their runs.
        untrained: encoders that are left out of the headline because nothing was trained.
        spread: standard deviation of the metric over encoders; `metric_noise` the standard error of one encoder's metric.
        shared: share of the metric's noise that all encoders have in common.
        seed_noise: standard deviation of AUC between seeds of one encoder; `scatter` that of encoders' means around the line.
        centre: mean metric and mean outcome, where the line passes.
        intercept: outcome on the line at a metric of 0. Of AUC over permuted vectors it is the direct effect: what content gains where recall measures nothing.
        paths, shape, influence, split_users: their parts; split_users None without halves.
        all_encoders: the slope with untrained encoders too; None where all are trained.
    """

    slope: float
    low: float
    high: float
    level: float
    verdict: Verdict
    reason: str
    definition: str
    num_encoders: int
    num_runs: int
    spread: float
    metric_noise: float
    seed_noise: float
    scatter: float
    centre: tuple[float, float]
    intercept: Slope
    paths: PathSlopes
    shape: Shape
    influence: Influence
    split_users: SplitUsers | None = None
    all_encoders: Slope | None = None
    untrained: tuple[str, ...] = ()
    outcome_kind: OutcomeKind = "auc"
    freedom: float = NAN
    shared: float = 0.0
    height_error: float = field(default=NAN, repr=False)
    """Standard error of the line's height at `centre`."""

    @property
    def end_slope(self) -> float:
        """The curve's steepness at the best metric."""
        return self.shape.next_point.value

    @property
    def direct_effect(self) -> str:
        """In words, an intercept that is told from zero where the outcome is over permuted vectors; empty otherwise."""
        if self.outcome_kind != "over permuted" or not self.intercept.is_told_from_zero:
            return ""
        ends = [
            f"{100 * one:+.2f}"
            for one in (self.intercept.value, self.intercept.low, self.intercept.high)
        ]
        return (
            f"content gains {ends[0]} points of AUC over permuted vectors ({ends[1]} to {ends[2]}) where the metric would be 0: "
            "the metric does not carry all of what content gives"
        )

    def line(self, metric: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """The fitted line at `metric` `(points,)` with its confidence band: value, low, high, each `(points,)`."""
        distance = np.asarray(metric, dtype=np.float64) - self.centre[0]
        value = self.centre[1] + self.slope * distance
        quantile = t_quantile(self.level, self.freedom)
        half = np.sqrt(
            (quantile * self.height_error) ** 2 + (distance * (self.high - self.low) / 2) ** 2
        )
        return value, value - half, value + half

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
