"""The typed result of an analysis, and the JSON schema that follows from it: `report.json` is exactly this.

Notable choices
- Evidence (tracked runs, or a table of points) becomes a `Results` once; page, Markdown, terminal, figures and `--against` read it and work nothing out.
- The models are the schema (pydantic): `docs/report.schema.json` is written from the classes below, with their docstrings as descriptions.
- Every printed number is a `Number`: value, interval, definition, and what it was measured on. `null` is "nothing identifies one"; no field is NaN.
- Rankers are named by the plan and told apart by `role`; encoders are told apart by `is_trained`, `origin` and `path`. Nothing here knows what any of them is called.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

FORMAT_VERSION = 3
"""Of `report.json`; raised when a field changes its meaning or goes away. 1 and 2 had no number."""
Role = Literal["baseline", "content", "permuted"]
Tone = Literal["good", "plain", "caution"]
Segment = Literal["all", "warm", "cold"]


class Result(BaseModel):
    """A part of the results: fixed, without fields that are not declared, without NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Number(Result):
    """A number as it is printed."""

    value: float | None
    """The estimate; null where nothing identifies one."""
    low: float | None
    """Lower end of its interval; null where there is none."""
    high: float | None
    """Upper end of its interval; null where there is none."""
    definition: str
    """What it is, and what its interval is."""
    source: str = ""
    """What it was measured on, and how much of it."""


class Named(Result):
    """A number with a name."""

    name: str
    """Of a parameter, a metric or a quantity."""
    number: Number
    """The number."""


class BySegment(Result):
    """A number over all items, over warm ones and over cold ones; null where the segment was not measured."""

    all: Number | None = None
    """Over all items."""
    warm: Number | None = None
    """Over items that were shown before the cut."""
    cold: Number | None = None
    """Over the others."""


class Sentence(Result):
    """One sentence of the answer."""

    kind: str
    """What it speaks of: rate, next, caution, missing, gain, control, metric, ranker or plan."""
    tone: Tone
    """Good news, plain news, or a caution."""
    text: str
    """As it is printed."""


class AboutShop(Result):
    """The shop of a study."""

    name: str
    """Its name."""
    digest: str
    """Of its tables and times."""
    source: str
    """Where its tables come from, in words."""
    is_simulated: bool
    """Whether its behaviour is simulated."""
    non_clicks: str = ""
    """How rows without a click were sampled; empty where they were not."""
    cut_time: str
    """Train ends here."""
    test_time: str
    """Test begins here."""


class About(Result):
    """What was analysed."""

    kind: Literal["study", "points"]
    """A tracked study, or a table of points that were measured elsewhere."""
    name: str
    """Of the study, or of the file."""
    id: str
    """Run id of the study; of points their name."""
    key: str
    """Digest of what was analysed."""
    is_simulated: bool
    """Whether every number here comes from a simulation."""
    steering_metric: str
    """The metric whose exchange rate is asked for."""
    ranker: str
    """The ranker on content of which the headline speaks."""
    baseline: str
    """The ranker without content that it is compared with; empty where there is none."""
    period: str | None
    """Which period was scored; null of points."""
    label: str | None
    """What counts as a success; null of points."""
    engagement: str | None
    """What makes a product relevant to a search; null of points."""
    num_seeds: int
    """Seeds of every ranker; of points the most runs of an encoder."""
    seed: int | None
    """The first seed; null of points."""
    width: int | None
    """Of vectors that were cut; null where they were not."""
    level: float
    """Coverage of all intervals."""
    shop: AboutShop | None
    """Null of points."""
    tracking: str = ""
    """Address of the tracking store, without passwords; empty of points."""
    experiment: str = ""
    """Of that store."""


class Counts(Result):
    """How much there is."""

    encoders: int
    """Encoders with a run that counts."""
    trained: int
    """Those that were trained: the headline's."""
    paths: int
    """Trainings that the encoders are checkpoints of."""
    trained_paths: int
    """Those of the trained ones."""
    seeds: int
    """Distinct seeds."""
    ranker_runs: int
    """Runs of rankers that count."""


