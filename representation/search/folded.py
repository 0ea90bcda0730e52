"""A gallery whose equal vectors are searched once: a catalogue's thousand identical placeholders cost one.

Equal rows are found by a 64-bit hash of each, in one pass and little memory, then compared.
"""

import numpy as np

from representation.search.scores import ROWS_AT_ONCE, squares


class Folded:
    """A gallery as units: its distinct vectors, ascending by their lowest row.

    Attributes:
        gallery: `(items, dim)` float32.
        first: `(units,)` the lowest gallery row of each unit.
        unit: `(items,)` the unit of each row; 0 and -0 are equal.
        members, offsets: gallery rows of unit u, ascending, at `members[offsets[u]:offsets[u + 1]]`.
        longest: the largest length of a row.
    """

    def __init__(self, gallery: np.ndarray):
        self.gallery = np.ascontiguousarray(gallery, dtype=np.float32)
        self.first, self.unit = _fold(self.gallery)
        self.is_plain = len(self.first) == len(gallery)
        self.members = self.first if self.is_plain else np.argsort(self.unit, kind="stable")
        self.offsets = np.concatenate([[0], np.bincount(self.unit).cumsum()])
        self.longest = float(np.sqrt(squares(self.gallery).max()))

    def vectors(self, start: int, size: int) -> np.ndarray:
        """Of units `start` to `start + size`."""
        part = slice(start, start + size)
        return self.gallery[part] if self.is_plain else self.gallery[self.first[part]]

    def sizes(self, units: np.ndarray) -> np.ndarray:
        """How many rows each of the units stands for."""
        return self.offsets[units + 1] - self.offsets[units]

    def rows(self, units: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rows that the units stand for, ascending within each, at most so many of each; and which of `units` each belongs to."""
        sizes = self.sizes(units) if most is None else np.minimum(self.sizes(units), most)
        which = np.repeat(np.arange(len(units)), sizes)
        inside = np.arange(len(which)) - np.repeat(sizes.cumsum() - sizes, sizes)
        return self.members[self.offsets[units[which]] + inside], which


def _fold(gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest row of each distinct vector, ascending, and each row's unit."""
    starts = range(0, len(gallery), ROWS_AT_ONCE)
    hashes = np.concatenate([_hashes(gallery[at : at + ROWS_AT_ONCE]) for at in starts])
    _, first, unit = np.unique(hashes, return_index=True, return_inverse=True)
    if len(first) < len(gallery):
        parts = [slice(at, at + ROWS_AT_ONCE) for at in starts]
        if not all((gallery[part] == gallery[first[unit[part]]]).all() for part in parts):
            rows = gallery + np.float32(0)  # two vectors of one hash: once in 2^64 pairs
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
    mixed = np.einsum("id,d->i", bits, odd)
    return (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
