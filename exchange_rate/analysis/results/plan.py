"""What it takes to know the rate better."""

from exchange_rate.analysis.results.numbers import Result


class NoisePart(Result):
    """A part of what makes the rate's interval wide."""

    name: str
    """What: paths, encoders, seeds, users or searches."""
    share: float
    """Its share of the variance."""


class PlanRow(Result):
    """One way of going on."""

    change: str
    """What is changed; `as it is` for the study at hand."""
    encoders: int
    """Encoders in all."""
    paths: int
    """Trainings in all."""
    seeds: int
    """Ranker runs an encoder."""
    searches: int | None
    """Searches that the metric is measured on; null where the study does not say."""
    users: int | None
    """Users that the outcome is measured on; null where the study does not say."""
    relative_half_width: float | None
    """Half the planned interval over the slope."""
    is_enough: bool
    """Whether that is at most the target."""


class Plan(Result):
    """What it takes to know the rate as well as wanted."""

    target: float
    """Half the interval over the slope that is wanted."""
    text: str
    """In a sentence; also why there is no plan."""
    binding: str
    """The part of the noise that the interval owes most to; empty where it is not known."""
    parts: tuple[NoisePart, ...]
    """All parts."""
    next_encoder: str
    """Which encoder to train next, in a sentence; empty where none can be named."""
    rows: tuple[PlanRow, ...]
    """The study at hand first."""
