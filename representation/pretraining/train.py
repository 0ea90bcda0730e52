"""Stage one: make a general backbone know the shop's products, by next-token prediction on questions about them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from moon_rec.bounds import BatchPairs, Length, Steps, distinct
from moon_rec.config import nearest
from moon_rec.errors import EncoderError
from moon_rec.files import write_json
from moon_rec.kept import note_begins_again
from moon_rec.outputs import check_output, check_room
from moon_rec.progress import progress, say
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from representation.encoder import ProductEncoder, untrained_encoder
from representation.encoders.checkpoint import ENCODER
from representation.model.backbone import Inputs
from representation.model.prompt import TEXT_COLUMNS
from representation.model.token_rows import Composer
from representation.pretraining.objective import IGNORED, Dialogue, answer_loss, pad_labels
from representation.pretraining.questions import NAMES, Asked, ask
from representation.training.distributed import (
    SharedEncoder,
    is_main,
    mean_of_processes,
    rank,
    share_of,
    wait,
    world_size,
)
from representation.training.divergence import Divergence, warn_of_chance
from representation.training.optimisation import (
    Log,
    OptimisationConfig,
    from_start,
    lower_precision,
    make_optimizer,
    training_mode,
    update,
    widen_trained,
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
    overwrite: bool = False,
) -> Path:
    """Train on questions about the products listed before the cut, and save the encoder at `out`.

    Several processes (torchrun) train as one would with the same batch; the first alone writes.

    Args:
        start: an encoder's folder to go on from; None starts from `config.backbone`.
        on_log: on the first process, told the loss every `config.log_every` steps; all of it is also in `out/pretraining_log.json`.
        overwrite: replace an encoder that stands at `out`.

    Raises:
        MoonRecError: `out` exists, and is no encoder or `overwrite` is false; the disk has too little room.
        EncoderError: the shop has nothing to ask about before its cut.
        ConfigError: settings of a backbone beside a `start`.
    """
    settings = from_start(config, start)
    check_output(out, ENCODER, overwrite, inputs=(start, shop.path))
    if config.batch_size < world_size():
        raise EncoderError(
            f"a batch of {config.batch_size} questions cannot be shared by {world_size()} processes; start at most {config.batch_size}"
        )
    encoder = (
        ProductEncoder.from_pretrained(start)
        if start is not None
        else untrained_encoder(shop, config.backbone, config.seed)
    )
    check_room(out, sum(one.nbytes for one in encoder.module.parameters()))
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
    if is_main():
        about |= {"log": log}
        encoder.save_pretrained(
            out, overwrite, beside=lambda folder: write_json(folder / LOG_FILE, about)
        )
    wait()
    return Path(out)


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
    module, device = encoder.module, encoder.device
    widen_trained(module)
    note_begins_again("pretraining saves no step on its way")
    divergence = Divergence(config.learning_rate, device)
    batches = _Batches(encoder.composer, items, pictures, asked, config)
    shared = SharedEncoder(
        encoder,
        work=lambda inputs, labels: answer_loss(encoder.backbone, inputs, labels),
    )
    optimizer = make_optimizer(shared.named_parameters(), config)
    log: list[dict[str, float]] = []
    num_tokens = 0
    with training_mode(module, config) as dtype, progress("pretrain", config.steps) as bar:
        for step in range(config.steps):
            inputs, labels, weight = batches.make(step)
            with lower_precision(device, dtype):
                loss = weight * shared.forward(inputs.to(device), labels.to(device))
            rate = update(optimizer, loss, step, config, divergence.look)
            num_tokens += int(inputs.mask.sum())
            note = None
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                numbers = {
                    "loss": mean_of_processes(loss).item(),
                    "learning_rate": rate,
                    "num_tokens": _of_all(num_tokens, device),
                }
                divergence.check(step, numbers["loss"])
                log.append({"step": step + 1, **numbers})
                note = f"loss {numbers['loss']:.3f}"
                if on_log is not None and is_main():
                    on_log(step + 1, numbers)
            bar.advance(note=note)
    divergence.check_weights(config.steps - 1, module.named_parameters())
    if log:
        warn_of_chance(log[-1]["loss"], math.log(len(encoder.tokenizer)))
    return log


def _of_all(count: int, device: torch.device) -> float:
    """The sum of a count over all processes."""
    own = torch.tensor(count, dtype=torch.float64, device=device)
    return float(round(mean_of_processes(own).item() * world_size()))


class _Batches:
    """Questions in a seeded order, epoch by epoch; step s always gives the same batch, of which each process makes its own rows."""

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

    def make(self, step: int) -> tuple[Inputs, Tensor, float]:
        """Inputs and labels of the own rows, and what their mean loss weighs so that its mean over processes is that over all answers' tokens."""
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
        own = share_of(size, rank(), world_size())
        seen = [one.row for one, pictured in zip(chosen[own], has[own], strict=True) if pictured]
        inputs = self._composer.batch(rows[own], self._pictures.take(seen) if seen else None)
        weight = world_size() * _num_answered(labels[own]) / _num_answered(labels)
        return inputs, pad_labels(labels[own], inputs.token_ids.shape[1]), weight

    def _order(self, epoch: int) -> np.ndarray:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            self._permutation = generator(self._config.seed, "questions", epoch).permutation(
                len(self._asked)
            )
        return self._permutation


def _num_answered(labels: list[list[int]]) -> int:
    """Tokens that are predicted; a row's first never is, for nothing stands before it."""
    return sum(label != IGNORED for row in labels for label in row[1:])