class Line(Result):
    """A fitted line or curve, for the figure."""

    x: tuple[float, ...]
    """Values of the metric."""
    value: tuple[float, ...]
    """The fit at them."""
    low: tuple[float, ...]
    """Lower end of its interval."""
    high: tuple[float, ...]
    """Upper end of its interval."""


class LeftOutRate(Result):
    """The rate without one encoder, or without one path."""

    without: str
    """What is left out."""
    slope: float | None
    """The rate without it; null where there is none."""
    verdict: str
    """The verdict without it."""


class Rate(Result):
    """The exchange rate of one outcome on the steering metric, over some encoders."""

    ranker: str
    """The ranker on content."""
    outcome: str
    """Name of the outcome: `auc`, `auc_cold`, `gauc` ..."""
    name: str
    """The outcome as it is called."""
    encoders: Literal["trained", "all"]
    """Over which encoders."""
    verdict: str
    """`identified`, `not identified`, `saturating`, `sign unstable` or another that `reason` explains."""
    reason: str
    """Why, in words."""
    slope: Number
    """AUC per unit of the metric."""
    intercept: Number | None = None
    """What vectors give at a metric of zero (direct effect): away from zero the metric does not carry all."""
    within: Number | None = None
    """The rate among checkpoints of one training."""
    between: Number | None = None
    """The rate among trainings."""
    next_point: Number | None = None
    """The rate at the best encoder: what the next gain of the metric buys."""
    best_encoder: str | None = None
    """The encoder with the best metric."""
    split_users: Number | None = None
    """The rate with metric and AUC measured on different halves of the users."""
    shape: str = ""
    """How the points lie around a line, in words."""
    left_out: tuple[LeftOutRate, ...] = ()
    """The rate without each encoder (or path) in turn."""
    left_out_low: float | None = None
    """The smallest of these."""
    left_out_high: float | None = None
    """The largest of these."""
    num_encoders: int
    """Encoders that it was fitted on."""
    num_paths: int
    """Trainings that these are checkpoints of."""
    num_runs: int
    """Ranker runs behind them."""
    seed_noise: float | None = None
    """Standard deviation of AUC between seeds of one encoder."""
    scatter: float | None = None
    """Standard deviation of encoders' AUC around the fit."""
    line: Line | None = None
    """The fit; null where there is none."""


class Encoder(Result):
    """One encoder."""

    name: str
    """Its name."""
    path: str
    """The training that it is a checkpoint of."""
    origin: str
    """How it came to be: our own training, a folder, a table brought along ..."""
    is_trained: bool
    """Whether it was trained: the headline's rate is among trained encoders."""
    stages: str
    """Stages of our own training; empty of others."""
    pretraining_tokens: float
    """Real tokens seen in pretraining."""
    posttraining_tokens: float
    """Real tokens seen in post-training."""
    training_tokens: float
    """Both together."""
    negatives: float
    """In-batch negatives that each query is compared with; 0 where there are none."""
    metric: Number
    """The steering metric."""
    auc: Number
    """AUC of the headline's ranker on its vectors."""
    auc_permuted: Number | None
    """AUC of the same ranker on its vectors permuted among items; null where it was not measured."""
    gains: BySegment
    """Gain of AUC over the baseline."""
    shares: BySegment
    """Share of the way from the baseline to the best possible AUC; simulated shops only."""
    is_on_frontier: bool = False
    """Whether no other encoder has both a better metric and a better AUC."""
    is_chosen: bool = False
    """Whether the comparison of rankers is on this encoder."""


