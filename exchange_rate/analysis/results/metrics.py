"""Which metric to trust."""

from exchange_rate.analysis.results.numbers import Named, Number, Result


class SegmentEffect(Result):
    """What a metric buys in one segment."""

    segment: str
    """Its name."""
    slope: Number
    """Outcome per standard deviation of the metric over encoders."""
    quality: float | None
    """Proxy quality for the segment's outcome; null where that does not vary beyond its noise."""
    num_encoders: int
    """Encoders that have both."""


class Candidate(Result):
    """A candidate for the metric to steer by."""

    metric: str
    """Its name."""
    definition: str
    """What it is."""
    is_decoy: bool
    """Whether it is built in and means nothing: then it must not win."""
    verdict: str
    """`better than decoys`, `no better than decoys`, `decoy` or `not measured`."""
    reason: str
    """Why."""
    quality: Number
    """Proxy quality: the correlation of a new encoder's measured metric with its true outcome."""
    left_out_error: Number
    """How far off it predicts the outcome of encoders of an unseen path."""
    probability_best: float | None
    """Chance that it is the best of all candidates; null of one that is missing for some encoder."""
    probability_decoy: float | None
    """Chance that the best of as many decoys predicts as well."""
    effects: tuple[SegmentEffect, ...]
    """What it buys in each segment."""
    is_stable: bool | None
    """False where it is shown to buy unlike amounts in the segments; null where no test can be made."""
    stability: str
    """The same in words."""
    num_encoders: int
    """Encoders that have it."""
    num_paths: int
    """Trainings that these are checkpoints of."""
    is_chosen: bool
    """Whether it is the answer."""
    is_told_from_best: bool | None
    """Whether it is shown to be worse than the answer; null where they do not compare."""
    is_shown: bool
    """Whether figure and short table hold it."""


class Blend(Result):
    """The weighted sum of metrics that predicts the outcome of a new encoder best."""

    weights: tuple[Named, ...]
    """Of metrics divided by their standard deviation over encoders; absolute weights sum to 1, the largest first."""
    quality: Number
    """Its proxy quality."""
    left_out_error: float | None
    """How far off it predicts encoders of an unseen path."""
    best_metric: str
    """The best single metric."""
    best_left_out_error: float | None
    """How far off that one predicts them."""
    is_better: bool
    """Whether the blend is shown to predict better."""
    reason: str
    """Why, in words."""


class Neighbour(Result):
    """A product that an encoder finds."""

    name: str
    """Its title."""
    picture: str
    """A small JPEG as a data URL; empty where it has none."""
    similarity: float
    """Its cosine with the search."""
    is_engaged: bool
    """Whether the searcher engaged with it."""


class Retrieved(Result):
    """What two encoders find for the search that tells them apart most."""

    modality: str
    """By picture, by words or by both."""
    search: str
    """Its words; empty where it has none."""
    picture: str
    """Its picture as a data URL; empty where it has none."""
    by_metric: tuple[Neighbour, ...]
    """Found by the encoder that the metric prefers, the nearest first."""
    by_auc: tuple[Neighbour, ...]
    """Found by the one that AUC prefers."""
    num_shared: int
    """Products that both find."""
    num_searches: int
    """Searches of which this one was chosen."""


class Disagreement(Result):
    """Two encoders of which the metric prefers one and AUC, beyond noise, the other."""

    metric: str
    """Which metric."""
    better_by_metric: str
    """The encoder that the metric prefers."""
    better_by_auc: str
    """The encoder that AUC prefers."""
    metric_difference: Number
    """How much the metric prefers its one."""
    auc_difference: Number
    """How much AUC has of it: below zero."""
    z: float
    """How sure the contradiction is: the smaller difference in standard errors."""
    retrieved: Retrieved | None = None
    """What the two find; null of all but the first pairs, and where the study kept nothing."""


class Choice(Result):
    """Which metric to steer by."""

    metric: str | None
    """Its name; null where the answer is none."""
    not_told_from: tuple[str, ...]
    """Other metrics that are better than decoys and not shown to be worse."""
    error_to_beat: float | None
    """The left-out error that decoys stay above."""
    num_decoy_draws: int
    """Draws behind it."""
    num_disagreements: int
    """Pairs of encoders that contradict a metric, in all."""
    reason: str
    """Why, in a sentence."""
