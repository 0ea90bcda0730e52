"""Stage one: make a general backbone know the shop's products, by next-token prediction on questions about them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field

from moon_rec.bounds import BatchPairs, Length, Steps, distinct
from moon_rec.config import nearest
from moon_rec.errors import EncoderError
from moon_rec.files import write_json
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, untrained_encoder
from representation.model.compose import Composer
from representation.model.prompt import TEXT_COLUMNS
from representation.pretraining.objective import Dialogue, answer_loss, pad_labels
from representation.pretraining.questions import NAMES, Asked, ask
from representation.training.optimisation import (
    Log,
    OptimisationConfig,
    from_start,
    lower_precision,
    make_optimizer,
    training_mode,
    update,
)
from representation.training.picture_file import PictureFile
from representation.training.picture_store import PictureStore

LOG_FILE = "pretraining_log.json"


def _known(questions: tuple[str, ...]) -> tuple[str, ...]:
    for question in distinct(questions):
        if question not in NAMES:
            raise ValueError(
                f"no question {question!r}; there are {', '.join(NAMES)}{nearest(question, NAMES)}"
            )
    return questions


class PretrainConfig(OptimisationConfig):
    """Settings of pretraining; those of `OptimisationConfig` besides.

    Attributes:
        questions: which are asked.
        context_tokens, answer_tokens: what is said of a product before the question, and the answer, are cut to so many.
    """

    steps: Steps = 200
    batch_size: BatchPairs = 64
    questions: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_known)] = NAMES
    context_tokens: Length = 32
    answer_tokens: Length = 32


def pretrain(
    shop: Shop,
    out: str | Path,
    config: PretrainConfig,
    start: str | Path | None = None,
    on_log: Log | None = None,
) -> Path:
    """Train on questions about the products listed before the cut, and save the encoder at `out`.

    Args:
        start: an encoder's folder to go on from; None starts from `config.backbone`.
        on_log: told the loss every `config.log_every` steps; all of it is also in `out/pretraining_log.json`.

    Raises:
        EncoderError: `out` exists, or the shop has nothing to ask about before its cut.
        ConfigError: settings of a backbone beside a `start`.
    """
    settings = from_start(config, start)
    refuse_existing(out)
    encoder = (
        ProductEncoder.from_pretrained(start)
        if start is not None
        else untrained_encoder(shop, config.backbone, config.seed)
    )
    about = {"config": settings, "start": encoder.digest if start is not None else None}
    items = _train_items(shop)
    asked = ask(items, config.questions)
    if not asked:
        raise EncoderError(
            f"{shop.path}: no product listed before {shop.cut_time} has an answer to ask for"
        )
    say(
        f"pretrain on {len(asked):,} questions about {items.height:,} products listed before the cut"
    )
    pictures = PictureFile.of(shop, "items", items["item_id"].to_numpy())
    log = _train(encoder, items, pictures, asked, config, on_log)
    encoder.save_pretrained(out)
    write_json(Path(out) / LOG_FILE, about | {"log": log})
    return Path(out)


def refuse_existing(out: str | Path) -> None:
    """Say before hours of training, not after, that its place is taken."""
    if Path(out).exists():
        raise EncoderError(f"{out} exists already; remove it or name another folder")


def _train_items(shop: Shop) -> pl.DataFrame:
    """All that is asked about, but the pictures."""
    items = shop.items.filter(pl.col("listed_at") < shop.cut_time)
    items = items.select("item_id", *TEXT_COLUMNS)
    has_image = shop.pictured("items").select("item_id", has_image="has_picture")
    return items.join(has_image, on="item_id").sort("item_id").collect()


def _train(
    encoder: ProductEncoder,
    items: pl.DataFrame,
    pictures: Sequence[bytes | None],
    asked: list[Asked],
    config: PretrainConfig,
    on_log: Log | None,
) -> list[dict[str, float]]:
    backbone, device = encoder.backbone, encoder.device
    batches = _Batches(encoder.composer, items, pictures, asked, config)
    optimizer = make_optimizer(list(backbone.named_parameters()), config)
    log: list[dict[str, float]] = []
    num_tokens = 0
    with training_mode(backbone, config) as dtype, progress("pretrain", config.steps) as bar:
        for step in range(config.steps):
            inputs, labels = batches.make(step)
            with lower_precision(device, dtype):
                loss = answer_loss(backbone, inputs.to(device), labels.to(device), encoder.layout)
            rate = update(optimizer, loss, step, config)
            num_tokens += int(inputs.mask.sum())
            note = None
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                numbers = {
                    "loss": loss.item(),
                    "learning_rate": rate,
                    "num_tokens": float(num_tokens),
                }
                log.append({"step": step + 1, **numbers})
                note = f"loss {numbers['loss']:.3f}"
                if on_log is not None:
                    on_log(step + 1, numbers)
            bar.advance(note=note)
    return log


class _Batches:
    """Questions in a seeded order, epoch by epoch; step s always gives the same batch."""

    def __init__(
        self,
        composer: Composer,
        items: pl.DataFrame,
        pictures: Sequence[bytes | None],
        asked: list[Asked],
        config: PretrainConfig,
    ) -> None:
        self._composer, self._asked, self._config = composer, asked, config
        self._dialogue = Dialogue(composer, config.context_tokens, config.answer_tokens)
        self._has_image = items["has_image"].to_list()
        names = [f"items.image of item {item_id}" for item_id in items["item_id"]]
        self._pictures = PictureStore(
            pictures,
            names,
            composer.layout.image_size,
            scratch_bytes=int(config.scratch_gb * 1e9),
        )

    def make(self, step: int):
        size, count = self._config.batch_size, len(self._asked)
        places = np.arange(step * size, (step + 1) * size)
        chosen = [
            self._asked[int(self._order(int(epoch))[place % count])]
            for epoch, place in zip(places // count, places, strict=True)
        ]
        has = [self._has_image[one.row] for one in chosen]
        rows, labels = self._dialogue.rows(
            [one.words for one in chosen],
            [one.context for one in chosen],
            [one.answer for one in chosen],
            has,
        )
        seen = [one.row for one, pictured in zip(chosen, has, strict=True) if pictured]
        inputs = self._composer.batch(rows, self._pictures.take(seen) if seen else None)
        return inputs, pad_labels(labels, inputs.token_ids.shape[1])

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._permutation = generator(self._config.seed, "questions", epoch).permutation(
                len(self._asked)
            )
        return self._permutation
