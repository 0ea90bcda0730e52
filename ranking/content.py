"""Frozen vectors by catalogue row: gathered for a batch from a memory-mapped EmbeddingTable.

Notable choices
- A missing vector is told apart by a mask; its row reads as zeros only so that tensors have a shape.
- Vectors are brought to unit length, so an inner product is a cosine.
- A table that fits `preload_bytes` is read once as float32; a larger one is read row by row from its
  map, each row once a batch. Both give the same bits.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.features import Catalogue, RankingTables

PRELOAD_BYTES = 2 * 1024**3


class ContentStore:
    """Unit vectors of one catalogue's rows.

    Args:
        table: frozen vectors by id.
        catalogue: whose ids the rows are; its `nothing` row has no vector.
        preload_bytes: up to this size the vectors are held in memory as float32.
    """

    def __init__(
        self, table: EmbeddingTable, catalogue: Catalogue, preload_bytes: int = PRELOAD_BYTES
    ):
        self._table, self.dim = table, table.dim
        self._table_rows = np.append(table.rows(catalogue.ids), -1)
        present = self._table_rows >= 0
        if present.any():
            zero = _lengths(table, self._table_rows[present]) == 0
            self._table_rows[np.flatnonzero(present)[zero]] = -1
        self._present = torch.from_numpy(self._table_rows >= 0)
        size = 4 * self._table_rows.size * self.dim
        self._vectors = self._read(self._table_rows) if size <= preload_bytes else None

    @property
    def num_present(self) -> int:
        """Catalogue rows that have a vector."""
        return int(self._present.sum())

    def gather(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Vectors float32 `rows.shape + (dim,)` of unit length, and presence `rows.shape`."""
        flat = torch.from_numpy(np.ascontiguousarray(rows).reshape(-1))
        if self._vectors is not None:
            vectors = self._vectors.index_select(0, flat)
        else:
            distinct, place = np.unique(rows, return_inverse=True)
            vectors = self._read(self._table_rows[distinct])[torch.from_numpy(place.reshape(-1))]
        present = self._present.index_select(0, flat)
        return vectors.reshape(*rows.shape, self.dim), present.reshape(rows.shape)

    def _read(self, table_rows: np.ndarray) -> Tensor:
        vectors = np.zeros((table_rows.size, self.dim), dtype=np.float32)
        present = table_rows >= 0
        if present.any():
            found = self._table.take(table_rows[present])
            vectors[present] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return torch.from_numpy(vectors)


def _lengths(table: EmbeddingTable, rows: np.ndarray, step: int = 65_536) -> np.ndarray:
    pieces = [rows[start : start + step] for start in range(0, rows.size, step)]
    return np.concatenate([np.linalg.norm(table.take(piece), axis=1) for piece in pieces])


@dataclass(frozen=True)
class ContentStores:
    """The vectors of items, and of queries where the shop has searches.

    `item_codes` are semantic ids by catalogue row, `code_0, ...` -> `(items + 1,)` int64 with 0 for an item
    without a vector; empty where the ranker reads none. `in_batches`: whether batches hold the vectors.
    """

    items: ContentStore
    queries: ContentStore | None
    item_codes: dict[str, np.ndarray] = field(default_factory=dict)
    in_batches: bool = True

    @classmethod
    def of(
        cls,
        tables: RankingTables,
        items: EmbeddingTable,
        queries: EmbeddingTable | None,
        preload_bytes: int = PRELOAD_BYTES,
    ) -> "ContentStores":
        """Stores of both catalogues.

        Raises:
            RankingError: no item of the shop has a vector, or the two tables differ in dim.
        """
        item_store = ContentStore(items, tables.items, preload_bytes)
        if item_store.num_present == 0:
            raise RankingError(
                f"none of the shop's {tables.items.ids.size} items is in the embedding table of "
                f"{len(items)} ids; pass the table of this shop's items"
            )
        if queries is None or not tables.has_searches:
            return cls(item_store, None)
        if queries.dim != items.dim:
            raise RankingError(
                f"item vectors have dim {items.dim}, query vectors {queries.dim}; "
                "cosines need both from one encoder and width"
            )
        return cls(item_store, ContentStore(queries, tables.queries, preload_bytes))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.items.dim
