"""The k nearest of a gallery by inner product, exactly, ties to the lower row, in bounded memory.

Notable choices:
- Quick products say which vectors may be among the best, with a proven margin (`contenders`): in bfloat16 where the processor multiplies it, then, of what these
  leave, in float32. Where two of them lie nearer than float32's margin, they are scored again in float64 and sorted by (score, row). So the ranking is that of
  float64, whatever machine, block or library made the products.
- Equal gallery vectors are searched once and unfolded in row order: a catalogue's thousand identical placeholders cost one. They are found by a 64-bit hash
  of each row, then compared.
- A search with too many contenders (hundreds of different vectors within 1e-5 of its k-th best) is crowded: its contenders are scored in float64 block by
  block and only the best kept. Slower, as exact, as bounded.
- Where faiss sees a GPU its flat index finds the contenders instead (`gpu_contenders`); the rest is the same.
- Each thread ranks searches of its own: none waits for another, which on a machine that is shared costs more than the work (threads that wait, spin).
- Searches are taken in chunks; memory beside the arguments is, a thread, a chunk's scores against few blocks, and its contenders.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from moon_rec.progress import Bar, progress
from representation.search.bfloat16_contenders import bfloat16_contenders, pays
from representation.search.block_scores import (
    Float32Scores,
    exact_scores,
    margin,
    multiplies_bfloat16,
    products,
    rounded_off,
)
from representation.search.contenders import BLOCK, Contenders, find_contenders
from representation.search.folding import fold, squares
from representation.search.gpu_contenders import MOST, gpu_contenders, gpu_index

CHUNK_SEARCHES = 1024
"""Searches ranked at once."""
FEWEST_SEARCHES = 64
"""Searches that a thread of its own is worth."""
MOST_WORKERS = 16
"""Most searches' threads; each holds some 100 MB. Further threads share the products."""
CHUNK_CELLS = 8_000_000
"""Most contenders held at once."""
GIVE_UP = 0.3
"""Share of a chunk's searches that bfloat16 left to float32 beyond which it isn't tried again."""
SLOW_PRODUCTS = 40_000_000_000
"""Multiplications above which progress is shown: a second or two of one core."""


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
    folded = Folded(gallery)
    workers = min(torch.get_num_threads(), MOST_WORKERS, -(-len(searches) // FEWEST_SEARCHES))
    workers = 1 if folded.gpu is not None else workers  # faiss's index there takes one caller
    chunks = _chunks(searches, removed, len(gallery), ranked.shape[1], workers)
    num_products = len(searches) * len(folded.first) * gallery.shape[1]
    with contextlib.ExitStack() as shown:
        bar = None
        if num_products > SLOW_PRODUCTS:
            name = f"ranking {len(gallery):,} items for {len(searches):,} searches"
            bar = shown.enter_context(progress(name, len(searches)))
        _rank_chunks(folded, queries, chunks, ranked, workers, bar)
    return ranked


class _Chunk:
    """Searches ranked together, with the rows removed from each."""

    def __init__(self, start: int, searches: np.ndarray, removed: np.ndarray, most_removed: int):
        self.start, self.searches = start, searches
        self.removed, self.most_removed = removed, most_removed


def _chunks(
    searches: np.ndarray, removed: np.ndarray, num_items: int, k: int, workers: int
) -> list[_Chunk]:
    """Few searches at once where each needs many neighbours, and some for every worker."""
    bounds = np.searchsorted(removed, searches * num_items)
    counts = np.searchsorted(removed, (searches + 1) * num_items) - bounds
    most = int(counts.max(initial=0))
    step = min(
        CHUNK_SEARCHES, CHUNK_CELLS // min(k + most, num_items), -(-len(searches) // workers)
    )
    chunks = []
    for start in range(0, len(searches), max(1, step)):
        part = slice(start, start + max(1, step))
        last = bounds[part][-1] + counts[part][-1]
        gone = removed[bounds[start] : last]
        chunks.append(_Chunk(start, searches[part], gone, int(counts[part].max())))
    return chunks


def _rank_chunks(
    folded: "Folded",
    queries: np.ndarray,
    chunks: list[_Chunk],
    ranked: np.ndarray,
    workers: int,
    bar: Bar | None,
) -> None:
    """Fill `ranked`, each worker a chunk at a time."""
    k, threads = ranked.shape[1], torch.get_num_threads()
    block = BLOCK * max(1, workers // 4)

    def rank(chunk: _Chunk) -> int:
        asked = np.ascontiguousarray(queries[chunk.searches], dtype=np.float32)
        need = k + chunk.most_removed
        found = folded.contenders(asked, need, block)
        folded.settle(asked, chunk, found, need, ranked[chunk.start : chunk.start + len(asked)])
        return len(asked)

    # the setting is the calling thread's own, and what threads that start later begin with
    one_each = partial(torch.set_num_threads, max(1, threads // workers))
    pool = ThreadPoolExecutor(workers, initializer=one_each)
    try:
        for future in as_completed([pool.submit(rank, chunk) for chunk in chunks]):
            if bar is not None:
                bar.advance(future.result())
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


class Folded:
    """A gallery whose equal vectors are searched once.

    Attributes:
        first: `(units,)` the lowest gallery row of each distinct vector, ascending.
        members, offsets: gallery rows of unit u, ascending, at `members[offsets[u]:offsets[u + 1]]`.
        vectors: what is searched: the gallery itself, with later copies `hidden`, or where most are copies the distinct vectors.
        longest, most_rounded: largest length of a row, and of what rounding it to bfloat16 takes off; None where bfloat16 is of no use.
        gpu: faiss's index of `vectors` on a GPU, or None.
    """

    def __init__(self, gallery: np.ndarray):
        self.gallery = np.ascontiguousarray(gallery, dtype=np.float32)
        self.num_items = len(gallery)
        self.first, self.unit = fold(self.gallery)
        self.is_plain = len(self.first) == self.num_items
        self.members = self.first if self.is_plain else np.argsort(self.unit, kind="stable")
        self.offsets = np.concatenate([[0], np.bincount(self.unit).cumsum()])
        self.is_compact = len(self.first) < self.num_items / 2
        self.vectors = self.gallery[self.first] if self.is_compact else self.gallery
        is_first = np.zeros(len(self.vectors), dtype=bool)
        is_first[np.arange(len(self.vectors)) if self.is_compact else self.first] = True
        self.hidden = np.flatnonzero(~is_first)
        self.longest = float(np.sqrt(squares(self.gallery).max()))
        self.gpu = gpu_index(self.vectors)
        self.most_rounded = None
        if self.gpu is None and multiplies_bfloat16():
            self.most_rounded = float(np.sqrt(squares(self.gallery, rounded_off).max()))

    def contenders(self, queries: np.ndarray, need: int, block: int = BLOCK) -> Contenders:
        """What may be among the `need` best units of each query, by place in `vectors`."""
        in_float32 = Float32Scores(queries, self.vectors, self.longest)
        need = min(need, len(self.first))
        if self.gpu is not None and need < MOST:
            copies = 1 if self.is_compact else int(np.diff(self.offsets).max())
            return gpu_contenders(self.gpu, in_float32, need, self.hidden, copies)
        most_rounded = self.most_rounded  # another thread may give it up
        if most_rounded is None or not pays(need, len(self.vectors)):
            return find_contenders(in_float32, need, self.hidden, block)
        found, crowded = bfloat16_contenders(in_float32, most_rounded, need, self.hidden, block)
        if crowded > GIVE_UP * len(queries):
            self.most_rounded = None
        return found

    def settle(
        self,
        queries: np.ndarray,
        chunk: _Chunk,
        found: Contenders,
        need: int,
        ranked: np.ndarray,
    ) -> None:
        """Fill `ranked` `(searches, k)` from a chunk's contenders."""
        is_real = found.places >= 0
        is_real[found.is_crowded] = False
        # a gap beyond the margin is no rounding: float64 orders the two alike
        scores = np.maximum(found.scores, np.finfo(np.float32).min / 2)  # no -inf
        gaps = scores[:, :-1] - scores[:, 1:] > margin(queries, self.longest)[:, None]
        runs = np.zeros(is_real.shape, dtype=np.int64)
        runs[:, 1:] = gaps.cumsum(axis=1)
        is_near = np.zeros(is_real.shape, dtype=bool)
        is_near[:, 1:] |= ~gaps
        is_near[:, :-1] |= ~gaps
        search, column = np.nonzero(is_real)
        units = self.units(found.places[search, column])
        near = is_near[search, column]
        exact = np.zeros(len(units))
        exact[near] = self._exact(queries, search[near], units[near])
        self._place(ranked, chunk, _Pairs(search, units, runs[search, column], exact, near), need)
        crowded = np.flatnonzero(found.is_crowded)
        for start in range(0, len(crowded), 64):
            some = crowded[start : start + 64]
            pairs = self._best_of_crowded(queries, some, found.floor[some], need)
            self._place(ranked, chunk, pairs, need)

    def units(self, places: np.ndarray) -> np.ndarray:
        """The units at places of `vectors`."""
        return places if self.is_compact or self.is_plain else self.unit[places]

    def _best_of_crowded(
        self, queries: np.ndarray, which: np.ndarray, floor: np.ndarray, need: int
    ) -> "_Pairs":
        """The `need` best units of each search, whatever the number of contenders."""
        asked = np.ascontiguousarray(queries[which])
        search, units, scores = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        is_hidden = np.zeros(len(self.vectors), dtype=bool)
        is_hidden[self.hidden] = True
        for start in range(0, len(self.vectors), BLOCK):
            part = slice(start, start + BLOCK)
            reach = products(asked, self.vectors[part]).numpy() >= floor[:, None]
            at, column = np.nonzero(reach & ~is_hidden[part])
            if not at.size:
                continue
            new = self.units(column + start)
            scores = np.concatenate([scores, self._exact(queries, which[at], new)])
            search, units = np.concatenate([search, which[at]]), np.concatenate([units, new])
            order = np.lexsort((units, -scores, search))
            order = order[_places_of(search[order]) < need]
            search, units, scores = search[order], units[order], scores[order]
        one_run = np.zeros(len(search), dtype=np.int64)
        return _Pairs(search, units, one_run, scores, np.ones(len(search), dtype=bool))

    def _exact(self, queries: np.ndarray, search: np.ndarray, units: np.ndarray) -> np.ndarray:
        """Float64 scores of pairs of a query and a unit `(pairs,)`."""
        return exact_scores(queries, self.gallery, search, self.first[units])

    def _place(self, ranked: np.ndarray, chunk: _Chunk, pairs: "_Pairs", need: int) -> None:
        """Rank the units' gallery rows, without those removed."""
        pairs = self._unfold(pairs, need)
        if len(chunk.removed):
            keys = chunk.searches[pairs.search] * self.num_items + pairs.units
            at = np.minimum(np.searchsorted(chunk.removed, keys), len(chunk.removed) - 1)
            kept = chunk.removed[at] != keys
            pairs = _Pairs(*(each[kept] for each in pairs))
        search, rows = pairs.search, pairs.units.copy()
        at = np.flatnonzero(pairs.near)
        # near ones change places among themselves, for runs stand together
        order = np.lexsort((rows[at], -pairs.scores[at], pairs.runs[at], search[at]))
        rows[at] = rows[at[order]]
        place = _places_of(search)
        kept = place < ranked.shape[1]
        ranked[search[kept], place[kept]] = rows[kept]

    def _unfold(self, pairs: "_Pairs", need: int) -> "_Pairs":
        """Gallery rows for units: every member of each, at most `need`."""
        if self.is_plain:
            return pairs
        units = pairs.units
        sizes = np.minimum(self.offsets[units + 1] - self.offsets[units], need)
        inside = np.arange(sizes.sum()) - np.repeat(sizes.cumsum() - sizes, sizes)
        rows = self.members[np.repeat(self.offsets[units], sizes) + inside]
        return _Pairs(*(np.repeat(each, sizes) for each in pairs))._replace(units=rows)


class _Pairs(NamedTuple):
    """Pairs of a search and a unit (or gallery row), search by search, each search's runs best first.

    Attributes:
        runs: number of the run of float32 scores without a telling gap; of two runs the lower is better.
        scores: float64, for pairs of a run with others.
        near: whether the run has others.
    """

    search: np.ndarray
    units: np.ndarray
    runs: np.ndarray
    scores: np.ndarray
    near: np.ndarray


def _places_of(search: np.ndarray) -> np.ndarray:
    """0, 1, ... within each run of equal searches, which ascend."""
    return np.arange(len(search)) - np.searchsorted(search, search)
