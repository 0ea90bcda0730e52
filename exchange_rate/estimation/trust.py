"""Which metric to trust, as one typed answer: what every metric is worth, the best blend, pairs of encoders that contradict the metric, and the choice.

The types stand here; `judge_metrics` (`exchange_rate.estimation.judging`) fills them, `exchange_rate.report` prints them.
"""

from dataclasses import asdict, dataclass
from typing import Any

NAN = float("nan")
NONE = "none"
"""The answer where no metric is shown to predict better than decoys do."""


@dataclass(frozen=True)
class SegmentEffect:
    """What a metric buys in one segment (all encoders, one outcome column of the segment).

    Attributes:
        segment: its name, such as `cold items`.
        slope, low, high: outcome per standard deviation of the metric over encoders, with its interval from leaving out paths.
        quality: proxy quality of the metric for the segment's outcome, in [-1, 1]; NaN where the outcome does not vary beyond its noise.
        num_encoders: encoders that have both.
    """

    segment: str
    slope: float
    low: float
    high: float
    quality: float
    num_encoders: int


@dataclass(frozen=True)
class Stability:
    """Whether a metric buys the same in all segments.

    Attributes:
        effects: one a segment.
        p_value: of equal slopes (each segment against the others, paired over encoders, paths as units, Bonferroni); NaN with one segment or too few paths.
        is_stable: False where slopes are shown to differ at the level; None where no test can be made.
        reason: in plain words.
    """

    effects: tuple[SegmentEffect, ...]
    p_value: float
    is_stable: bool | None
    reason: str


@dataclass(frozen=True)
class MetricTrust:
    """How far one metric may be trusted to steer by.

    Attributes:
        metric: its column, or `decoy: ...` of a built-in decoy.
        is_decoy: it is built in and means nothing: it must not win.
        quality, quality_low, quality_high: proxy quality, the correlation of a new encoder's measured metric with its true outcome, in [-1, 1]; negative
            where the outcome falls as the metric rises. NaN where the outcome does not vary over encoders beyond its noise.
        left_out_error, left_out_error_low, left_out_error_high: root mean square error of an encoder's mean outcome, predicted by the line through the encoders
            of all other paths; in the outcome's unit.
        p_best: chance that it has the largest absolute quality of all candidates, decoys among them; over candidates they sum to 1. NaN for a metric
            that is missing for some encoder.
        p_decoy: chance that the best of as many decoys as there are metrics predicts as well as this; at most .8 (1 - level) for one that is `better than decoys`.
        stability: over segments; None where the study has none, or for a decoy.
        verdict: `better than decoys`, `no better than decoys`, `decoy` or `not compared` (missing for some encoder, constant, or fewer than
            four paths).
        is_told_from_best: shown to be worse than the metric chosen; None where nothing is chosen, for the chosen itself and for what cannot be compared.
        num_encoders, num_paths: what the figures rest on.
        reason: in plain words.
    """

    metric: str
    is_decoy: bool
    quality: float
    quality_low: float
    quality_high: float
    left_out_error: float
    left_out_error_low: float
    left_out_error_high: float
    p_best: float
    p_decoy: float
    stability: Stability | None
    verdict: str
    is_told_from_best: bool | None
    num_encoders: int
    num_paths: int
    reason: str


@dataclass(frozen=True)
class Blend:
    """The weighted sum of metrics that predicts the outcome of a new encoder best.

    Attributes:
        weights: by metric, for metrics divided by their standard deviation over encoders; absolute weights sum to 1, the largest first.
        quality, low, high: proxy quality of the sum; each encoder is judged with weights (and ridge) found without its path.
        left_out_error: its root mean square error, found in the same way, beside `best_metric`'s own.
        ridge: added to the correlation matrix's diagonal; chosen by leave-one-path-out error.
        best_metric, best_left_out_error: the best single metric on the same encoders.
        is_better: whether the blend's squared errors are shown to be smaller than the best metric's.
        reason: in plain words.
    """

    weights: dict[str, float]
    quality: float
    low: float
    high: float
    left_out_error: float
    ridge: float
    best_metric: str
    best_left_out_error: float
    is_better: bool
    reason: str


@dataclass(frozen=True)
class Disagreement:
    """Two encoders of which the metric prefers one and the outcome, beyond noise, the other.

    Attributes:
        metric: which metric.
        better_by_metric, better_by_outcome: the two encoders.
        metric_difference, metric_low, metric_high: of `better_by_metric` minus the other; above zero.
        outcome_difference, outcome_low, outcome_high: likewise; below zero.
        z: the smaller of the two differences in standard errors (absolute): how sure the contradiction is.
    """

    metric: str
    better_by_metric: str
    better_by_outcome: str
    metric_difference: float
    metric_low: float
    metric_high: float
    outcome_difference: float
    outcome_low: float
    outcome_high: float
    z: float


@dataclass(frozen=True)
class Choice:
    """Which metric to steer by.

    Attributes:
        answer: a metric's name, or `none`.
        not_told_from: other metrics that are better than decoys and not shown to be worse than the answer.
        error_to_beat: the left-out error that the best of as many decoys stays above in all but .8 (1 - level) of draws; in the outcome's unit.
        num_decoy_draws: draws behind it.
        reason: one sentence in plain words.
    """

    answer: str
    not_told_from: tuple[str, ...]
    error_to_beat: float
    num_decoy_draws: int
    reason: str


@dataclass(frozen=True)
class MetricJudgement:
    """Everything about a study's candidate metrics.

    Attributes:
        metrics: the smallest left-out error first; those that cannot be compared last. Decoys stand among them.
        blend: None where fewer than two metrics, or too few paths, are there to blend.
        disagreements: the surest first; `num_disagreements` how many there are in all, for a page may hold fewer.
        choice: the answer.
        level: of intervals and tests.
        definitions: what the figures are, by attribute name.
    """

    metrics: tuple[MetricTrust, ...]
    blend: Blend | None
    disagreements: tuple[Disagreement, ...]
    num_disagreements: int
    choice: Choice
    level: float
    definitions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
