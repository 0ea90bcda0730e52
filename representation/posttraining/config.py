"""Settings of post-training, and the two parts of the report's post-training as presets.

The report trains twice on shoppers' behaviour (MOON Embedding technical report, post-training): broadly, on everything engaged with, against the batch's own
negatives; then refined, on cleaned purchases, against hard negatives and a queue of past ones, with circle loss instead of InfoNCE. Which of these parts a
training has is a matter of settings, so that each can be taken away by itself. The report gives no number for any of them: every value here is our choice.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

import pydantic
from pydantic import AfterValidator, Field, model_validator

from moon_rec.bounds import (
    Count,
    Scale,
    ShareBelowOne,
    Steps,
    Strength,
    Temperature,
    distinct,
)
from moon_rec.config import LENIENT, CountsWhen, Rules, merged, nearest
from moon_rec.errors import ConfigError
from moon_rec.shop.engagement import Engagement
from representation.co_augmentation.config import CoAugmentationConfig
from representation.core_region.config import CoreRegionConfig
from representation.curation.config import CurationConfig
from representation.fusion.config import FusionConfig, ResidualEnhancementConfig
from representation.losses.filtering import FilterConfig
from representation.mixture.config import ExpertsConfig
from representation.negatives.hard import HardKind
from representation.picture_focus.config import CompressionConfig, LateFusionConfig
from representation.posttraining.alignment_config import AlignmentConfig
from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.mixture import (
    CATALOGUE_KINDS,
    KINDS,
    TABLE_2,
    ItemKind,
    QueryKind,
    check_mixture,
)
from representation.posttraining.presets import MAY_BE_NONE, PRESETS, Preset
from representation.training.config import TrainingConfig

OwnShare = Annotated[float, Field(ge=0, le=0.9)]
Entries = Annotated[int, Field(ge=1, le=2**27)]
"""Vectors compared with a query, or kept in a queue."""


def _read_of_log(*queries: QueryKind) -> CountsWhen:
    return CountsWhen(
        lambda config: config.pairs == "log" and not config.queries.isdisjoint(queries),
        f"only pairs of a log whose query is {' or '.join(sorted(queries))} read it, and there are none (pairs = {{self.pairs!r}}, and the mixture); leave it out",
    )


def _alters_pictures(config: "PosttrainConfig") -> bool:
    of_products = config.pairs == "catalogue" or config.own_picture_share != 0
    return "image" in config.queries and (config.alter_photos or of_products)


class PosttrainConfig(TrainingConfig):
    """Settings of post-training; those of `TrainingConfig` besides.

    Where values are read (`moon_rec.config.load_config`, a study's plan), `preset = "refinement"` among them stands for that preset's values, those given
    besides going over them; and the word `none` for no value, which TOML cannot say.

    Attributes:
        mixture: weight of each kind of pairs, by default the report's Table 2; a kind left out has weight 0.
        engagement: what makes a pair positive.
        query_engagement: what makes a product a query for what else was engaged with after the same search.
        pairs: `log`, searches and what was engaged with; `catalogue`, for a shop without searches: each product is its own query, by its title or by an
            altered view of its picture, and of the mixture only `mixture.CATALOGUE_KINDS` are used. The second is ours (compare MOON2.0's intra-product term).
        pairs_share: of the searches before the cut (`catalogue`: of the products), the share whose pairs are used, drawn by `seed`; those of a smaller share are in a larger one.
        split_mixed: a search by words and photo gives pairs of either alone, too.
        alter_photos: alter shoppers' photos anew each time they are seen, as `augmentation` says.
        own_picture_share: of each batch of image queries, the share that is an altered catalogue picture paired with its own product; 0 leaves the log alone; None: from .8 for a shop
            whose pictures stand on white, else .5 (`own_pictures.py`), down as its log has more pairs a product (`own_share.py`).
        own_words_share: of each batch of searches by words, the share that is a few of a product's own words paired with it (`own_words.py`); 0 leaves the log alone; None: from
            .8 down as the log has more pairs a product.
        augmentation: how far altered pictures may differ, see `AugmentationConfig`.
        curation: which pairs are kept, see `CurationConfig`; None: all.
        loss: `infonce`, with `temperature` (learned, or fixed); `circle`, with `circle_margin` and `circle_scale` (the report: gamma) in its place.
        temperature, learn_temperature: of InfoNCE: where it starts, and whether it is learned; never below .01.
        circle_margin, circle_scale: of circle loss: how far positives and negatives are kept from the bounds of a cosine, and what excesses are multiplied by.
        matryoshka_weights: of the widths' losses. `width`: in proportion to the width; `equal`. In few dimensions random vectors are alike beyond any margin (16: one in 2,000 has a cosine above .73),
            so there circle loss, whose thresholds are absolute, pulls for ever. The report names no weights.
        prefix_loss: of the widths below the full one where `loss` is `circle`. `infonce`, which knows differences of similarities alone, whatever the width; `same`: circle loss there, too.
            The report says Matryoshka and circle loss, not how they go together.
        other_positives: what else of a batch is known to answer a query. `left_out`: no negative; `positives`: a positive, too, told from the negatives alone
            (`losses/infonce.py`).
        above_positive_margin: a negative whose cosine is above that of the query's positive by more than this is left out (`negatives/above_positive.py`; Qwen3 Embedding: .1); None: none.
        score_distillation, vector_distillation: weights of what a teacher's vectors ask: its scores of the batch, its vectors (`losses/distillation.py`); 0: neither. They
            need `teacher`.
        distillation_temperature: of the scores that are compared.
        symmetric: InfoNCE also from item to query; the report's formula is query to item only.
        triplet_weight, triplet_margin: weight and margin of a triplet term on what was clicked but not bought after the same search (SCL); 0: none.
        hard_negatives: hard negatives drawn for each query, of `hard_negative_kinds`; each is a negative of every query of the batch.
        hard_negative_kinds: `category`, of the positive's own category; `clicked`, after the same search but not bought.
        num_negatives: negatives a query is compared with. Fewer than the batch has (its other items, its hard negatives, on all processes): so many of them, at
            random. More: all of these, and the rest from the queue of past ones. None: all of the batch, no queue.
        queue_length: past vectors kept; None: twice as many as a step draws.
        max_age: steps after which a past vector is no longer used; None: until the queue has no more room for it.
        queue_drift: `mean` shifts a past vector by what the batch's mean item has moved since (`negatives/drift.py`); `kept` uses it as it was.
        queue_term: how past negatives, which take no gradient, go into the loss. `added`: the mean of the loss without them and that with them; `queries`: queries
            learn from the loss with them, items from that without, a temperature from both; `joint`: both from the loss with them, one denominator for all, as MOON's formula is commonly written; `alone`: the past
            ones are all the negatives there are, as in MoCo and SCL: a query picks its positive, under the slow copy, among them (at a step without any, among the batch).
        momentum: of a slow copy of the encoder whose vectors are kept as past negatives, see `momentum.py`; 0: the encoder's own.
        core_region: from here on encode beside each picture what it shows of the product, see `CoreRegionConfig` (MOON); None: as the encoder does that training starts from.
        experts: put experts in place of the feed-forward layers of the encoder that training starts from, see `mixture.ExpertsConfig` (MOON, MOON2.0); None: as it is.
        fusion: fuse vectors with the raw picture and words they are of, see `fusion.FusionConfig` (MOON3.0); None: as the encoder does that training starts from.
        residual_enhancement: give layers' states fine detail back, see `fusion.ResidualEnhancementConfig` (MOON3.0); None: as the encoder does that training starts from.
        late_fusion: mix vectors with what the vision tower saw, see `LateFusionConfig` (NoteLLM-2); None: as the encoder does that training starts from.
        compression_tokens: compress a picture to a token before the words are read, see `CompressionConfig` (NoteLLM-2); None: as the encoder does that training starts from.
        visual_weight: of the loss between pictures' own vectors in the sum with that between rows', where the encoder has compression tokens (the authors' published code: 1 of 10).
        balance_weight: of the load balance loss where the encoder has experts (MOON2.0: rho); the papers are silent; chosen: .01, as Switch Transformer.
        alignment: MOON2.0's dual-level alignment, see `AlignmentConfig`; None: none.
        filtering: pairs that the encoder is unsure of count less, see `FilterConfig` (MOON2.0's dynamic sample filtering); None: all count alike. A pair is held against its own hard
            negatives, the one most like the query; without one it counts whole.
        co_augmentation: show products with enriched titles and expanded pictures, see `CoAugmentationConfig` (MOON2.0); of training alone. None: as they are.
        chunk_size: rows embedded at a time, with gradients cached, so that memory does not grow with the batch; None: all at once.
    """

    steps: Steps = 800
    mixture: Annotated[dict[str, float], AfterValidator(check_mixture)] = Field(
        default_factory=lambda: dict(TABLE_2)
    )
    engagement: Engagement = "purchased"
    query_engagement: Engagement = "clicked"
    split_mixed: bool = True
    pairs: Literal["log", "catalogue"] = "log"
    alter_photos: bool = True
    pairs_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    own_picture_share: OwnShare | None = None
    own_words_share: OwnShare | None = None
    augmentation: AugmentationConfig = AugmentationConfig()
    curation: CurationConfig | None = None
    loss: Literal["infonce", "circle"] = "infonce"
    temperature: Temperature = 0.07
    learn_temperature: bool = True
    matryoshka_weights: Literal["width", "equal"] = "width"
    prefix_loss: Literal["same", "infonce"] = "infonce"
    other_positives: Literal["left_out", "positives"] = "left_out"
    above_positive_margin: Annotated[float, Field(ge=0, le=2)] | None = None
    score_distillation: Strength = 0.0
    vector_distillation: Strength = 0.0
    distillation_temperature: Temperature = 0.07
    symmetric: bool = False
    circle_margin: ShareBelowOne = 0.25
    circle_scale: Scale = 80.0
    triplet_weight: Strength = 0.0
    triplet_margin: Annotated[float, Field(gt=0, le=2)] = 0.2
    hard_negatives: Annotated[int, Field(ge=0, le=1_024)] = 0
    hard_negative_kinds: Annotated[tuple[HardKind, ...], AfterValidator(distinct)] = (
        "category",
        "clicked",
    )
    num_negatives: Entries | None = None
    queue_length: Entries | None = None
    max_age: Steps | None = None
    queue_drift: Literal["kept", "mean"] = "mean"
    queue_term: Literal["added", "queries", "joint", "alone"] = "added"
    momentum: ShareBelowOne = 0.0
    core_region: CoreRegionConfig | None = None
    experts: ExpertsConfig | None = None
    fusion: FusionConfig | None = None
    residual_enhancement: ResidualEnhancementConfig | None = None
    late_fusion: LateFusionConfig | None = None
    compression_tokens: CompressionConfig | None = None
    visual_weight: ShareBelowOne = 0.1
    balance_weight: Strength = 0.01
    alignment: AlignmentConfig | None = None
    filtering: FilterConfig | None = None
    co_augmentation: CoAugmentationConfig | None = None
    chunk_size: Count | None = None

    counts_when: ClassVar[Rules] = {
        "engagement": _read_of_log(*get_args(QueryKind)),
        "split_mixed": _read_of_log("text", "image"),
        "query_engagement": _read_of_log("richer-text+image"),
        "own_picture_share": _read_of_log("image"),
        "alter_photos": _read_of_log("image"),
        "own_words_share": _read_of_log("text"),
        **dict.fromkeys(
            ("temperature", "learn_temperature"),
            CountsWhen(
                lambda config: "infonce" in (config.loss, config.prefix_loss),
                "circle loss at every width has circle_margin and circle_scale in its place; leave it out, or set loss or prefix_loss to infonce",
            ),
        ),
        **dict.fromkeys(
            ("circle_margin", "circle_scale", "prefix_loss"),
            CountsWhen(
                lambda config: config.loss == "circle",
                "only loss=circle reads it, and loss = {self.loss!r}; leave it out or set loss",
            ),
        ),
        "distillation_temperature": CountsWhen(
            lambda config: config.score_distillation > 0,
            "score_distillation is 0; leave it out or raise that",
        ),
        "triplet_margin": CountsWhen(
            lambda config: config.triplet_weight > 0,
            "triplet_weight is 0; leave it out or raise that",
        ),
        **dict.fromkeys(
            ("hard_negative_kinds", "filtering"),
            CountsWhen(
                lambda config: config.hard_negatives > 0,
                "hard_negatives is 0; leave it out or raise that",
            ),
        ),
        "co_augmentation": CountsWhen(
            lambda config: config.co_augmentation.adds_to(config.items),
            "no item of this mixture shows what it adds (titles = {self.co_augmentation.titles!r}, pictures = {self.co_augmentation.pictures!r}); leave it out",
        ),
        **dict.fromkeys(
            ("late_fusion", "compression_tokens"),
            CountsWhen(
                lambda config: any("image" in form for form in (*config.queries, *config.items)),
                "no query and no item of this mixture shows a picture; leave it out",
            ),
        ),
        "alignment": CountsWhen(
            lambda config: any("image" in item for item in config.items),
            "no item of this mixture shows a picture; leave it out",
        ),
        **dict.fromkeys(
            ("queue_length", "max_age", "queue_drift", "queue_term", "momentum"),
            CountsWhen(
                lambda config: config.has_queue,
                "there is no queue; leave it out, or raise num_negatives above the {self.num_in_batch:,} of a batch",
            ),
        ),
        "chunk_size": CountsWhen(
            lambda config: config.chunk_size < config.batch_size * max(1, config.hard_negatives),
            "a batch has no more rows than that (batch_size = {self.batch_size}); lower it or leave it out",
        ),
        "augmentation": CountsWhen(
            _alters_pictures,
            "no picture of this mixture is altered; set alter_photos or leave it out",
        ),
    }

    @classmethod
    def preset(cls, name: Preset, **values: Any) -> "PosttrainConfig":
        """The settings of one part of the report's post-training, `values` over them.

        - `broad`, its first: whatever was clicked, the batch's own negatives, InfoNCE, the kinds of its Table 2: the report's. Steps, batch and rate: ours.
        - `refinement`, its second, to start from the first's encoder: purchases alone, all four steps of curation, hard negatives of the same category (and, as in SCL, clicked but not
          bought), a queue of past negatives, circle loss: the report's. How many negatives and of what age, how the queue goes into the loss, the circle's margin and scale,
          the lower learning rate: ours; the momentum encoder is SCL's. Milder than the report's words where a log is small: an item keeps its eight hardest queries instead of one, query and title are to name
          two things together instead of each. On the validation searches of a simulated shop the stricter readings lost recall (docs/log.md).
          Circle loss is the report's; on both shops measured here InfoNCE in its place (`loss='infonce'`) finds .014 and .018 more of the searches by picture in ten (docs/results.md).
        - `scl`, the contrastive training of SCL (arXiv 2407.19467): a search's picture and the picture bought, its words and the words of what was bought; a momentum bank of
          196,800 as the only negatives, a learned temperature, a triplet term on what was clicked but not bought: the paper's. Momentum (MoCo's .999), weight and margin of the
          triplet, the two kinds in equal parts: ours.
        """
        return cls.model_validate({"preset": name, **values})

    @property
    def queries(self) -> set[QueryKind]:
        """Forms of query that the mixture has."""
        return {KINDS[name].query for name, weight in self.mixture.items() if weight}

    @property
    def items(self) -> list[ItemKind]:
        """Forms of item that batches may have, each once, in the mixture's order."""
        kinds = [name for name, weight in self.mixture.items() if weight]
        if self.pairs == "catalogue":
            kinds = [name for name in kinds if name in CATALOGUE_KINDS]
        return list(dict.fromkeys(KINDS[name].item for name in kinds))

    @property
    def num_in_batch(self) -> int:
        """Most negatives of a query in one batch, over all processes: its other items and all hard ones."""
        return self.batch_size - 1 + self.batch_size * self.hard_negatives

    @property
    def num_used(self) -> int:
        """Most negatives a query is compared with, drawn from the queue or not."""
        return self.num_in_batch if self.num_negatives is None else self.num_negatives

    @property
    def num_past(self) -> int:
        """Past negatives that a query is compared with: what the batch lacks, or all of them."""
        of_batch = 0 if self.queue_term == "alone" else self.num_in_batch
        return 0 if self.num_negatives is None else max(0, self.num_negatives - of_batch)

    @property
    def has_queue(self) -> bool:
        """Whether past negatives are drawn."""
        return self.num_past > 0

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        given = {
            name: None if name in MAY_BE_NONE and value == "none" else value
            for name, value in values.items()
        }
        name = given.pop("preset", None)
        if name is None:
            return given
        if name not in PRESETS:
            raise ValueError(
                f"no preset {name!r}; there are {', '.join(PRESETS)}{nearest(str(name), PRESETS)}"
            )
        return cls._what_counts(merged(PRESETS[name], given), given)

    @classmethod
    def _what_counts(cls, values: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """Values of a preset under what is given, without those of the preset that then change nothing."""
        try:
            made = cls.model_validate(values, context=LENIENT)
        except pydantic.ValidationError:
            return values  # named where they are validated
        idle = made.idle().keys() - given.keys()
        values = {name: value for name, value in values.items() if name not in idle}
        if made.curation is not None and isinstance(values["curation"], dict):
            kept = given.get("curation") or {}
            of_curation = made.curation.idle().keys() - kept.keys()
            values["curation"] = {
                name: value for name, value in values["curation"].items() if name not in of_curation
            }
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> "PosttrainConfig":
        if self.triplet_weight and not (
            self.hard_negatives and "clicked" in self.hard_negative_kinds
        ):
            raise ValueError(
                "triplet_weight needs hard_negatives of 1 or more, 'clicked' among hard_negative_kinds"
            )
        if self.curation is not None and self.curation.seed not in (None, self.seed):
            raise ValueError(
                f"curation.seed = {self.curation.seed} beside seed = {self.seed}: a training has one seed; leave curation.seed out"
            )
        if self.curation is not None and self.pairs == "catalogue":
            raise ValueError("curation is of a log's pairs; with pairs='catalogue' leave it out")
        if self.hard_negatives and not self.hard_negative_kinds:
            raise ValueError("hard_negatives needs a kind in hard_negative_kinds")
        if self.symmetric and (self.loss != "infonce" or self.hard_negatives or self.has_queue):
            raise ValueError(
                "symmetric is for loss='infonce' with negatives of the batch alone: an item that answers no query of the batch has none to find"
            )
        if self.momentum and (self.queue_term == "joint" or self.sharding == "fsdp"):
            raise ValueError(
                "momentum wants queue_term 'added' or 'queries', or items learn nothing, and sharding 'ddp'"
            )
        if self.queue_term == "alone" and not self.momentum:
            raise ValueError(
                "queue_term 'alone' wants momentum above 0: a query's positive and the past ones are then of the same slow encoder (MoCo: .999)"
            )
        if self.other_positives == "positives" and (
            self.loss != "infonce" or self.symmetric or self.queue_term == "alone"
        ):
            raise ValueError(
                "other_positives 'positives' is for loss='infonce', from query to item alone, among the batch's items"
            )
        if self.has_queue and self.queue_length is not None and self.queue_length < self.num_past:
            raise ValueError(
                f"queue_length {self.queue_length:,} is less than the {self.num_past:,} that num_negatives draws from it; leave it out for twice as many"
            )
        return self


def refuse_idle(config: PosttrainConfig, widths: Sequence[int]) -> None:
    """Refuse what only an encoder of several Matryoshka widths reads.

    Raises:
        ConfigError: it is set, and the encoder has one width.
    """
    if len(widths) > 1:
        return
    names = ["matryoshka_weights", "prefix_loss"]
    if config.loss == "circle":
        names += ["temperature", "learn_temperature"]
    for name in names:
        value = getattr(config, name)
        if value != type(config).model_fields[name].default:
            raise ConfigError(
                f"{name} = {value!r} changes nothing: only the widths below the full one read it, and the encoder has {widths[0]} alone; leave it out"
            )
