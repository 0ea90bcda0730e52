"""Stage one: make a general backbone know the shop's products, by next-token prediction on questions about them, or by the words that name them (`naming`). The loop is `training/loop.py`'s."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import polars as pl
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from moon_rec.bounds import BatchPairs, Count, CountOrZero, Length, Steps, distinct
from moon_rec.config import CountsWhen, Rules, nearest
from moon_rec.errors import ConfigError, EncoderError
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.core_region.box import Box
from representation.core_region.crops import known_boxes, tell_boxes
from representation.encoder import ProductEncoder
from representation.model.prompt import TEXT_COLUMNS
from representation.pretraining.batches import QuestionBatch, QuestionBatches
from representation.pretraining.naming import NamingBatch, NamingBatches, naming_loss
from representation.pretraining.objective import answer_loss
from representation.pretraining.questions import NAMES, ask
from representation.recipes.mark import RecipeMark
from representation.training.config import TrainingConfig
from representation.training.distributed import SharedEncoder, check_shares, rank
from representation.training.divergence import warn_of_chance
from representation.training.loop import Checkpoint, train
from representation.training.optimisation import Log, lower_precision
from representation.training.picture_file import PictureFile
from representation.training.stage import Batch, Graded, Stage
from representation.training.trained import check_features

LOG_FILE = "pretraining_log.json"

Objective = Literal["answers", "picture_words", "vector_words"]
OneBatch = TypeVar("OneBatch", bound=Batch)
Remembering = TypeVar("Remembering", QuestionBatches, NamingBatches)

Grade = Callable[[ProductEncoder], dict[str, float]]
"""How good an encoder's answers are, by name."""


def _known(questions: tuple[str, ...]) -> tuple[str, ...]:
    for question in distinct(questions):
        if question not in NAMES:
            raise ValueError(
                f"no question {question!r}; there are {', '.join(NAMES)}{nearest(question, NAMES)}"
            )
    return questions


class PretrainConfig(TrainingConfig):
    """Settings of pretraining; those of `TrainingConfig` besides.

    Attributes:
        objective: what is learnt: `answers` to questions; or the words that name a product, of its `picture_words`, or of its `vector_words`; see `naming`. Each goes on from where another has ended (`--start`).
        num_products: learn from so many of the products, the same whatever the seed, where seeing all of them costs too much; None: from all.
        questions: which are asked.
        context_tokens, answer_tokens: what is said of a product before the question, and the answer, are cut to so many.
        grade_every: steps between two grades of the answers, where they are graded: before the first step and after the last in any case; 0: only then.
    """

    steps: Steps = 200
    batch_size: BatchPairs = 64
    objective: Objective = "answers"
    num_products: Count | None = None
    questions: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known)] = NAMES
    context_tokens: Length = 32
    answer_tokens: Length = 32
    grade_every: CountOrZero = 0

    counts_when: ClassVar[Rules] = {
        "grade_every": CountsWhen(
            lambda config: config.grade_every < config.steps,
            "answers are graded after the last of {self.steps} steps in any case; lower it or leave it out",
        ),
        **dict.fromkeys(
            ("questions", "context_tokens", "answer_tokens"),
            CountsWhen(
                lambda config: config.objective == "answers",
                "objective = {self.objective!r} asks no questions; leave one of them out",
            ),
        ),
    }


def pretrain(
    shop: Shop,
    out: str | Path,
    config: PretrainConfig,
    start: str | Path | None = None,
    on_log: Log | None = None,
    overwrite: bool = False,
    grade: Grade | None = None,
    *,
    features: str | Path | None = None,
    recipe: RecipeMark | None = None,
) -> list[Checkpoint]:
    """Train on questions about the products listed before the cut, and save the encoder at `out`; see `training.loop.train`.

    Args:
        start: an encoder's folder to go on from; None starts from `config.backbone`.
        on_log: told the loss every `config.log_every` steps, and grades; all of it is also in `out/pretraining_log.json`.
        overwrite: replace encoders that stand at `out` and where checkpoints will be.
        grade: asked before the first step, every `config.grade_every` and after the last; in the log under `grades`.
        features: folder where what a frozen vision tower makes of the products' pictures is kept, and taken up from; None: the tower runs at each step. Read where the tower stays as it is.
        recipe: that the settings are of; what is saved says so.

    Raises:
        As `train`.
    """
    kind = Pretraining if config.objective == "answers" else Naming
    stage: Stage[Any, Any] = kind(shop, config, grade, features)
    return train(stage, shop, out, config, start, on_log, overwrite, recipe=recipe)


@dataclass
class Answered:
    """What a step found: the loss over the answers' tokens, weighed so that its mean over processes is that over all; no gradient."""

    loss: Tensor