class Candidate(Result):
    """A candidate for the metric to steer by."""

    metric: str
    """Its name."""
    definition: str
    """What it is."""
    is_decoy: bool = False
    """Whether it is the built-in decoy: a metric that knows nothing, and must not win."""
    verdict: str
    """Of its own exchange rate."""
    reason: str
    """Why."""
    slope_per_deviation: Number
    """AUC per standard deviation of the metric over encoders."""
    kendall: Number
    """Rank correlation with AUC."""
    left_out_error: Number
    """How far off it predicts an unseen encoder's AUC."""
    left_out_error_of_mean: Number
    """The same where the mean is the prediction."""
    quality: Number | None = None
    """Its quality as a proxy, noise removed: a correlation with AUC."""
    probability_best: float | None = None
    """How often it is the best, over draws of paths."""
    by_segment: tuple[Named, ...] = ()
    """Its quality in each segment."""
    num_encoders: int
    """Encoders that have it."""
    is_best: bool
    """Whether its error is the smallest."""
    is_told_from_best: bool | None
    """Whether its error is shown to be larger than the best's; null of the best and where errors do not compare."""
    is_told_from_mean: bool | None
    """Whether it is shown to beat guessing the mean."""
    is_shown: bool
    """Whether figure and short table hold it."""


class Blend(Result):
    """The best mixture of metrics."""

    weights: tuple[Named, ...]
    """Weight of each metric in standard deviations; those of zero are left out."""
    quality: Number
    """Its quality as a proxy."""
    text: str
    """What it is worth beside the best single metric, in words."""


class Disagreement(Result):
    """Two encoders of which metric and AUC prefer different ones."""

    better_by_metric: str
    """The encoder that the metric prefers."""
    better_by_auc: str
    """The encoder that AUC prefers."""
    metric_difference: Number
    """How much the metric prefers its one."""
    auc_difference: Number
    """How much AUC prefers its one."""


class Choice(Result):
    """Which metric to steer by."""

    metric: str | None
    """Its name; null where the answer is none."""
    verdict: str
    """`alone`, `among others`, `none` or `unknown`."""
    reason: str
    """Why, in words."""
    rivals: tuple[str, ...]
    """Metrics that are not told from it."""


class Comparison(Result):
    """Two rankers on the same rows."""

    ranker: str
    """The one that is compared."""
    role: Role
    """Its role."""
    against: str
    """The other one."""
    against_role: Role
    """Its role."""
    encoder: str
    """Whose vectors are read."""
    auc: BySegment
    """AUC of the one that is compared."""
    auc_against: BySegment
    """AUC of the other one."""
    gain: BySegment
    """The one minus the other, paired."""
    best: BySegment
    """AUC of the true click probability; simulated shops only."""


class Ranker(Result):
    """One ranker of the study."""

    name: str
    """As the plan calls it."""
    role: Role
    """`baseline` reads no vectors, `content` each encoder's, `permuted` those dealt out anew."""
    kind: str
    """What it is, in words made of its settings."""
    differences: tuple[str, ...]
    """Settings other than those of content in which it differs from the baseline."""
    auc: Number
    """Mean AUC: of a baseline over its seeds, of the others on the chosen encoder."""
    rate: Number | None
    """Its exchange rate among trained encoders; null of a baseline and where there is none."""
    verdict: str
    """Of that rate; empty where there is none."""


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


class PlanRow(Result):
    """What another study would know."""

    encoders: int
    """Trained encoders."""
    paths: int
    """Trainings."""
    seeds: int
    """Seeds of each ranker."""
    relative_error: float | None
    """Half the interval of the rate over the rate; null where it cannot be told."""
    text: str = ""
    """In words."""


class Plan(Result):
    """What is needed to know the rate better."""

    target: float
    """Half the interval over the rate that is wanted."""
    text: str
    """What to do, in a sentence."""
    next_encoder: str
    """Which encoder to train next, in words; empty where nothing is said."""
    rows: tuple[PlanRow, ...]
    """Studies of other sizes."""


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


