"""What a study trains: encoders that differ upstream, and the one ranker that all of them meet downstream.

An encoder run is a path through the stages: random weights, then pretraining or not, then post-training or not. Each checkpoint of a post-training is an
encoder of the study, so one run yields several points along the axis of training tokens. Runs that share a stage with equal settings share its result.

A plan in TOML, for `python -m exchange_rate.study SHOP --plan plan.toml`:

    name = "negatives"
    num_seeds = 3
    ranker = { content = "cube", epochs = 1 }

    [[encoders]]
    name = "random weights"

    [[encoders]]
    name = "all negatives"
    pretraining = { steps = 200 }
    posttraining = { steps = 800, batch_size = 128, checkpoint_steps = [200, 400] }

    [[encoders]]
    name = "7 negatives"
    pretraining = { steps = 200 }
    posttraining = { steps = 800, batch_size = 128, num_negatives = 7 }
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated

from pydantic import Field, model_validator

from exchange_rate.estimation.draws import MIN_DRAWS
from exchange_rate.evidence.draw_file import MOST_DRAWS, MOST_SPLITS
from moon_rec.bounds import Cuts, Name, Resamples, Seed, Threads, Width
from moon_rec.config import Config
from moon_rec.shop.engagement import Engagement
from ranking.config import RankerConfig, refuse_whole_history
from ranking.features import FeatureConfig
from representation.evaluation.search_cases import MODALITIES
from representation.evaluation.shop_metrics import READINGS
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig


class EncoderRun(Config):
    """One path through the stages.

    Attributes:
        name: of the encoder at its end; checkpoints before it are called `<name> at step <step>`.
        pretraining: None leaves the stage out.
        posttraining: None leaves the stage out; its `checkpoint_steps` are further encoders of the study.
    """

    name: Name
    pretraining: PretrainConfig | None = None
    posttraining: PosttrainConfig | None = None

    def encoders(self) -> list[tuple[str, int | None]]:
        """Names of the encoders it yields with their post-training step (None: no post-training)."""
        if self.posttraining is None:
            return [(self.name, None)]
        last = self.posttraining.steps
        steps = sorted({step for step in self.posttraining.checkpoint_steps if step < last})
        return [*((f"{self.name} at step {step}", step) for step in steps), (self.name, last)]


class StudyConfig(Config):
    """A study. Its digest, the shop's and the period name its result.

    Attributes:
        name: of the study; its runs are tracked under it.
        seed: of the random weights, the rankers and every bootstrap.
        features: what the rankers read of the shop.
        permuted_control: train the ranker on permuted vectors, too.
        backbone: sizes of every encoder of the study; those inside a stage's own settings are not used.
        encoders: the paths; together they should spread the steering metric as widely as they can.
        ranker, ids_ranker: the ranker over frozen vectors, and the one it is compared with. Both are trained with seeds `seed, seed + 1, ...`.
        num_seeds: rankers trained on each encoder.
        width: Matryoshka width given to the ranker; None: the full vector. Metrics are measured at the same width.
        steering_metric: what the headline rate is fitted on, and what chooses (on the validation period) the encoder of the permuted control.
        engagement, ks: of the search recalls.
        num_resamples: of every bootstrap.
        num_draws, num_splits: how often users are drawn, and split in halves, the same for all encoders and rankers: what their figures' common noise is learnt from.
        keep_rankers: save each ranker's weights in its cell's folder.
        num_threads: torch threads of one cell.
    """

    name: Name = "study"
    seed: Seed = 0
    backbone: BackboneConfig = BackboneConfig()
    encoders: tuple[EncoderRun, ...] = Field(min_length=1)
    features: FeatureConfig = FeatureConfig()
    ranker: RankerConfig = RankerConfig(content="cube")
    ids_ranker: RankerConfig = RankerConfig(content="none")
    num_seeds: Annotated[int, Field(ge=1, le=10_000)] = 3
    width: Width | None = None
    permuted_control: bool = True
    steering_metric: str = "image_search_recall@10"
    engagement: Engagement = "purchased"
    ks: Cuts = (1, 5, 10, 50)
    num_resamples: Resamples = 500
    num_draws: Annotated[int, Field(ge=MIN_DRAWS, le=MOST_DRAWS)] = 200
    num_splits: Annotated[int, Field(ge=1, le=MOST_SPLITS)] = 20
    keep_rankers: bool = False
    num_threads: Threads = 1

    @model_validator(mode="after")
    def _fits_together(self) -> "StudyConfig":
        names = self.encoder_names()
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two encoders are called {twice[0]!r}; give each run its own name")
        paths = [(run.pretraining, run.posttraining) for run in self.encoders]
        for place, path in enumerate(paths):
            if path in paths[:place]:
                raise ValueError(
                    f"{self.encoders[place].name!r} repeats an earlier run: one encoder counts once"
                )
        for place, run in enumerate(self.encoders):
            for stage in ("pretraining", "posttraining"):
                settings = getattr(run, stage)
                for name, value in settings.backbone.changed().items() if settings else ():
                    raise ValueError(
                        f"encoders.{place}.{stage}.backbone.{name} = {value!r} changes nothing: all encoders have the plan's own; give it as backbone.{name}"
                    )
        if self.ranker.seed or self.ids_ranker.seed:
            raise ValueError(
                f"ranker.seed = {self.ranker.seed} and ids_ranker.seed = {self.ids_ranker.seed} change nothing: rankers have the seeds from the plan's own on; give it as seed"
            )
        refuse_whole_history(self.ranker, self.features.history_length)
        if self.ranker.content == "none":
            raise ValueError(
                "ranker.content = 'none' reads no vectors; name a way of using them, such as cube"
            )
        if self.ids_ranker.reads_vectors:
            raise ValueError(
                "ids_ranker is compared with as ids only, so it may read no vectors: wanted content = 'none' and search other than 'content'"
            )
        return self

    @model_validator(mode="after")
    def _steers_by_what_is_measured(self) -> "StudyConfig":
        known = metric_names(self.ks, self.engagement)
        if self.steering_metric not in known:
            near = get_close_matches(self.steering_metric, known, 3, 0)
            raise ValueError(
                f"steering_metric {self.steering_metric!r} is not measured with these ks; wanted one such as {', '.join(near)}"
            )
        return self

    @property
    def draws(self) -> dict[str, int]:
        """What the settings of a cell that draws users say (`exchange_rate.study.draws`)."""
        return {"draws": self.num_draws, "splits": self.num_splits}

    def encoder_names(self) -> list[str]:
        """All encoders of the study, in order."""
        return [name for run in self.encoders for name, _ in run.encoders()]


def metric_names(ks: Iterable[int], engagement: Engagement) -> list[str]:
    """The metrics that an encoder may be measured by (`representation.evaluation.measure_shop`); a shop without such searches has fewer."""
    readings = [f"{name}_search_{reading}" for name in MODALITIES for reading in READINGS]
    readings += ["image_search_click_recall"] if engagement != "clicked" else []
    readings += ["same_spu_recall"]
    return [
        *(f"{reading}@{k}" for reading in readings for k in ks),
        *("category_accuracy", "alignment", "uniformity"),
    ]


DEMO_MIXTURE = {
    "image->image": 0.35,
    "image->title+image": 0.35,
    "text->title+image": 0.15,
    "title+image->title+image": 0.15,
}
"""More of the image queries than the report's Table 2 has: pictures are learnt later than words, and minutes are all there is."""


