"""The k nearest of a gallery by inner product, exactly, ties to the lower row, in bounded memory.

Notable choices:
- faiss `IndexFlatIP` does the search. Alone it lists the *higher* of two tied rows first, and which of the rows tied at the k-th place it keeps depends
  on the order they came in (faiss 1.15.1, checked). So equal gallery vectors are searched once and unfolded in row order; what faiss returns is scored
  again in float64 and sorted by (score, row); and where the cut lies among near ties, more vectors are fetched, up to `WIDEST`. A near tie of
  more than `WIDEST` different vectors at the cut is left as faiss has it: the same on every run, its order unspecified.
- Searches are taken in chunks: memory is bounded by chunk * (vectors fetched) * dim, never searches * items.
"""

from collections.abc import Iterable

import faiss
import numpy as np

from moon_rec.progress import track

CHUNK_SEARCHES = 1024
"""Searches ranked at once."""
CHUNK_FLOATS = 8_000_000
"""Most float64 of fetched vectors scored again at once: 64 MB."""
SLOW_PRODUCTS = 40_000_000_000
"""Multiplications above which progress is shown: about two seconds of one core."""
SPARE = 16
"""Vectors asked of faiss beyond those needed, to see near ties at the cut."""
WIDEST = 1024
"""Most vectors fetched to settle a near tie at the cut."""
NEAR = 2e-6
"""Float32 inner products of unit vectors closer than this may be in the wrong order."""


def top_rows(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    *,
    searches: np.ndarray | None = None,
    removed: np.ndarray | None = None,
) -> np.ndarray:
    """The k nearest gallery rows of each search, nearest first, ties by lower row.

    Args:
        queries, gallery: `(searches, dim)` and `(items, dim)` float32 unit rows (`search_recall` checks them).
        searches: ascending rows of `queries` to rank; all by default.
        removed: ascending keys `search * items + row` of gallery rows taken out of that search's ranking.

    Returns:
        int64 `(len(searches), min(k, items))`; -1 where a search has fewer rows left.
    """
    searches = np.arange(len(queries)) if searches is None else searches
    removed = np.empty(0, dtype=np.int64) if removed is None else removed
    ranked = np.full((len(searches), min(k, len(gallery))), -1, dtype=np.int64)
    if not ranked.size:
        return ranked
    folded = _Folded(gallery)
    starts: Iterable[int] = range(0, len(searches), CHUNK_SEARCHES)
    if len(searches) * len(folded.first) * gallery.shape[1] > SLOW_PRODUCTS:
        starts = track(starts, f"ranking {len(gallery):,} items for {len(searches):,} searches")
    for start in starts:
        rows = searches[start : start + CHUNK_SEARCHES]
        bounds = np.searchsorted(removed, [rows[0] * len(gallery), (rows[-1] + 1) * len(gallery)])
        gone = removed[bounds[0] : bounds[1]]
        ranked[start : start + len(rows)] = folded.rank(queries[rows], rows, ranked.shape[1], gone)
    return ranked


class _Folded:
    """A gallery whose equal vectors are held once.

    Attributes:
        first: `(units,)` a gallery row of each distinct vector; units are ordered by their bytes, so that faiss sees the same index whatever the gallery's
            order.
        members, offsets: gallery rows of unit u, ascending, at `members[offsets[u]:offsets[u + 1]]`.
    """

    def __init__(self, gallery: np.ndarray):
        self.gallery = np.ascontiguousarray(gallery, dtype=np.float32) + np.float32(0)  # no -0
        self.num_items, dim = self.gallery.shape
        keys = self.gallery.view(np.dtype((np.void, self.gallery.itemsize * dim)))[:, 0]
        _, self.first, unit = np.unique(keys, return_index=True, return_inverse=True)
        self.members = np.argsort(unit, kind="stable")
        self.offsets = np.concatenate([[0], np.bincount(unit).cumsum()])
        self.index = faiss.IndexFlatIP(dim)
        self.index.add(self.gallery[self.first])  # pyright: ignore[reportCallIssue]

    def rank(
        self, queries: np.ndarray, searches: np.ndarray, k: int, removed: np.ndarray
    ) -> np.ndarray:
        """Rows `(searches, k)` of a chunk; `searches` numbers it as in the keys of `removed`."""
        most_removed = np.bincount(removed // self.num_items - searches[0]).max(initial=0)
        need = k + int(most_removed)
        ranked = np.full((len(searches), k), -1, dtype=np.int64)
        fetch = min(need + SPARE, len(self.first))
        scores, units = self._search(queries, fetch)
        unsettled = np.zeros(len(searches), dtype=bool)
        if fetch < len(self.first):
            unsettled = scores[:, need - 1] - scores[:, -1] <= NEAR
        settled = np.flatnonzero(~unsettled)
        self._place(ranked, settled, queries, units[settled], searches, need, removed)
        again = np.flatnonzero(unsettled)
        if again.size:
            _, wider = self._search(queries[again], min(max(WIDEST, fetch), len(self.first)))
            self._place(ranked, again, queries, wider, searches, need, removed)
        return ranked

    def _search(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        return self.index.search(queries, count)  # pyright: ignore[reportCallIssue]

    def _place(
        self,
        ranked: np.ndarray,
        at: np.ndarray,
        queries: np.ndarray,
        units: np.ndarray,
        searches: np.ndarray,
        need: int,
        removed: np.ndarray,
    ) -> None:
        """Fill `ranked[at]` from the units fetched for those searches, `(len(at), fetched)`."""
        step = max(1, CHUNK_FLOATS // (units.shape[1] * self.gallery.shape[1]))
        for start in range(0, len(at), step):
            part = at[start : start + step]
            scores = self._exact(queries[part], units[start : start + step])
            search, rows, scores = self._unfold(units[start : start + step], scores, need)
            kept = ~np.isin(searches[part][search] * self.num_items + rows, removed)
            search, rows, scores = search[kept], rows[kept], scores[kept]
            order = np.lexsort((rows, -scores, search))
            search, rows = search[order], rows[order]
            place = np.arange(len(search)) - np.searchsorted(search, search)
            kept = place < ranked.shape[1]
            ranked[part[search[kept]], place[kept]] = rows[kept]

    def _exact(self, queries: np.ndarray, units: np.ndarray) -> np.ndarray:
        fetched = self.gallery[self.first[units]].astype(np.float64)
        fetched *= queries[:, None, :]
        return fetched.sum(axis=2)

    def _unfold(
        self, units: np.ndarray, scores: np.ndarray, need: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Search, gallery row and score of every member of the units, at most `need` members of each."""
        flat = units.ravel()
        sizes = np.minimum(self.offsets[flat + 1] - self.offsets[flat], need)
        inside = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        rows = self.members[np.repeat(self.offsets[flat], sizes) + inside]
        search = np.repeat(np.repeat(np.arange(len(units)), units.shape[1]), sizes)
        return search, rows, np.repeat(scores.ravel(), sizes)
