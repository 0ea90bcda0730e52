"""Ids to rows: the one binary search in a sorted column of ids."""

import numpy as np


def rows_of(ids: np.ndarray, asked: np.ndarray, missing: int = -1) -> np.ndarray:
    """Row of each asked id, `missing` where it has none.

    Args:
        ids: `(items,)` int64, ascending and unique.
        asked: int64 of any shape.

    Returns:
        int64 of the shape of `asked`.
    """
    asked = np.asarray(asked, dtype=np.int64)
    if ids.size == 0:
        return np.full(asked.shape, missing, dtype=np.int64)
    rows = np.minimum(np.searchsorted(ids, asked), ids.size - 1)
    return np.where(ids[rows] == asked, rows, missing)
