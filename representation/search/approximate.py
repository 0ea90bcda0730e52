"""Approximate search (IVF, HNSW) whose loss against exact search is measured, never assumed.

For galleries so large, or searches so many, that even a fast exact search is too slow. Notable choices
- An approximate number is only worth what the index finds: `found_of_exact` compares a sample of the very searches with their exact ranking, with an interval.
- What the index gives is scored again in float64 and ordered by (score, row), as exact search orders; only what it misses differs.
- faiss builds an HNSW graph in another order on every run when several threads build it; one thread is the default, so the same command gives the same bits.
- IVF (Jegou et al. 2011, the coarse quantiser alone, vectors kept whole): about 4 sqrt(items) lists, of which a 32nd is searched. HNSW: Malkov and Yashunin
  2018. The defaults are faiss's own advice, not a paper's.
- IVF moves to a GPU where faiss sees one; faiss has no HNSW for GPUs.
"""

import math
from typing import ClassVar, Literal

import faiss
import numpy as np
from pydantic import Field

from moon_rec.bounds import Count, Threads, Width
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from moon_rec.progress import say
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from representation.search.exact import gpu_resources, top_rows
from representation.search.scores import exact_scores

Index = Literal["exact", "ivf", "hnsw"]
SAMPLE = 500
"""Searches whose exact ranking is computed for comparison."""
SPARE = 16
"""Neighbours fetched beyond those needed, to order near ties."""
CHUNK = 1024
POINTS_A_LIST = 39
"""Fewest vectors a list that faiss trains without a warning."""


def _read_by(kind: str) -> CountsWhen:
    return CountsWhen(
        lambda config: config.kind == kind,
        f"only kind={kind} reads it, and kind = {{self.kind!r}}; leave it out or set kind",
    )


class IndexConfig(Config):
    """How an approximate index is made and searched."""

    kind: Literal["ivf", "hnsw"] = Field(default="ivf", description="of index")
    lists: Count | None = Field(default=None, description="IVF: lists; None: 4 sqrt(items)")
    probes: Count | None = Field(default=None, description="IVF: lists searched; None: a 32nd")
    links: int = Field(default=32, ge=2, le=1_024, description="HNSW: links a vector (M)")
    build_width: Width = Field(default=80, description="HNSW: efConstruction")
    search_width: Width = Field(default=128, description="HNSW: efSearch")
    threads: Threads = Field(default=1, description="HNSW: threads that build; 1: same bits")
    seed: int = Field(default=0, ge=0, lt=2**31 - 1, description="IVF: of the lists' centres")

    counts_when: ClassVar[Rules] = {
        **dict.fromkeys(("lists", "probes", "seed"), _read_by("ivf")),
        **dict.fromkeys(("links", "build_width", "search_width", "threads"), _read_by("hnsw")),
    }


