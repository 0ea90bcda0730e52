"""Frozen vectors by catalogue row: gathered for a batch from a memory-mapped EmbeddingTable.

Notable choices
- **Nothing is read before it is needed, and nothing is kept.** A store holds one number a catalogue row (which
  row of the table it is); vectors stay in the table's map, whose pages the system keeps or drops. So a table
  larger than memory works, and one that fits is as fast as a copy of it would be.
- **Batches carry the stored precision.** A float16 or int8 batch is a half or a quarter of the bytes to gather
  and to move; the device makes float32 unit vectors of it (`unit_vectors`), so an inner product is a cosine.
  The scale of an int8 row cancels in its unit vector and is not read at all.
- A missing vector is told apart by a mask; its row reads as zeros only so that tensors have a shape. A vector
  of length zero has no direction: it is missing too, found out when its row is first asked for.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError, TableError
from moon_rec.vector_pairs import check_ids
from ranking.features import Catalogue, RankingTables

ABSENT, PRESENT, UNREAD = 0, 1, 2
LOOKUP_ROWS = 1 << 20


class ContentStore:
    """The vectors of one catalogue's rows.

    Args:
        table: frozen vectors by id.
        catalogue: whose ids the rows are; its `nothing` row has no vector.
    """

    def __init__(self, table: EmbeddingTable, catalogue: Catalogue):
        # a plain view: numpy gathers from a memmap object several times slower
        self._vectors, self.dim = np.asarray(table.vectors), table.dim
        self._table_rows = np.zeros(catalogue.nothing + 1, dtype=np.int32)
        self._state = np.full(catalogue.nothing + 1, ABSENT, dtype=np.uint8)
        for start in range(0, catalogue.nothing, LOOKUP_ROWS):
            rows = table.rows(catalogue.ids[start : start + LOOKUP_ROWS])
            piece = slice(start, start + rows.size)
            self._table_rows[piece] = np.maximum(rows, 0)
            self._state[piece][rows >= 0] = UNREAD

    @property
    def num_present(self) -> int:
        """Catalogue rows whose id is in the table."""
        return int(np.count_nonzero(self._state))

    def gather(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Vectors in stored precision `rows.shape + (dim,)`, zeros where absent, and presence `rows.shape`."""
        vectors, present = self.read(rows.reshape(-1))
        shaped = torch.from_numpy(vectors).view(*rows.shape, self.dim)
        return shaped, torch.from_numpy(present).view(rows.shape)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `gather`, for `rows` of one dimension, as arrays."""
        state = self._state[rows]
        if len(self._vectors) == 0:
            return np.zeros((rows.size, self.dim), self._vectors.dtype), state == PRESENT
        vectors = np.take(self._vectors, self._table_rows[rows], axis=0)
        unread = np.flatnonzero(state == UNREAD)
        if unread.size:
            state[unread] = vectors[unread].any(axis=1)
            self._state[rows[unread]] = state[unread]
        present = state == PRESENT
        vectors[~present] = 0
        return vectors, present


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
    ) -> "ContentStores":
        """Stores of both catalogues.

        Raises:
            RankingError: tables that do not go with the shop's ids or with each other, see `vector_pairs`.
        """
        try:
            check_ids(tables.items.ids, tables.queries.ids, items, queries)
        except TableError as error:
            raise RankingError(str(error)) from None
        item_store = ContentStore(items, tables.items)
        if queries is None or not tables.has_searches:
            return cls(item_store, None)
        return cls(item_store, ContentStore(queries, tables.queries))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.items.dim
