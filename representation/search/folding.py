"""Which rows of a gallery are equal, found by hashes in one pass and little memory."""

from collections.abc import Callable

import numpy as np

ROWS_AT_ONCE = 2048


def fold(gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest row of each distinct vector, ascending, and each row's unit; 0 and -0 are equal."""
    hashes = _by_block(gallery, _hashes)
    _, first, unit = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) < len(gallery):
        same = _by_block(
            np.arange(len(gallery)),
            lambda rows: (gallery[rows] == gallery[first[unit[rows]]]).all(axis=1),
        )
        if not same.all():  # two vectors of one hash: once in 2^64 pairs
            rows = gallery + np.float32(0)
            keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
            _, first, unit = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[unit]


def _hashes(block: np.ndarray) -> np.ndarray:
    """64 bits of each row: a sum of its float32 bit patterns, each times an odd number of its own, mixed (Steele et al. 2014)."""
    bits = (block + np.float32(0)).view(np.uint32).astype(np.uint64)  # no -0
    odd = np.random.default_rng(20261121).integers(0, 2**63, block.shape[1], np.uint64) * 2 + 1
    mixed = (bits * odd).sum(axis=1, dtype=np.uint64)
    return (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)


def squares(
    rows: np.ndarray, of: Callable[[np.ndarray], np.ndarray] = lambda block: block
) -> np.ndarray:
    """Squared lengths of rows, or of what `of` makes of a block of them, `(rows,)` float64."""

    def each(block: np.ndarray) -> np.ndarray:
        made = of(block)
        return np.einsum("id,id->i", made, made, dtype=np.float64)

    return _by_block(rows, each)


def _by_block(rows: np.ndarray, each: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.concatenate(
        [each(rows[start : start + ROWS_AT_ONCE]) for start in range(0, len(rows), ROWS_AT_ONCE)]
    )
