"""Semantic ids of a catalogue: codes fitted on the items of the train rows, given to every item with a vector.

A new item gets the codes of its vector without any training; an item without a vector has code 0 at every
level. Only the items of train impressions are clustered, so nothing after the cut shapes the codes.
"""

import numpy as np

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.config import RankerConfig
from ranking.content.semantic_ids import SemanticIds
from ranking.features import RankingTables

ROWS_AT_ONCE = 65_536


def fit_semantic_ids(
    tables: RankingTables, items: EmbeddingTable, config: RankerConfig
) -> SemanticIds:
    """Cluster the vectors of the items that train impressions show.

    Raises:
        RankingError: none of them has a vector.
    """
    rows = items.rows(tables.items.ids[tables.items.features["item"][:-1] > 0])
    rows = rows[rows >= 0]
    if rows.size == 0:
        raise RankingError(
            "semantic ids: no item of the train impressions has a vector; pass the table of this shop's items"
        )
    vectors = _unit(items.take(rows))
    return SemanticIds.fit(vectors, config.num_code_levels, config.num_codes, config.seed)


def item_codes(
    tables: RankingTables, items: EmbeddingTable, semantic_ids: SemanticIds
) -> dict[str, np.ndarray]:
    """`code_0, ...` -> `(items + 1,)` int64 by catalogue row, 0 where there is no vector."""
    rows = np.append(items.rows(tables.items.ids), -1)
    codes = np.zeros((rows.size, semantic_ids.num_levels), dtype=np.int64)
    present = np.flatnonzero(rows >= 0)
    for start in range(0, present.size, ROWS_AT_ONCE):
        chosen = present[start : start + ROWS_AT_ONCE]
        codes[chosen] = semantic_ids.encode(_unit(items.take(rows[chosen])))
    return {f"code_{level}": codes[:, level].copy() for level in range(semantic_ids.num_levels)}


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(norms, np.finfo(np.float32).tiny)
