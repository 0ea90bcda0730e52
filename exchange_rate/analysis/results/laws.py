"""Scaling laws."""

from exchange_rate.analysis.results.numbers import Line, Named, Result


class LawPoint(Result):
    """A point that a law was fitted on."""

    name: str
    """The encoder, or the ranker."""
    x: float
    """Where it lies on the axis."""
    y: float
    """What was measured there."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""


class HeldOut(Result):
    """One of the largest x, predicted by a law that was fitted without it."""

    x: float
    """Where it lies on the axis."""
    observed: float
    """What was measured there."""
    predicted: float
    """What the law says there."""
    low: float | None
    """Lower end of the law's band; null where it has none."""
    high: float | None
    """Upper end of the law's band; null where it has none."""


class Form(Result):
    """One form on the same points as the others."""

    form: str
    """Its name."""
    text: str
    """Its formula."""
    verdict: str
    """Whether the points identify it."""
    weight: float | None
    """Its Akaike weight (AICc) among the forms; null where there are too few points."""
    held_out: tuple[HeldOut, ...]
    """The largest x, predicted by it without them."""
    held_out_error: float | None
    """Root mean square error at these; null where there are none."""


class Law(Result):
    """How a quantity grows with an axis of training."""

    name: str
    """The quantity: a metric, or `auc`."""
    axis: str
    """What grows, in words."""
    along: str = ""
    """What its points are: checkpoints or widths of one training, ends of several, or rankers on one encoder."""
    path: str
    """The training that all points belong to; empty where there are several."""
    form: str
    """The form that was asked for, as a formula."""
    verdict: str
    """Whether the points identify it."""
    reason: str
    """Why."""
    sentence: str
    """The answer in words: the law with its intervals, or why there is none."""
    parameters: tuple[Named, ...]
    """Empty where the points identify none."""
    points: tuple[LawPoint, ...]
    """All points, the smallest x first."""
    forms: tuple[Form, ...]
    """All forms that were tried, the asked one first."""
    line: Line | None
    """The law; null where it does not stand."""
