"""What was analysed: the study or the table of points, its encoders, its runs, and what is missing."""

from typing import Literal

from exchange_rate.analysis.results.numbers import BySegment, Number, Result, Role

Tone = Literal["good", "plain", "caution"]


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
    """The ranker of which the headline speaks, as the plan calls it."""
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


class Covered(Result):
    """How many have a vector."""

    count: int
    """That have one."""
    total: int
    """All of the shop."""


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
    width: float | None = None
    """Numbers in a vector; null where it was not logged."""
    metric: Number
    """The steering metric."""
    auc: Number
    """AUC of the headline's ranker on its vectors."""
    auc_permuted: Number | None
    """AUC of the same ranker on its vectors permuted among items; null where it was not measured."""
    over_permuted: Number | None
    """The first minus the second, seed by seed; null where it was not measured."""
    gains: BySegment
    """Gain of AUC over the baseline."""
    shares: BySegment
    """Share of the way from the baseline to the best possible AUC; simulated shops only."""
    items: Covered | None
    """Items of the shop with a vector; null where it was not logged."""
    searches: Covered | None
    """Searches of the shop with a vector; null where it was not logged, and of a shop without searches."""
    marks: tuple[str, ...] = ()
    """What is special about it: chosen, best by the metric, best by AUC."""


class OfRecipe(Result):
    """An encoder that was trained by a recipe."""

    encoder: str
    """Its name."""
    recipe: str
    """The recipe's, with its part where it has several."""
    departures: str
    """Settings of the recipe that the training had otherwise; empty where there are none."""


class Card(Result):
    """A recipe's fidelity card, and the encoders that were trained by it."""

    line: str
    """The card in a line, as it was when they were trained: what of the paper is here."""
    encoders: tuple[OfRecipe, ...]
    """In the plan's order."""
    text: str
    """As it is printed."""


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
    role: Role | None
    """Its role; null of others."""
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


class Sentence(Result):
    """One sentence of the answer."""

    kind: str
    """What it speaks of: rate, checks, missing, gain, control, metric, ranker or plan."""
    tone: Tone
    """Good news, plain news, or a caution."""
    text: str
    """As it is printed."""
