"""What a scaling law's analysis has found: plain values that a page prints and JSON holds.

`exchange_rate.laws.analysis.analyse_law` makes them of points, `exchange_rate.laws.allocation.compute_optimal` those of a budget.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from exchange_rate.laws.forms import Interval

if TYPE_CHECKING:
    from exchange_rate.laws.scaling import ScalingLaw

VERDICTS = ("identified", "saturating", "not identified", "sign unstable", "not monotone")
STANDING = VERDICTS[:2]
"""Verdicts of a law whose parameters may be printed."""


@dataclass(frozen=True)
class HeldOutPoint:
    """One of the largest x, predicted by a law that was fitted without it.

    Attributes:
        x: the input; of two inputs the product, which is what grows with the budget.
        observed, predicted: the value of y, and the law's.
        low, high: the band of the law itself at x, without the noise of the point; infinite where there is none.
    """

    x: float
    observed: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class FormFit:
    """One form on the same points as the others.

    Attributes:
        form: one of `exchange_rate.laws.forms.FORMS`; `text` writes it out.
        verdict, reason: of the form fitted on all points.
        parameters, intervals: name -> estimate, name -> (low, high); NaN and infinite where the points do not have them.
        aicc: Akaike's criterion corrected for few points (Hurvich and Tsai 1989) on residuals tempered by Huber's loss; NaN where there are too few.
        weight: Akaike weight, from 0 to 1, over all forms that have an aicc (they sum to 1); 0 where it has none.
        held_out: the largest x, predicted by this form without them.
        held_out_error: root mean square of predicted - observed; NaN without a held-out point.
    """

    form: str
    text: str
    verdict: str
    reason: str
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    aicc: float
    weight: float
    held_out: tuple[HeldOutPoint, ...]
    held_out_error: float


@dataclass(frozen=True)
class LawResult:
    """What points say of how y grows with x.

    Attributes:
        verdict: one of `VERDICTS`, of the asked form; `reason` says why.
        form, text: the asked form, and it written out.
        scale: "log" or "linear", the scale of the residuals.
        level: of the intervals.
        num_points: distinct points it was fitted on (repeats are averaged).
        num_repeats: largest number of repeats of one point; 1 without repeats.
        spread: standard deviation of repeats about their mean, pooled over the points; NaN without repeats.
        parameters, intervals: of the asked form, as in `FormFit`; print them only where `stands`.
        forms: the asked form first, then the others by weight.
        sentence: the answer in words: the law with its intervals, or why there is none.
        num_set_aside: points that were outliers to the asked form, and count for nothing in it; the sentence says how many.
        law: the asked form's fit, for curves and bands; in no JSON.
    """

    verdict: str
    reason: str
    form: str
    text: str
    scale: str
    level: float
    num_points: int
    num_repeats: int
    spread: float
    parameters: dict[str, float]
    intervals: dict[str, Interval]
    forms: tuple[FormFit, ...]
    sentence: str
    num_set_aside: int = 0
    law: "ScalingLaw | None" = field(default=None, repr=False, compare=False)

    @property
    def stands(self) -> bool:
        """Whether there is a law whose parameters may be printed."""
        return self.verdict in STANDING

    @property
    def held_out(self) -> tuple[HeldOutPoint, ...]:
        """The held-out points of the asked form."""
        return self.forms[0].held_out

    @property
    def weights(self) -> dict[str, float]:
        """Akaike weight by form."""
        return {one.form: one.weight for one in self.forms}

    def as_dict(self) -> dict[str, Any]:
        """Plain values; numbers that are not finite are for the writer of JSON to make null."""
        found = asdict(replace(self, law=None))
        del found["law"]
        return found


@dataclass(frozen=True)
class Allocation:
    """The best use of one compute budget, by the additive law.

    Attributes:
        budget: C, in the units of `cost` times both inputs (FLOP where `cost` is 6, x parameters and tokens).
        first, second: N and D at the smallest y, with intervals.
        value: y there, with its interval.
    """

    budget: float
    first: float
    first_interval: Interval
    second: float
    second_interval: Interval
    value: float
    value_interval: Interval
