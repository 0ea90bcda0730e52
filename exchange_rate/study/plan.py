"""What a study trains: encoders that differ upstream, and the rankers that all of them meet downstream.

A plan is a TOML file for `python -m exchange_rate.study SHOP --plan plan.toml`; every key stands in docs/study_files.md, and `--example` prints a plan that runs.
Trainings that share a stage with equal settings share its result.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from exchange_rate.estimation.draws import MIN_DRAWS
from exchange_rate.evidence.draw_file import MOST_DRAWS, MOST_SPLITS
from exchange_rate.names import RankerNames, Reference, reference_name
from exchange_rate.study.encoder_plan import EncoderRun
from moon_rec.bounds import Cuts, Name, Names, Resamples, Seed, Threads, Width, distinct
from moon_rec.config import Config, CountsWhen, Rules, nearest
from moon_rec.shop.engagement import Engagement
from ranking.config import RankerConfig, refuse_whole_history
from ranking.features import FeatureConfig
from ranking.judging.item_segments import check_segment
from representation.metrics.shop_metrics import READINGS
from representation.model.backbone import BackboneConfig
from representation.sets.search_cases import MODALITIES

OF_ALL_RANKERS = ("label", "cold_below")
"""Features in which the rankers of a study are alike: they say what is predicted, and what is cold."""
OF_ITEMS = ("same_spu_recall", "category_accuracy", "uniformity")
"""Metrics that items alone tell, without a search."""


class RankerPlan(Config):
    """One ranker of the plan: trained on every encoder's vectors, on permuted ones, and without any."""

    name: Name | None = Field(
        default=None, description="of the ranker; by default made of its settings, such as CUBE"
    )
    trees: bool = Field(
        default=False,
        description="gradient-boosted trees on counters and plain features in place of a network: with similarities of the encoder's vectors, of permuted ones, and, as baseline, without; `ranker` and `baseline` are a network's",
    )
    ranker: RankerConfig = Field(
        default=RankerConfig(content="cube"),
        description="a table of the ranker's settings; `content` says how it uses vectors",
    )
    baseline: RankerConfig | None = Field(
        default=None,
        description="a table of settings of the ranker that it is compared with, which reads no vectors; by default the same settings without content",
    )
    features: FeatureConfig | None = Field(
        default=None,
        description="a table of what it reads of the shop, where that differs from the plan's",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "RankerPlan":
        if self.trees:
            self._refuse_a_networks_settings()
        for what, config in (("ranker", self.ranker), ("baseline", self.baseline)):
            if config is not None and config.seed:
                raise ValueError(
                    f"{what}.seed = {config.seed} changes nothing: all rankers have the plan's seeds; give it as seed or seeds"
                )
        if self.ranker.content == "none":
            raise ValueError(
                "ranker.content = 'none' reads no vectors; name a way of using them, such as cube"
            )
        if self.baseline is not None and self.baseline.reads_vectors:
            raise ValueError(
                "baseline may read no vectors: wanted content = 'none' and search other than 'content'"
            )
        return self

    def _refuse_a_networks_settings(self) -> None:
        """Raise ValueError where trees have any."""
        default = type(self).model_fields["ranker"].get_default()
        given = [
            f"ranker.{name} = {value!r}"
            for name, value in self.ranker
            if value != getattr(default, name)
        ]
        given += ["baseline"] if self.baseline is not None else []
        if given:
            raise ValueError(
                f"trees = true reads no settings of a network, and {given[0]} is one; leave it out, or trees"
            )

    def without_content(self) -> RankerConfig:
        """The baseline's settings."""
        if self.baseline is not None:
            return self.baseline
        return self.ranker.without_content()

    def names(self, features: FeatureConfig) -> RankerNames:
        """What it is called, by role; `features` are the plan's."""
        has_counters = (self.features or features).counters != "none"
        if self.trees:
            return RankerNames.of_trees(self.name or "", has_counters)
        return RankerNames.of(self.name or "", self.ranker, self.without_content(), has_counters)


class StudyConfig(Config):
    """A study. Its digest, the shop's and the period name its result."""

    name: Name = Field(default="study", description="of the study; its runs are tracked under it")
    seed: Seed = Field(default=0, description="of random weights, rankers and every bootstrap")
    backbone: BackboneConfig = Field(
        default=BackboneConfig(),
        description="a table of the sizes of every encoder that is made here; those inside a stage's own settings are not used",
    )
    encoders: tuple[EncoderRun, ...] = Field(
        min_length=1,
        description="the encoders; together they should spread the steering metric as widely as they can, over several paths",
    )
    features: FeatureConfig = Field(
        default=FeatureConfig(), description="a table of what rankers read of the shop"
    )
    rankers: tuple[RankerPlan, ...] = Field(
        default=(RankerPlan(),),
        min_length=1,
        description="the rankers, each trained on every encoder; the first is that of the report's first sentence",
    )
    references: Annotated[tuple[Reference, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="models without vectors that stand beside the baseline as rows of their own, with their difference from it: trees (gradient-boosted, on counters and plain features) "
        "and factorisation (of users' and items' ids). They read the plan's features, with the plan's seeds",
    )
    follow_validation: bool = Field(
        default=True,
        description="the share of hidden ids and the number of epochs of networks are those of the best validation AUC: chosen once for each baseline, without content and with the first seed, "
        'and shared by all rankers over it (`epochs` is the most that are tried; with epochs = 1 or kept_epoch = "last" it stays). false: those of the rankers\' settings',
    )
    num_seeds: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=3, description="trainings of each ranker, with the seeds seed, seed + 1, ..."
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(distinct)] | None = (
        Field(default=None, description="these seeds instead")
    )
    permuted_encoders: Names | None = Field(
        default=None,
        description="encoders whose vectors each ranker is also trained on permuted: what that gains is not content. By default all, which nearly doubles "
        "the trainings of rankers; an empty list: none",
    )
    width: Width | None = Field(
        default=None,
        description="Matryoshka width of every encoder, for ranker and metrics; by default the full vector",
    )
    steering_metric: str = Field(
        default="image_search_recall@10",
        description="what the headline rate is fitted on, and what chooses, on the validation period, the encoder that gains are quoted of",
    )
    engagement: Engagement = Field(
        default="purchased", description="what a search should find: clicked, carted or purchased"
    )
    ks: Cuts = Field(default=(1, 5, 10, 50), description="cuts of the search recalls")
    segments: Annotated[
        tuple[Annotated[str, AfterValidator(check_segment)], ...],
        Field(max_length=8),
        AfterValidator(distinct),
    ] = Field(
        default=(),
        description="columns of products by whose values gains are also told apart: brand, price, category, or category:1 for its first level; the eight largest values of each, the rest as other",
    )
    num_resamples: Resamples = Field(default=500, description="draws of every bootstrap")
    num_draws: Annotated[int, Field(ge=MIN_DRAWS, le=MOST_DRAWS)] = Field(
        default=200,
        description="how often users are drawn, the same for all encoders and rankers: what their figures' common noise is learnt from",
    )
    num_splits: Annotated[int, Field(ge=1, le=MOST_SPLITS)] = Field(
        default=20, description="how often users are split in halves, the same for all"
    )
    keep_rankers: bool = Field(
        default=False,
        description="save each ranker's weights in its cell's folder; references are not kept",
    )
    num_threads: Threads = Field(default=1, description="torch threads of one cell")

    counts_when: ClassVar[Rules] = {
        "num_seeds": CountsWhen(
            lambda config: config.seeds is None, "seeds = {self.seeds} says which"
        )
    }

    @model_validator(mode="after")
    def _encoders_fit_together(self) -> "StudyConfig":
        names = self.encoder_names()
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two encoders are called {twice[0]!r}; give each its own name")
        paths = [one.model_dump(exclude={"name", "path", "trained"}) for one in self.encoders]
        for place, entry in enumerate(self.encoders):
            if paths[place] in paths[:place]:
                raise ValueError(
                    f"{entry.name!r} repeats an earlier encoder: one encoder counts once"
                )
            if self.width is not None and entry.widths:
                raise ValueError(
                    f"width = {self.width} beside encoders.{place}.widths: leave one of them out"
                )
            _refuse_untrained_widths(entry, self.backbone, place)
            for stage in ("pretraining", "posttraining"):
                settings = getattr(entry, stage)
                for name, value in settings.backbone.changed().items() if settings else ():
                    raise ValueError(
                        f"encoders.{place}.{stage}.backbone.{name} = {value!r} changes nothing: all encoders have the plan's own; give it as backbone.{name}"
                    )
            before = [name for one in self.encoders[:place] for name in _names(one)]
            for part in entry.mixture or ():
                _refuse_unknown(part, before, f"encoders.{place}.mixture", "stands before it")
        for name in self.permuted_encoders or ():
            _refuse_unknown(name, names, "permuted_encoders", "is in the plan")
        return self

    @model_validator(mode="after")
    def _rankers_fit_together(self) -> "StudyConfig":
        names = [one.name for one in self.ranker_names()]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rankers are called {twice[0]!r}; give each its own name")
        for place, one in enumerate(self.rankers):
            if one.trees and self.keep_rankers:
                raise ValueError(
                    f"keep_rankers = true and rankers.{place}.trees = true: trees have no format to be kept in; leave one of them out"
                )
            if self.follow_validation and not one.trees:
                _refuse_what_is_chosen(one, place)
            features = self.features_of(one)
            refuse_whole_history(one.ranker, features.history_length)
            for setting in OF_ALL_RANKERS:
                own, ours = getattr(features, setting), getattr(self.features, setting)
                if own != ours:
                    raise ValueError(
                        f"rankers.{place}.features.{setting} = {own!r} where the plan has {ours!r}: rankers of one study are compared, so give it as features.{setting}"
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
        return [name for entry in self.encoders for name in _names(entry)]

    def ranker_seeds(self) -> list[int]:
        """Of the trainings of each ranker."""
        return [*self.seeds] if self.seeds else [self.seed + n for n in range(self.num_seeds)]

    def ranker_names(self) -> list[RankerNames]:
        """What each ranker is called."""
        return [one.names(self.features) for one in self.rankers]

    def reference_names(self) -> dict[Reference, str]:
        """What each reference is called."""
        has_counters = self.features.counters != "none"
        return {one: reference_name(one, has_counters) for one in self.references}

    def features_of(self, ranker: RankerPlan) -> FeatureConfig:
        """What a ranker reads of the shop."""
        return ranker.features or self.features

    def is_permuted(self, encoder: str) -> bool:
        """Whether rankers are trained on its permuted vectors."""
        return self.permuted_encoders is None or encoder in self.permuted_encoders


def metric_names(ks: Iterable[int], engagement: Engagement) -> list[str]:
    """The metrics that an encoder may be measured by (`representation.metrics.shop_metrics.measure_shop`); a shop without such searches has fewer."""
    readings = [f"{name}_search_{reading}" for name in MODALITIES for reading in READINGS]
    readings += ["image_search_click_recall"] if engagement != "clicked" else []
    readings += ["same_spu_recall"]
    return [
        *(f"{reading}@{k}" for reading in readings for k in ks),
        *("category_accuracy", "alignment", "uniformity"),
    ]


def _refuse_what_is_chosen(plan: RankerPlan, place: int) -> None:
    """Of a study that follows validation: settings of a ranker that it chooses, or would have to choose twice."""
    fix = "or set follow_validation = false, which keeps the settings"
    for what, one in (("ranker", plan.ranker), ("baseline", plan.without_content())):
        if "unknown_rate" in one.changed():
            raise ValueError(
                f"rankers.{place}.{what}.unknown_rate = {one.unknown_rate} changes nothing: validation chooses it for all rankers over a baseline; leave it out, {fix}"
            )
    for name in ("epochs", "kept_epoch"):
        own, other = getattr(plan.ranker, name), getattr(plan.without_content(), name)
        if own != other:
            raise ValueError(
                f"rankers.{place}.ranker.{name} = {own!r} beside baseline.{name} = {other!r}: validation chooses one number of epochs for both; give both alike, {fix}"
            )


def _names(entry: EncoderRun) -> list[str]:
    return [one.name for one in entry.encoders()]


def _refuse_untrained_widths(entry: EncoderRun, backbone: BackboneConfig, place: int) -> None:
    """Of an encoder that is made here from random weights, whose widths are known."""
    is_made = entry.source in ("random", "training") and entry.start is None
    if not entry.widths or not is_made or backbone.checkpoint is not None:
        return
    known = [width for width in backbone.widths if width < backbone.text_dim]
    if odd := [width for width in entry.widths if width not in known]:
        raise ValueError(
            f"encoders.{place}.widths has {odd[0]}, which is not trained: backbone.widths has {', '.join(map(str, known)) or 'none'}"
        )


def _refuse_unknown(name: str, known: list[str], where: str, how: str) -> None:
    if name not in known:
        raise ValueError(
            f"{where} names {name!r}, and no encoder of that name {how}{nearest(name, known)}; there are {', '.join(known) or 'none'}"
        )