class ApproximateIndex:
    """A gallery behind an approximate index."""

    def __init__(self, gallery: np.ndarray, config: IndexConfig | None = None) -> None:
        """
        Args:
            gallery: `(items, dim)` float32 unit rows.
        """
        self.config = config or IndexConfig()
        self.gallery = np.ascontiguousarray(gallery, dtype=np.float32)
        if not len(self.gallery):
            raise TableError("an index of no items: give at least one")
        if len(self.gallery) * self.gallery.shape[1] > 10_000_000:
            say(f"building {self.config.kind} over {len(self.gallery):,} items")
        self._index = self._ivf() if self.config.kind == "ivf" else self._hnsw()

    def top_rows(
        self,
        queries: np.ndarray,
        k: int,
        *,
        searches: np.ndarray | None = None,
        removed: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `exact.top_rows`, but for what the index misses; -1 where it found fewer than k."""
        searches = np.arange(len(queries)) if searches is None else searches
        removed = np.empty(0, dtype=np.int64) if removed is None else removed
        num_items = len(self.gallery)
        ranked = np.full((len(searches), min(k, num_items)), -1, dtype=np.int64)
        for start in range(0, len(searches), CHUNK):
            part = searches[start : start + CHUNK]
            asked = np.ascontiguousarray(queries[part], dtype=np.float32)
            owners = removed // num_items
            gone = np.searchsorted(owners, part, "right") - np.searchsorted(owners, part)
            fetch = min(ranked.shape[1] + int(gone.max()) + SPARE, num_items)
            _, rows = self._index.search(asked, fetch)  # pyright: ignore[reportCallIssue]
            search, column = np.nonzero(rows >= 0)
            rows = rows[search, column]
            kept = ~np.isin(part[search] * num_items + rows, removed)
            search, rows = search[kept], rows[kept]
            scores = exact_scores(asked, self.gallery, search, rows)
            order = np.lexsort((rows, -scores, search))
            search, rows = search[order], rows[order]
            place = np.arange(len(search)) - np.searchsorted(search, search)
            kept = place < ranked.shape[1]
            ranked[start + search[kept], place[kept]] = rows[kept]
        return ranked

    def found_of_exact(
        self,
        queries: np.ndarray,
        ks: list[int],
        *,
        searches: np.ndarray | None = None,
        removed: np.ndarray | None = None,
        seed: int = 0,
        sample: int = SAMPLE,
        level: float = 0.95,
    ) -> dict[int, Estimate]:
        """By k: the share of each search's exact top k that the index's top k holds, on a sample of the searches; what ties with the last is as good as it."""
        searches = np.arange(len(queries)) if searches is None else searches
        if len(searches) > sample:
            drawn = generator(seed, "found_of_exact").choice(len(searches), sample, replace=False)
            searches = searches[np.sort(drawn)]
        options = {"searches": searches, "removed": removed}
        exact = top_rows(queries, self.gallery, max(ks), **options)
        found = self.top_rows(queries, max(ks), **options)
        shares = {}
        for k in ks:
            width = min(k, exact.shape[1])
            held = self._as_good(queries[searches], exact[:, :width], found[:, :width])
            definition = f"mean over {len(searches):,} searches of the share of the exact top {k} that the top {k} of {self.name} hold"
            shares[k] = mean_share(held, level, definition)
        return shares

    def _as_good(self, queries: np.ndarray, exact: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Share of each search's `exact` rows for which `found` has one that scores no less than their last, `(searches,)`; -1 is no row."""
        num_exact = (exact >= 0).sum(axis=1)
        last = exact_scores(
            queries,
            self.gallery,
            np.arange(len(exact)),
            exact[np.arange(len(exact)), num_exact - 1],
        )
        search, column = np.nonzero(found >= 0)
        scores = exact_scores(queries, self.gallery, search, found[search, column])
        good = np.bincount(search[scores >= last[search]], minlength=len(exact))
        return np.where(num_exact > 0, good / np.maximum(num_exact, 1), 1.0)

    @property
    def name(self) -> str:
        """The index with what decides its loss."""
        if self.config.kind == "ivf":
            return f"IVF ({self.num_lists:,} lists, {self.num_probes:,} searched)"
        return f"HNSW (M {self.config.links}, efSearch {self.config.search_width})"

    def _ivf(self):
        count, dim = self.gallery.shape
        lists = self.config.lists or round(4 * math.sqrt(count))
        self.num_lists = max(1, min(lists, count // POINTS_A_LIST))
        probes = self.config.probes or max(8, self.num_lists // 32)
        self.num_probes = min(probes, self.num_lists)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(dim), dim, self.num_lists, faiss.METRIC_INNER_PRODUCT
        )
        index.cp.seed = self.config.seed + 1
        index.nprobe = self.num_probes  # goes along to a GPU
        if faiss.get_num_gpus():
            index = faiss.index_cpu_to_gpu(gpu_resources(), 0, index)
        index.train(self.gallery)  # pyright: ignore[reportCallIssue]
        index.add(self.gallery)  # pyright: ignore[reportCallIssue]
        return index

    def _hnsw(self):
        index = faiss.IndexHNSWFlat(
            self.gallery.shape[1], self.config.links, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction = self.config.build_width
        index.hnsw.efSearch = self.config.search_width
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(self.config.threads)
        try:
            index.add(self.gallery)  # pyright: ignore[reportCallIssue]
        finally:
            faiss.omp_set_num_threads(before)
        return index