class _Pretraining(Graded, Stage[OneBatch, Answered]):
    """What pretraining on any objective does as a stage of the loop; arguments as of `pretrain`."""

    title, log_file = "pretrain", LOG_FILE

    def __init__(
        self,
        shop: Shop,
        config: PretrainConfig,
        grade: Grade | None = None,
        features: str | Path | None = None,
    ) -> None:
        self._shop, self._config, self._grade, self._features = shop, config, grade, features

    def open(self, path: str | Path) -> ProductEncoder:
        return ProductEncoder.from_pretrained(path)

    def check(self, encoder: ProductEncoder) -> None:
        check_features(encoder, self._config, self._features)
        if self._config.grade_every and self._grade is None:
            raise ConfigError(
                f"grade_every = {self._config.grade_every} changes nothing: nothing grades the answers of this training; leave it out"
            )

    def warn(self, numbers: Mapping[str, float], encoder: ProductEncoder) -> None:
        tell_boxes(encoder.cut)
        warn_of_chance(numbers["loss"], math.log(len(encoder.tokenizer)))

    def _boxes(self, encoder: ProductEncoder, items: pl.DataFrame) -> list[Box | None] | None:
        """Where the core region of each product's picture is, as far as the shop knows and the encoder reads it."""
        ids = items["item_id"].to_numpy()
        names = [f"items.image of item {item_id}" for item_id in ids]
        return known_boxes(self._shop, "items", ids, names, encoder.cut)

    def _remembering(self, batches: Remembering) -> Remembering:
        """With what the frozen tower makes of their pictures computed ahead, where that is asked for."""
        if self._features is not None:
            kept = Path(self._features) if rank() == 0 else None
            batches.remember_ahead(self._config.steps, kept, self._shop.digest)
        return batches


class Pretraining(_Pretraining[QuestionBatch]):
    """Pretraining on questions."""

    def check(self, encoder: ProductEncoder) -> None:
        super().check(encoder)
        check_shares(self._config.batch_size, "questions")

    def prepare(self, encoder: ProductEncoder) -> QuestionBatches:
        shop, config = self._shop, self._config
        items = _train_items(shop, config.num_products)
        asked = ask(items, config.questions)
        if not asked:
            raise EncoderError(
                f"{shop.path}: no product listed before {shop.cut_time} has an answer to ask for"
            )
        say(
            f"pretrain on {len(asked):,} questions about {items.height:,} products listed before the cut"
        )
        pictures = PictureFile.of(shop, "items", items["item_id"].to_numpy())
        batches = QuestionBatches(
            encoder,
            items,
            pictures,
            asked,
            config.batch_size,
            (config.context_tokens, config.answer_tokens),
            config.seed,
            scratch_bytes=int(config.scratch_gb * 1e9),
            boxes=self._boxes(encoder, items),
        )
        return self._remembering(batches)

    def work(self, encoder: ProductEncoder) -> Callable[..., Any]:
        return lambda inputs, labels: answer_loss(encoder.backbone, inputs, labels)

    def backward(
        self, batch: QuestionBatch, step: int, shared: SharedEncoder, dtype: torch.dtype
    ) -> Answered:
        device = shared.encoder.device
        with lower_precision(device, dtype):
            loss = batch.weight * shared.forward(batch.inputs.to(device), batch.labels.to(device))
        loss.backward()
        return Answered(loss.detach())


class Naming(_Pretraining[NamingBatch]):
    """Pretraining on the words that name a product."""

    def check(self, encoder: ProductEncoder) -> None:
        super().check(encoder)
        check_shares(self._config.batch_size // (1 + self._is_at_vector), "products")

    @property
    def _is_at_vector(self) -> bool:
        return self._config.objective == "vector_words"

    def prepare(self, encoder: ProductEncoder) -> NamingBatches:
        shop, config = self._shop, self._config
        items = _train_items(shop, config.num_products)
        items = items.filter(pl.col("has_image") & (pl.col("title") != ""))
        if not items.height:
            raise EncoderError(
                f"{shop.path}: no product listed before {shop.cut_time} has a picture and a title to name it by"
            )
        say(f"pretrain on the words of {items.height:,} products listed before the cut")
        pictures = PictureFile.of(shop, "items", items["item_id"].to_numpy())
        batches = NamingBatches(
            encoder,
            items,
            pictures,
            config.batch_size,
            self._is_at_vector,
            config.seed,
            int(config.scratch_gb * 1e9),
            self._boxes(encoder, items),
        )
        return self._remembering(batches)

    def work(self, encoder: ProductEncoder) -> Callable[..., Any]:
        return lambda sides, words: naming_loss(encoder, sides, words, self._is_at_vector)

    def backward(
        self, batch: NamingBatch, step: int, shared: SharedEncoder, dtype: torch.dtype
    ) -> Answered:
        on_device = batch.to(shared.encoder.device)
        with lower_precision(shared.encoder.device, dtype):
            loss = batch.weight * shared.forward(on_device.sides, on_device.words)
        loss.backward()
        return Answered(loss.detach())


def _train_items(shop: Shop, most: int | None = None) -> pl.DataFrame:
    """All that is learnt from, but the pictures; `most` products at most."""
    items = shop.items.filter(pl.col("listed_at") < shop.cut_time)
    items = items.select("item_id", *TEXT_COLUMNS)
    has_image = shop.pictured("items").select("item_id", has_image="has_picture")
    found = items.join(has_image, on="item_id").sort("item_id").collect()
    if most is None or most >= found.height:
        return found
    return found[np.sort(generator(0, "products learnt from").permutation(found.height)[:most])]
