"""Batches of questions: what a step of pretraining is given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor

from moon_rec.seeds import generator
from representation.core_region.box import Box
from representation.encoder import ProductEncoder
from representation.model.backbone import Inputs
from representation.pretraining.objective import IGNORED, Dialogue, pad_labels
from representation.pretraining.questions import Asked
from representation.training.distributed import rank, share_of, world_size
from representation.training.picture_store import PictureStore


@dataclass
class QuestionBatch:
    """Questions with their answers: this process's rows.

    Attributes:
        labels: `(rows, length)`, see `objective.answer_loss`.
        weight: of the rows' mean loss, so that its mean over processes is that over all answers' tokens.
        num_pairs: questions of all processes.
    """

    inputs: Inputs
    labels: Tensor
    weight: float
    num_pairs: int

    def to(self, device: torch.device) -> "QuestionBatch":
        """The same on `device`."""
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))

    @property
    def label(self) -> str:
        """Of none: all batches are alike."""
        return ""

    @property
    def num_tokens(self) -> int:
        """Real tokens of the own rows."""
        return int(self.inputs.mask.sum())


class QuestionBatches:
    """Questions in a seeded order, epoch by epoch; step s always gives the same batch, of which each process makes its own rows.

    Args:
        items: what is asked about: `item_id` and `has_image`, in the order of `pictures`.
        lengths: most tokens of what is said before the question, and of the answer.
        boxes: where the core region of each picture is, as far as it is known.
    """

    def __init__(
        self,
        encoder: ProductEncoder,
        items: pl.DataFrame,
        pictures: Sequence[bytes | None],
        asked: list[Asked],
        batch_size: int,
        lengths: tuple[int, int],
        seed: int,
        scratch_bytes: int,
        boxes: Sequence[Box | None] | None = None,
    ) -> None:
        self._encoder, self._asked, self._size, self._seed = encoder, asked, batch_size, seed
        self._dialogue = Dialogue(encoder.composer, *lengths)
        self._has_image = items["has_image"].to_list()
        names = [f"items.image of item {item_id}" for item_id in items["item_id"]]
        self._pictures = PictureStore(
            pictures,
            names,
            encoder.layout.image_size,
            scratch_bytes=scratch_bytes,
            cut=encoder.cut,
            boxes=boxes,
        )
        self._order = (-1, np.zeros(0, np.int64))

    def make(self, step: int) -> QuestionBatch:
        """The batch of a step."""
        size = self._size
        chosen = self._chosen(step * size, (step + 1) * size)
        has = [self._has_image[one.row] for one in chosen]
        rows, labels = self._dialogue.rows(
            [one.words for one in chosen],
            [one.context for one in chosen],
            [one.answer for one in chosen],
            has,
        )
        own = share_of(size, rank(), world_size())
        seen = [one.row for one, pictured in zip(chosen[own], has[own], strict=True) if pictured]
        pictures = self._pictures.take_to(seen, self._encoder.device) if seen else None
        inputs = self._encoder.batch(rows[own], pictures)
        weight = world_size() * _num_answered(labels[own]) / _num_answered(labels)
        return QuestionBatch(
            inputs, pad_labels(labels[own], inputs.token_ids.shape[1]), weight, size
        )

    def remember_ahead(self, steps: int, folder: Path | None, shop_digest: str) -> None:
        """Have the encoder compute ahead what its frozen tower makes of the pictures that the first `steps` steps show.

        Args:
            folder: where it is kept for other trainings; None: in memory alone.
        """
        asked = self._chosen(0, steps * self._size)
        rows = np.unique([one.row for one in asked if self._has_image[one.row]])
        take = {"pictures asked about": (len(rows), lambda first, end: self._pictures.take(rows[first:end]))}  # fmt: skip
        self._encoder.remember({}, take, folder, shop_digest)

    def _chosen(self, first: int, end: int) -> list[Asked]:
        """The questions at these places of the order that steps go through."""
        places = np.arange(first, end)
        count = len(self._asked)
        return [
            self._asked[int(self._of_epoch(int(epoch))[place % count])]
            for epoch, place in zip(places // count, places, strict=True)
        ]

    def _of_epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            drawn = generator(self._seed, "questions", epoch).permutation(len(self._asked))
            self._order = (epoch, drawn)
        return self._order[1]


def _num_answered(labels: list[list[int]]) -> int:
    """Tokens that are predicted; a row's first never is, for nothing stands before it."""
    return sum(label != IGNORED for row in labels for label in row[1:])
