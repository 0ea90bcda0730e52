"""A teacher: vectors of a larger encoder, or of any other model, that post-training learns from beside the log (distillation).

It is a folder of two tables, as `representation.embed` and `representation.bring` write them: items and searches under the teacher. Nothing of the teacher runs in
training, so any model serves, and a step costs no more. Notable choices:
- A search is taught whole: the teacher has read its words and its photo, also where the pair shows the encoder one of them. A product that asks for itself is taught as that product.
- Rows whose item or query has no vector there are taught nothing; how many have is told at the start.
- Vectors of unequal widths are compared on the narrower one: a wider teacher's by their first principal axes over the items (no mean taken off: a cosine's zero stays),
  a narrower teacher's with the encoder's first numbers. A projection that is learned and thrown away is the other usual way.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError
from representation.losses import score_distillation, vector_distillation
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.pair_batch import PairBatch

AXES_FROM = 20_000
"""Items, evenly over the table, that principal axes are of."""


class Taught(NamedTuple):
    """What the teacher has of some rows: unit vectors `(rows, dim)`, zero where it has none, and `(rows,)` boolean where it has one."""

    vectors: Tensor
    is_there: Tensor


class Teacher:
    """The tables of a teacher, as a training asks for them.

    Args:
        items, queries: by item_id and by search_id.
        width: of the encoder that learns.
    """

    def __init__(
        self, items: EmbeddingTable, queries: EmbeddingTable, width: int, device: torch.device
    ) -> None:
        self._items, self._queries, self._device = items, queries, device
        self._axes = _principal_axes(items, width).to(device) if items.dim > width else None
        self.width = min(items.dim, width)

    def items(self, ids: np.ndarray) -> Taught:
        """Of items by id `(rows,)`; an id that it does not know has none."""
        return self._of(self._items, ids)

    def queries(self, rows: pl.DataFrame) -> Taught:
        """Of the queries of pairs, see `pairs.COLUMNS`."""
        is_product = rows["query_item_id"].is_not_null().to_numpy()
        found = self._of(self._queries, rows["search_id"].to_numpy())
        of_products = self._of(self._items, rows["query_item_id"].fill_null(-1).to_numpy())
        chosen = torch.from_numpy(is_product).to(self._device)
        return Taught(
            torch.where(chosen[:, None], of_products.vectors, found.vectors),
            torch.where(chosen, of_products.is_there, found.is_there),
        )

    def narrowed(self, vectors: Tensor) -> Tensor:
        """The teacher's vectors in the width that is compared, unit again."""
        return vectors if self._axes is None else functional.normalize(vectors @ self._axes, dim=1)

    def _of(self, table: EmbeddingTable, ids: np.ndarray) -> Taught:
        vectors, is_there = table.lookup(ids)
        found = torch.from_numpy(np.ascontiguousarray(vectors, np.float32)).to(self._device)
        return Taught(
            functional.normalize(found, dim=1), torch.from_numpy(is_there).to(self._device)
        )


def distilled(
    teacher: Teacher,
    config: PosttrainConfig,
    batch: PairBatch,
    vectors: tuple[Tensor, Tensor],
    columns: Tensor,
) -> Tensor:
    """The weighed terms of a step, a scalar.

    Args:
        vectors: of the own queries and of the own items `(own, dim)`.
        columns: `(batch, dim)` items of the whole batch, those of other processes too; asked about are all that the teacher knows, known answers of a query too.
    """
    queries, items = vectors
    of_items = teacher.items(batch.item_ids.numpy())
    of_queries = teacher.queries(batch.own_rows)
    positives = batch.positives.to(queries.device)
    total = queries.new_zeros(())
    if config.score_distillation:
        is_taught = of_queries.is_there & of_items.is_there[positives]
        rows = is_taught.nonzero().squeeze(1)
        left_out = (~of_items.is_there).expand(len(rows), -1)
        wanted = of_queries.vectors[rows] @ of_items.vectors.T
        total = total + config.score_distillation * score_distillation(
            queries[rows],
            columns,
            wanted,
            config.distillation_temperature,
            left_out=left_out,
            positives=positives[rows],
        ) * (len(rows) / max(len(queries), 1))
    if config.vector_distillation:
        for own, taught in (
            (queries, of_queries),
            (items, Taught(of_items.vectors[positives], of_items.is_there[positives])),
        ):
            wanted = teacher.narrowed(taught.vectors[taught.is_there])
            found = functional.normalize(own[taught.is_there][:, : teacher.width], dim=1)
            share = len(found) / max(len(own), 1) / 2
            total = total + config.vector_distillation * share * vector_distillation(found, wanted)
    return total


def check_teacher(config: PosttrainConfig, teacher: str | Path | None) -> None:
    """Refuse a teacher that nothing is asked of, and weights without one.

    Raises:
        ConfigError: one of these.
    """
    asked = config.score_distillation > 0 or config.vector_distillation > 0
    if asked and teacher is None:
        raise ConfigError(
            "score_distillation and vector_distillation learn from a teacher: give --teacher, a folder of representation.embed or representation.bring with another model's vectors of this shop"
        )
    if teacher is not None and not asked:
        raise ConfigError(
            f"teacher = {teacher} changes nothing: set score_distillation or vector_distillation above 0, or leave it out"
        )


def _principal_axes(items: EmbeddingTable, width: int) -> Tensor:
    """`(dim, width)`: the directions in which the items' unit vectors are longest."""
    rows = np.linspace(0, len(items) - 1, min(len(items), AXES_FROM)).astype(np.int64)
    drawn = items.take(rows).astype(np.float64)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True).clip(1e-12)
    _, axes = np.linalg.eigh(drawn.T @ drawn)
    return torch.from_numpy(axes[:, ::-1][:, :width].astype(np.float32))
