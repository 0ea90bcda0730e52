"""The policy stage: attributes written for retrieval, learnt by their rewards, and the vectors behind them, learnt by contrast, in one loss.

    L = contrastive_weight * InfoNCE(query, reasoned product) - policy_weight * J

J is that of `objective.py`, its groups are the roll-outs of a product; InfoNCE is query to product and, as each roll-out has a vector of its own, its mean over
them. That the two are trained jointly is MOON3.0's; how they are weighed is not public (chosen: alike). Queries are words of searches before the cut, products what
was engaged with after them; words are embedded as ever. The policy is kept near the weights that it starts from, which `representation.pretrain` has taught to answer.
Each batch of roll-outs is learnt from once, so the chances that drew them are those of the step (`old_log_probs` none), and `clip` counts for nothing but in theory;
it is no setting.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
import torch
from pydantic import Field
from torch import Tensor

from moon_rec.bounds import BatchPairs, CountOrZero, Length, Steps, Strength, Temperature
from moon_rec.config import CountsWhen, Rules
from moon_rec.errors import ConfigError, EncoderError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement
from moon_rec.texts import normal_text
from representation.core_region.crops import known_boxes, tell_boxes
from representation.encoder import ProductEncoder
from representation.fusion import FusionConfig, ResidualEnhancementConfig
from representation.losses import infonce
from representation.model.backbone import Backbone, Inputs
from representation.negatives import KnownPositives
from representation.posttraining.pairs import known_items, logged_pairs
from representation.reasoning.batches import ReasoningBatch, ReasoningBatches
from representation.reasoning.encoder import ReasoningEncoder, dialogue_of
from representation.reasoning.objective import PolicyLoss, group_advantages, policy_loss
from representation.reasoning.rewards import (
    AttributeNames,
    Rewarded,
    Rewards,
    retrieval_success,
    shares,
    spread,
    true_pairs,
)
from representation.reasoning.roll_outs import Branched, draw, read, with_seen_pictures
from representation.reasoning.written import Answer
from representation.recipes.mark import RecipeMark
from representation.training.added_fusion import add_fusion, check_fusion
from representation.training.config import TrainingConfig
from representation.training.distributed import SharedEncoder, world_size
from representation.training.loop import Checkpoint, train
from representation.training.optimisation import Log, lower_precision
from representation.training.picture_file import PictureFile
from representation.training.stage import Graded, Stage

LOG_FILE = "reasoning_log.json"
CLIP = 0.2

Grade = Callable[[ProductEncoder], dict[str, float]]
"""How good what an encoder writes is, by name."""


class ReasonConfig(TrainingConfig):
    """Settings of the policy stage; those of `TrainingConfig` besides.

    Attributes:
        engagement: what makes a pair of a search and a product.
        group_size: roll-outs of a product; they are compared with each other.
        answer_tokens: an answer is cut to so many; the title before it as the encoder's own prompt says.
        sampling_temperature: of the chances that an answer's tokens are drawn by.
        policy_weight, contrastive_weight: of the two parts of the loss.
        kl_weight: how strongly the policy is kept near to where it starts.
        accuracy_weight, retrieval_weight, invalid_reward: what a roll-out earns, see `rewards.py`.
        success_at: a roll-out succeeds with its query among so many of the batch's.
        temperature: of InfoNCE.
        fusion, residual_enhancement: put into the encoder that training starts from, see `fusion.config`; None: as it is. The state behind what was written asks the raw picture and words.
        grade_every: steps between two grades, where there are any: before the first step and after the last in any case; 0: only then.
    """

    steps: Steps = 100
    batch_size: BatchPairs = 32
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-4
    engagement: Engagement = "purchased"
    group_size: Annotated[int, Field(ge=2, le=256)] = 4
    answer_tokens: Length = 32
    sampling_temperature: Temperature = 1.0
    policy_weight: Strength = 1.0
    contrastive_weight: Strength = 1.0
    kl_weight: Strength = 0.04
    accuracy_weight: Strength = 1.0
    retrieval_weight: Strength = 1.0
    invalid_reward: Annotated[float, Field(ge=-100, le=100)] = 0.0
    success_at: Annotated[int, Field(ge=1, le=10_000)] = 1
    temperature: Temperature = 0.07
    fusion: FusionConfig | None = None
    residual_enhancement: ResidualEnhancementConfig | None = None
    grade_every: CountOrZero = 0

    counts_when: ClassVar[Rules] = {
        "grade_every": CountsWhen(
            lambda config: config.grade_every < config.steps,
            "what is written is graded after the last of {self.steps} steps in any case; lower it or leave it out",
        ),
        **dict.fromkeys(
            ("kl_weight", "accuracy_weight", "retrieval_weight", "invalid_reward"),
            CountsWhen(
                lambda config: config.policy_weight > 0,
                "policy_weight = 0 learns from no reward; raise it or leave this out",
            ),
        ),
        "success_at": CountsWhen(
            lambda config: config.policy_weight > 0 and config.retrieval_weight > 0,
            "retrieval earns nothing here; raise policy_weight and retrieval_weight or leave this out",
        ),
        "temperature": CountsWhen(
            lambda config: config.contrastive_weight > 0,
            "contrastive_weight = 0 leaves InfoNCE out; raise it or leave this out",
        ),
    }


def reason(
    shop: Shop,
    out: str | Path,
    config: ReasonConfig,
    start: str | Path,
    on_log: Log | None = None,
    overwrite: bool = False,
    grade: Grade | None = None,
    recipe: RecipeMark | None = None,
) -> list[Checkpoint]:
    """Train an encoder to write attributes and to embed what it wrote, and save it at `out`; see `training.loop.train`.

    Args:
        start: an encoder's folder, of one that was pretrained: what never answers rightly is never rewarded.
        grade: asked before the first step, every `config.grade_every` and after the last; in the log under `grades`.
        recipe: that the settings are of; what is saved says so.

    Raises:
        As `train`.
        EncoderError: no search by words before the cut with an engagement, no attribute, or several processes.
    """
    stage = Reasoning(shop, config, grade)
    return train(stage, shop, out, config, start, on_log, overwrite, recipe=recipe)


@dataclass
class Reasoned:
    """What a step found, without gradients."""

    loss: Tensor
    contrastive: Tensor
    policy: PolicyLoss | None
    rewarded: Rewarded
    rewards: Tensor = field(repr=False)


class Reasoning(Graded, Stage[ReasoningBatch, Reasoned]):
    """The policy stage of the loop; arguments as of `reason`."""

    title, log_file = "reason", LOG_FILE

    def __init__(self, shop: Shop, config: ReasonConfig, grade: Grade | None = None) -> None:
        self._shop, self._config, self._grade = shop, config, grade

    def open(self, start: str | Path) -> ReasoningEncoder:
        encoder = ProductEncoder.from_pretrained(start)
        config = encoder.config.model_copy(update={"reasoning_tokens": self._config.answer_tokens})
        return ReasoningEncoder(encoder.module, encoder.tokenizer, config)

    def check(self, encoder: ProductEncoder) -> None:
        config = self._config
        if world_size() > 1:
            raise EncoderError("roll-outs are drawn by one process; start it without torchrun")
        if encoder.config.compression_tokens is not None:
            raise ConfigError(
                "the encoder of --start has compression_tokens: a slot ends each of its rows, where attributes would be written; start from an encoder without"
            )
        if not config.policy_weight and not config.contrastive_weight:
            raise ConfigError("policy_weight = 0 and contrastive_weight = 0: nothing is learnt; raise one")  # fmt: skip
        if config.grade_every and self._grade is None:
            raise ConfigError(
                f"grade_every = {config.grade_every} changes nothing: nothing grades what this training writes; leave it out"
            )

        check_fusion(config, encoder)

    def rebuild(self, encoder: ProductEncoder) -> None:
        add_fusion(self._config, encoder)

    def prepare(self, encoder: ProductEncoder) -> ReasoningBatches:
        shop, config = self._shop, self._config
        every = logged_pairs(shop, config.engagement)
        pairs = every["text"]
        if not pairs.height:
            raise EncoderError(
                f"{shop.path}: no search by words before {shop.cut_time} was followed by something {config.engagement}; take another engagement"
            )
        known = asked_about(shop, pairs)
        self._names = AttributeNames.of(known)
        if not any(true_pairs(known)):
            raise EncoderError(f"{shop.path}: no product that was searched for has an attribute; there is nothing to write")  # fmt: skip
        searches = shop.in_period(shop.searches, "train")
        self._dialogue = dialogue_of(encoder)
        say(f"reason on {pairs.height:,} pairs before the cut of {known.height:,} products")
        positives = KnownPositives.from_pairs(every, searches, items=known_items(shop))
        return batches_of(encoder, shop, config, pairs, searches, known, positives)

    def begin(self, encoder: ProductEncoder) -> None:
        """Keep the weights that the policy starts from; a training that goes on has them from the same start. Those that are not trained are shared."""
        self._encoder = encoder
        self._reference: Backbone | None = None
        if self._config.policy_weight and self._config.kl_weight:
            kept = {
                id(each): each for each in encoder.module.parameters() if not each.requires_grad
            }
            frozen = copy.deepcopy(encoder.module, kept).requires_grad_(False).eval()
            self._reference = encoder.backbone.with_module(frozen)

    def work(self, encoder: ProductEncoder) -> Callable[..., Any]:
        temperature = self._config.sampling_temperature

        def embed_and_read(queries: Inputs, rolled: Branched) -> Any:
            return encoder.embed(queries), read(encoder.backbone, rolled, temperature)

        return embed_and_read

    def backward(
        self, batch: ReasoningBatch, step: int, shared: SharedEncoder, dtype: torch.dtype
    ) -> Reasoned:
        config, encoder = self._config, self._encoder
        batch = batch.to(encoder.device)
        with lower_precision(encoder.device, dtype):
            asked = batch.asked
            if not encoder.backbone.tower_is_trained():
                asked = with_seen_pictures(encoder.backbone, asked)
            drawn = draw(
                encoder,
                batch.questions,
                asked,
                config.group_size,
                self._dialogue.end,
                config.answer_tokens,
                config.sampling_temperature,
            )
            rolled = Branched.of(encoder, drawn, asked)
            queries, found = shared.forward(batch.queries, rolled)
            near = None
            if self._reference is not None:
                with torch.no_grad():
                    near = read(self._reference, rolled, config.sampling_temperature)
        rewarded = earned(config, self._names, batch, drawn.answers, queries.detach(), found.vectors.detach())  # fmt: skip
        grouped = rewarded.rewards.view(-1, config.group_size)
        contrastive = self._contrastive(queries, found.vectors, batch.blocked)
        loss, policy = config.contrastive_weight * contrastive, None
        if config.policy_weight:
            policy = policy_loss(
                found.log_probs,
                group_advantages(grouped).view(-1),
                found.said,
                CLIP,
                config.kl_weight,
                reference_log_probs=None if near is None else near.log_probs,
            )
            loss = loss + config.policy_weight * policy.loss
        loss.backward()
        return Reasoned(loss.detach(), contrastive.detach(), policy, rewarded, grouped)

    def _contrastive(self, queries: Tensor, vectors: Tensor, blocked: Tensor) -> Tensor:
        """Mean over the roll-outs of a product of InfoNCE with that one of each."""
        each = vectors.view(len(queries), self._config.group_size, -1).unbind(dim=1)
        losses = [
            infonce(queries, items, temperature=self._config.temperature, blocked=blocked)
            for items in each
        ]
        return torch.stack(losses).mean()

    def numbers(self, found: Reasoned) -> dict[str, float]:
        numbers = {"contrastive": found.contrastive.item(), **shares(found.rewarded)}
        if found.policy is not None:
            numbers["kl"] = found.policy.kl.item()
            numbers["groups_that_differ"] = spread(found.rewards.cpu().numpy())
        return numbers

    def warn(self, numbers: Mapping[str, float], encoder: ProductEncoder) -> None:
        tell_boxes(encoder.cut)
        if self._config.policy_weight and not numbers.get("groups_that_differ", 1.0):
            say(
                "warning: at the end all roll-outs of a product earned alike, so rewards taught nothing; pretrain longer, or raise sampling_temperature"
            )


def asked_about(shop: Shop, pairs: pl.DataFrame) -> pl.DataFrame:
    """Products of pairs, as `ReasoningBatches` takes them."""
    items = shop.items.select("item_id", "title", "attributes").join(
        shop.pictured("items").select("item_id", has_image="has_picture"), on="item_id"
    )
    own = pairs.lazy().select("item_id").unique()
    return items.join(own, on="item_id", how="semi").sort("item_id").collect()


def batches_of(
    encoder: ProductEncoder,
    shop: Shop,
    config: ReasonConfig,
    pairs: pl.DataFrame,
    searches: pl.LazyFrame,
    items: pl.DataFrame,
    known: KnownPositives,
) -> ReasoningBatches:
    """Batches of pairs of a shop.

    Args:
        pairs, items, known: see `ReasoningBatches`.
        searches: those of the pairs among others.
    """
    words = searches.select("search_id", query_text=normal_text("query_text"))
    words = words.join(pairs.lazy().select("search_id").unique(), on="search_id", how="semi")
    ids = items["item_id"].to_numpy()
    return ReasoningBatches(
        encoder,
        dialogue_of(encoder),
        pairs,
        words.collect(),
        items,
        PictureFile.of(shop, "items", ids),
        known_boxes(shop, "items", ids, [f"items.image of item {one}" for one in ids], encoder.cut),
        known,
        config.batch_size,
        config.seed,
        scratch_bytes=int(config.scratch_gb * 1e9),
    )


def earned(
    config: ReasonConfig,
    names: AttributeNames,
    batch: ReasoningBatch,
    answers: Sequence[Answer],
    queries: Tensor,
    vectors: Tensor,
) -> Rewarded:
    """What the roll-outs of a batch earn.

    Args:
        names: that an answer may state.
        answers: `config.group_size` of each product, all of a product together. vectors: behind them, `(roll-outs, dim)`.
        queries: `(pairs, dim)`.
    """
    own = torch.arange(len(queries), device=queries.device).repeat_interleave(config.group_size)
    success = retrieval_success(vectors, queries, own, batch.passed[own], config.success_at)
    stated = [names.read(one.text) if one.has_ended else None for one in answers]
    rewards = Rewards(config.accuracy_weight, config.retrieval_weight, config.invalid_reward)
    return rewards.of(stated, [batch.true[row] for row in own.tolist()], success)