class Run(Result):
    """A tracked run."""

    kind: str
    """Encoder, ranker, comparison or a stage."""
    name: str
    """The cell's name."""
    encoder: str | None
    """Whose vectors; null where there are none."""
    ranker: str | None
    """Which ranker; null of others."""
    seed: int | None
    """Its seed; null of others."""
    id: str
    """Its run id."""
    auc: float | None
    """Its AUC; null of what is no ranker."""
    link: str | None
    """Address of its page; null where the store has none."""


class Reason(Result):
    """Something that is missing, and why."""

    name: str
    """What."""
    reason: str
    """Why."""


class Missing(Result):
    """What the study is without."""

    text: str
    """What the fits lose by it; empty where all is there."""
    failed: tuple[Reason, ...]
    """Cells that failed."""
    not_run: tuple[Reason, ...]
    """Cells that were not run for want of another."""
    left_out: tuple[Reason, ...]
    """Runs and figures that do not count."""


class Definition(Result):
    """What a term means here."""

    term: str
    """The term."""
    text: str
    """Its meaning."""


class Move(Result):
    """What an older report said, and what is said now."""

    what: str
    """What is compared."""
    old: Number | None
    """Then; null where it was not there."""
    new: Number | None
    """Now; null where it is not there."""
    old_verdict: str = ""
    """The verdict then; empty of what has none."""
    new_verdict: str = ""
    """The verdict now."""
    text: str = ""
    """What is to be said of it."""


class Moved(Result):
    """What moved against an older report."""

    name: str
    """Which report."""
    text: str
    """In sentences."""
    is_same_shop: bool
    """Whether both are of the same shop."""
    definitions: tuple[str, ...]
    """Definitions that differ, in words: these numbers do not compare."""
    headline: tuple[Move, ...]
    """Rates, their verdicts, the chosen metric."""
    encoders: tuple[Move, ...]
    """Metric and AUC of each encoder that is in one of them."""


class Results(Result):
    """Everything that a report says."""

    format_version: Literal[3] = FORMAT_VERSION
    """Raised when a field changes its meaning or goes away."""
    headline: tuple[Sentence, ...] = ()
    """The answer, first sentence first."""
    scope: str = ""
    """What all numbers were measured on."""
    about: About
    """What was analysed."""
    counts: Counts
    """How much there is."""
    rates: tuple[Rate, ...]
    """The headline's first: AUC, trained encoders, the headline's ranker; then other outcomes, all encoders, other rankers."""
    encoders: tuple[Encoder, ...]
    """In the plan's order."""
    choice: Choice
    """Which metric to steer by."""
    candidates: tuple[Candidate, ...]
    """All measured metrics, the best first."""
    blend: Blend | None
    """The best mixture of metrics; null where none can be made."""
    disagreements: tuple[Disagreement, ...]
    """Pairs of encoders of which metric and AUC prefer different ones."""
    rankers: tuple[Ranker, ...]
    """All rankers side by side; the headline's first."""
    comparisons: tuple[Comparison, ...]
    """Rankers on the chosen encoder, on the same rows."""
    chosen_encoder: str
    """The encoder of the comparisons."""
    is_chosen_on_validation: bool
    """Whether the validation period has chosen it."""
    laws: tuple[Law, ...]
    """Scaling laws along the paths that have checkpoints."""
    plan: Plan | None
    """What would be needed to know the rate better; null where it cannot be told."""
    pairwise: tuple[PairRow, ...]
    """Each encoder against the first."""
    runs: tuple[Run, ...]
    """The tracked runs; empty of points."""
    coverage: str
    """How much of the shop the vectors cover, in words."""
    missing: Missing
    """What the study is without."""
    definitions: tuple[Definition, ...]
    """The terms that every number rests on."""
    moved: Moved | None = None
    """What moved against an older report; null where none was named."""

    @property
    def rate(self) -> Rate:
        """The headline's rate."""
        return self.rates[0]


def schema() -> dict[str, Any]:
    """The JSON schema of `report.json` (draft 2020-12)."""
    own = Results.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **own}
