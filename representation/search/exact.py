"""The k nearest of a gallery by inner product, exactly, ties to the lower row, in bounded memory.

Notable choices:
- faiss's flat search, on a GPU where it sees one, gives more neighbours than are needed, by float32 products. Such a product is off by a bounded amount (`scores`), so
  whatever lies further below the last needed one than two of them can err is not among the best. Of the others those that lie nearer than that to each other are scored
  again in float64 and sorted by (score, row). So the ranking is that of float64, whatever machine, block or library made the products.
- A search for which more vectors may be among the best than were fetched (hundreds within 1e-5 of its k-th best) is sought again with many times as many to spare,
  until all are there. Slower, as exact, as bounded.
- Equal gallery vectors are searched once and unfolded in row order (`folded`).
- Few searches at once where each needs many neighbours; blocks of the gallery against them.
"""

import contextlib
from functools import cache

import faiss
import numpy as np
import torch

from moon_rec.progress import Bar, progress
from representation.search.folded import Folded
from representation.search.scores import exact_scores, margin

INNER = faiss.METRIC_INNER_PRODUCT
MOST_ON_GPU = 2048
"""Most neighbours that faiss gives from a GPU."""
SPARE = 16
"""Neighbours fetched beyond those needed, to see near ties."""
MORE = 32
"""How many times as many are to spare where these were too few."""
UNITS_AT_ONCE = 65_536
"""Distinct vectors of a block."""
SEARCHES_AT_ONCE = 1024
CELLS_AT_ONCE = 2_000_000
"""Most neighbours held at once."""
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
    num_products = len(searches) * len(folded.first) * gallery.shape[1]
    with contextlib.ExitStack() as shown, _faiss_settings():
        bar = None
        if num_products > SLOW_PRODUCTS:
            name = f"ranking {len(gallery):,} items for {len(searches):,} searches"
            bar = shown.enter_context(progress(name, len(searches)))
        _rank(folded, queries, searches, removed, np.arange(len(searches)), SPARE, ranked, bar)
    return ranked


def _rank(
    folded: Folded,
    queries: np.ndarray,
    searches: np.ndarray,
    removed: np.ndarray,
    which: np.ndarray,
    spare: int,
    ranked: np.ndarray,
    bar: Bar | None = None,
) -> None:
    """Fill `ranked` at `which` of the searches, as many at once as there is room for."""
    num_items, num_units = len(folded.gallery), len(folded.first)
    at = searches[which] * num_items
    needed = np.searchsorted(removed, at + num_items) - np.searchsorted(removed, at)
    needed += ranked.shape[1]
    most = min(int(needed.max()) + spare, num_units)
    step = max(1, min(SEARCHES_AT_ONCE, CELLS_AT_ONCE // most))
    left = []
    for start in range(0, len(which), step):
        part = which[start : start + step]
        need = int(needed[start : start + step].max())
        fetched = min(need + spare, num_units)
        asked = np.ascontiguousarray(queries[searches[part]], dtype=np.float32)
        scores, units = _fetch(folded, asked, fetched)
        near = margin(asked, folded.longest)
        floor = scores[:, min(need, num_units) - 1] - near
        is_left = (scores[:, -1] >= floor) & (fetched < num_units)
        left.append(part[is_left])
        is_among = (scores >= floor[:, None]) & ~is_left[:, None]
        search, rows = _in_order(folded, asked, scores, units, is_among, near, need)
        if len(removed):
            keys = searches[part[search]] * num_items + rows
            at = np.minimum(np.searchsorted(removed, keys), len(removed) - 1)
            search, rows = search[removed[at] != keys], rows[removed[at] != keys]
        place = np.arange(len(search)) - np.searchsorted(search, search)
        kept = place < ranked.shape[1]
        ranked[part[search[kept]], place[kept]] = rows[kept]
        if bar is not None:
            bar.advance(len(part))
    again = np.concatenate(left)
    if again.size:
        _rank(folded, queries, searches, removed, again, spare * MORE, ranked)


def _fetch(folded: Folded, asked: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest units of each query by float32 products, best first: scores and units `(queries, count)`."""
    scores = np.empty((len(asked), 0), np.float32)
    units = np.empty((len(asked), 0), np.int64)
    for start in range(0, len(folded.first), UNITS_AT_ONCE):
        found, places = _nearest(asked, folded.vectors(start, UNITS_AT_ONCE), count)
        scores, units = np.hstack([scores, found]), np.hstack([units, places + start])
        if start:
            order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
            scores, units = (np.take_along_axis(each, order, axis=1) for each in (scores, units))
    return scores, units


def _nearest(asked: np.ndarray, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """faiss's flat search: scores and places `(queries, at most count)`, best first."""
    count = min(count, len(vectors))
    if count <= MOST_ON_GPU and faiss.get_num_gpus():
        return faiss.knn_gpu(gpu_resources(), asked, vectors, count, metric=INNER)
    return faiss.knn(asked, vectors, count, metric=INNER)


def _in_order(
    folded: Folded,
    asked: np.ndarray,
    scores: np.ndarray,
    units: np.ndarray,
    is_among: np.ndarray,
    near: np.ndarray,
    need: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Searches, ascending, and gallery rows of what may be among the best, each search's in the order of float64, ties by lower row."""
    # a gap beyond the margin is no rounding: float64 orders the two alike
    is_close = is_among[:, 1:] & (scores[:, :-1] - scores[:, 1:] <= near[:, None])
    again = np.zeros(is_among.shape, dtype=bool)
    again[:, 1:] |= is_close
    again[:, :-1] |= is_close
    search, column = np.nonzero(is_among)
    unit, close = units[search, column], again[search, column]
    exact = np.zeros(len(unit))
    exact[close] = exact_scores(asked, folded.gallery, search[close], folded.first[unit[close]])
    rows, of = (unit, slice(None)) if folded.is_plain else folded.rows(unit, need)
    search, close, exact = search[of], close[of], exact[of]
    # close ones change places among themselves, for they stand together
    at = np.flatnonzero(close)
    rows[at] = rows[at[np.lexsort((rows[at], -exact[at], search[at]))]]
    return search, rows


@cache
def gpu_resources():
    """faiss's memory and streams on the first GPU, once for the process: made for each search they cost more than a small one."""
    return faiss.StandardGpuResources()


@contextlib.contextmanager
def _faiss_settings():
    """faiss with as many threads as torch was given, and BLAS for products of any size: by itself it leaves those of few searches to a loop that is four times as slow."""
    threads, threshold = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(torch.get_num_threads())
    faiss.cvar.distance_compute_blas_threshold = 1
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = threshold