def demo_plan(seed: int = 0) -> StudyConfig:
    """Seven encoders: random weights; pretrained only; post-trained at a quarter, a half and the whole of its steps; not pretrained before; and with few
    negatives. About four processor minutes in all.

    A drawn product stands on no white ground, so an altered view of its own picture would be known by its ground: the log's photos alone are used.
    """
    steps = 300
    pretraining = PretrainConfig(steps=40, batch_size=64, seed=seed)
    posttraining = PosttrainConfig(
        steps=steps,
        batch_size=96,
        mixture=DEMO_MIXTURE,
        learning_rate=2e-3,
        own_picture_share=0,
        checkpoint_steps=(steps // 4, steps // 2),
        seed=seed,
    )
    short = posttraining.model_copy(update={"checkpoint_steps": ()})
    few = short.model_copy(update={"num_negatives": 3})
    return StudyConfig(
        name="demo",
        seed=seed,
        backbone=BackboneConfig.preset("demo"),
        encoders=(
            EncoderRun(name="random weights"),
            EncoderRun(name="pretrained only", pretraining=pretraining),
            EncoderRun(name="post-trained", pretraining=pretraining, posttraining=posttraining),
            EncoderRun(name="not pretrained", posttraining=short),
            EncoderRun(name="3 negatives", pretraining=pretraining, posttraining=few),
        ),
        num_seeds=3,
    )
