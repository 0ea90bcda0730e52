"""What a plan says, as typed results; `exchange_rate.estimation.planning` makes them."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class StudySize:
    """How much is trained and measured.

    Attributes:
        encoders, paths: encoders, and the trainings that they are checkpoints of.
        seeds: ranker runs an encoder.
        searches: that the metric is measured on; users: that the outcome is measured on. None where the study at hand does not say: they count as given.
    """

    encoders: int
    paths: int
    seeds: int
    searches: int | None = None
    users: int | None = None


@dataclass(frozen=True)
class NoiseParts:
    """What the width of the rate's interval is made of.

    Attributes:
        slope: outcome per unit of the metric.
        spread_between, spread_within: standard deviation of the true metric over paths, and over encoders of one path; in the metric's unit.
        path_scatter, encoder_scatter: standard deviation of the true outcome around the line, over paths and over encoders of one path; in the outcome's unit.
        seed_noise: standard deviation of the outcome between seeds of one encoder (one seed).
        user_noise: standard error of an encoder's outcome from the users drawn, less what all encoders share, at the present number of users.
        search_noise: standard error of an encoder's metric, less what all encoders share, at the present number of searches; in the metric's unit.
    """

    slope: float
    spread_between: float
    spread_within: float
    path_scatter: float
    encoder_scatter: float
    seed_noise: float
    user_noise: float
    search_noise: float


@dataclass(frozen=True)
class PlanOption:
    """One way of going on.

    Attributes:
        change: in plain words, such as `more paths`; `as it is` for the study at hand.
        size: of the whole study, what is there included.
        relative_half_width: half the planned interval over the slope's absolute value.
        is_enough: whether it is at most the target.
    """

    change: str
    size: StudySize
    relative_half_width: float
    is_enough: bool


@dataclass(frozen=True)
class NextEncoder:
    """The one encoder more that would narrow the interval most.

    Attributes:
        path: of the study whose training to go on with, or `a new path`.
        metric: where on the metric it should lie.
        relative_half_width: planned, with that encoder; `relative_half_width_now` without.
        words: the same, as a sentence.
    """

    path: str
    metric: float
    relative_half_width: float
    relative_half_width_now: float
    words: str


@dataclass(frozen=True)
class StudyPlan:
    """What it takes to know the rate as well as wanted.

    Attributes:
        target: wanted relative half width, such as .2.
        level: of the interval.
        parts: the noise seen.
        now: the study at hand.
        options: what could be done, the present study's other numbers kept; those that cannot reach the target, however large, say so.
        binding: the part of the noise that the width owes most to: `paths`, `encoders`, `seeds`, `users` or `searches`; `shares` of the variance by part.
        next_encoder: None where none can be named.
        reason: in plain words; also why there is no plan.
    """

    target: float
    level: float
    parts: NoiseParts
    now: PlanOption
    options: tuple[PlanOption, ...]
    binding: str
    shares: dict[str, float]
    next_encoder: NextEncoder | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
