"""The exchange rate and all that qualifies it."""

from exchange_rate.analysis.results.numbers import Line, Number, Result


class Paths(Result):
    """Checkpoints of one training are one path: the rate along paths and across them."""

    num_paths: int
    """Paths among the encoders of the rate."""
    within: Number
    """Rate on the metric minus the mean of its path."""
    between: Number
    """Rate on the means of paths."""
    difference: Number
    """Within minus between."""
    share: float
    """Of the scatter around the line, the share that encoders of one path have in common."""
    disagree: bool
    """Whether the two are told apart."""
    text: str
    """Whether they agree, in words; empty where there is nothing to compare."""


class Shape(Result):
    """Whether a line is the right form, and what the next point buys."""

    form: str
    """`line` (no curve is told from it), `saturating`, `convex` or `unknown`."""
    next_point: Number
    """Rate at the best encoder: what the next gain of the metric buys."""
    best_encoder: str
    """The encoder with the best metric; empty where there is none."""
    best_metric: float | None
    """Its metric."""
    at_floor: tuple[str, ...]
    """Encoders whose metric is at its floor: in no fit."""
    at_ceiling: tuple[str, ...]
    """Encoders whose metric is at its ceiling: in no fit."""
    text: str
    """The form in words."""


class LeftOutRate(Result):
    """The rate without one encoder, one path or a far-off group."""

    what: str
    """`encoder`, `path` or `far group`."""
    name: str
    """Which."""
    slope: float | None
    """The rate without it; null where there is none."""
    low: float | None
    """Lower end of its interval."""
    high: float | None
    """Upper end of its interval."""
    verdict: str
    """The verdict without it."""
    changes: bool
    """Whether the verdict is another one than with it."""


class Influence(Result):
    """What becomes of the rate without any one encoder, path or far-off group."""

    left_out: tuple[LeftOutRate, ...]
    """One entry each."""
    low: float | None
    """The smallest rate among them."""
    high: float | None
    """The largest rate among them."""


class SplitUsers(Result):
    """The rate with users split in two halves: a check that needs no model of the noise."""

    value: float
    """Mean over splits."""
    spread: float
    """Standard deviation over splits."""
    num_splits: int
    """Random splits."""
    agrees: bool
    """Whether it lies within the rate's interval."""
    definition: str
    """What it is."""


class Rate(Result):
    """The exchange rate of one outcome of one ranker on the steering metric, over trained encoders."""

    ranker: str
    """The ranker on content."""
    outcome: str
    """Name of the outcome: `auc`, `auc_cold`, `gauc`, `auc_over_permuted`."""
    name: str
    """The outcome as it is called."""
    verdict: str
    """`identified`, `not identified`, `saturating`, `convex`, `rests on one encoder` or `rests on one path`."""
    reason: str
    """Why, in words."""
    slope: Number
    """Outcome per unit of the metric."""
    intercept: Number | None
    """The line at a metric of zero; of AUC over permuted vectors it is what content gives that the metric does not measure."""
    direct_effect: str
    """In words, where that is told from zero; empty otherwise."""
    all_encoders: Number | None
    """The rate with untrained encoders too; null where all are trained."""
    untrained: tuple[str, ...]
    """Encoders that are not in it because nothing was trained."""
    paths: Paths | None
    """Within and between trainings; null where there is no rate."""
    shape: Shape | None
    """Line or curve; null where there is no rate."""
    influence: Influence | None
    """Without any one encoder or path; null where there is no rate."""
    split_users: SplitUsers | None
    """On halves of the users; null where the study has none."""
    num_encoders: int
    """Encoders that it was fitted on."""
    num_paths: int
    """Trainings that these are checkpoints of."""
    num_runs: int
    """Ranker runs behind them."""
    metric_noise: float | None
    """Standard error of one encoder's metric."""
    shared_noise: float | None
    """Share of its variance that all encoders have in common."""
    seed_noise: float | None
    """Standard deviation of the outcome between seeds of one encoder."""
    scatter: float | None
    """Standard deviation of encoders' outcome around the fit."""
    line: Line | None
    """The fit; null where there is none."""


class PairRow(Result):
    """An encoder against the first."""

    encoder: str
    """Which."""
    metric_gain: Number
    """Gain of the metric."""
    auc_gain: Number
    """Gain of AUC."""
    ratio: Number
    """The one over the other."""
