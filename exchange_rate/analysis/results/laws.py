"""Scaling laws."""

from exchange_rate.analysis.results.numbers import Line, Named, Result


class LawPoint(Result):
    """A point of a scaling law."""

    name: str
    """The encoder."""
    x: float
    """Where it lies on the axis."""
    y: float
    """What was measured there."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""
    is_held_out: bool
    """Whether the law was fitted without it and predicts it."""
    predicted: float | None
    """What the law without the held-out points says there; null where it says nothing."""


class Form(Result):
    """A form that was tried."""

    form: str
    """Its name."""
    text: str
    """Its formula."""
    verdict: str
    """Whether the points identify it."""
    weight: float | None
    """Its Akaike weight among the forms; null where it has none."""
    held_out_error: float | None
    """Root mean square error at held-out points; null where there are none."""


class Law(Result):
    """How a quantity grows with an axis of training."""

    name: str
    """The quantity: the steering metric or `auc`."""
    axis: str
    """What grows."""
    path: str
    """Along which training."""
    form: str
    """The chosen form, as a formula."""
    verdict: str
    """Whether the points identify it."""
    reason: str
    """Why."""
    parameters: tuple[Named, ...]
    """Empty where the points identify none."""
    points: tuple[LawPoint, ...]
    """All points of the path."""
    forms: tuple[Form, ...]
    """All forms that were tried."""
    line: Line | None
    """The law; null where it is not identified."""
