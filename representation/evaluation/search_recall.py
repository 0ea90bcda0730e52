"""Recall of searches over a whole gallery, with intervals over searches.

Given unit vectors of searches and of a gallery, and for each search the gallery rows that its searcher engaged with after it:
- `value[k]` (hit recall; what this project calls search recall@k): share of searches whose top k hold at least one of those rows;
- `share_of_relevant[k]`: mean over searches of |top k and relevant| / |relevant| (textbook recall@k);
- `precision[k]`: mean over searches of |top k and relevant| / k.
MOON's own image-search recall is not published, hence all three (docs/design.md, "Definitions").

Notable choices:
- Exact, and ties go to the lower gallery row: see `exact_ranking`. With an approximate index, `of_exact` says what share of the exact ranking it finds.
- Searches with nothing to find are left out and counted (`num_left_out`), scored neither as misses nor as hits.
- What a search has to find and the gallery lacks (`num_missing`) is never found.
- A k beyond the gallery ranks the whole gallery; precision still divides by k.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from moon_rec.bootstrap import bootstrap_mean
from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from representation.evaluation.approximate import ApproximateIndex
from representation.evaluation.exact_ranking import top_rows

UNIT_TOLERANCE = 0.02
"""How far a norm may be from 1: rounding to int8 moves it by less."""

DEFINITIONS = {
    "hit": "share of searches whose top {k} of the gallery hold at least one item engaged with",
    "share_of_relevant": "mean over searches of the share of the items engaged with that the top {k} of the gallery hold",
    "precision": "mean over searches of the share of the top {k} of the gallery that was engaged with",
}

Rows = Any
"""For each search its gallery rows: a sequence of integer sequences, or a SciPy CSR matrix `(searches, items)`."""


@dataclass(frozen=True)
class RecallResult:
    """What `search_recall` found.

    Attributes:
        hit, share_of_relevant, precision: an estimate by k of each reading; `value`, `low` and `high` are the parts of `hit`.
        count: searches measured.
        num_left_out: searches with nothing to find, left out.
        searches: `(count,)` int64, which rows of `queries` were measured.
        hits: `(count, len(ks))` booleans, whether each search hit by each k: for comparisons in pairs and by segment.
        of_exact: by k, what share of the exact ranking the index found, on a sample of the searches; empty where the search was exact.
    """

    hit: dict[int, Estimate]
    share_of_relevant: dict[int, Estimate]
    precision: dict[int, Estimate]
    count: int
    num_left_out: int
    searches: np.ndarray = field(repr=False)
    hits: np.ndarray = field(repr=False)
    of_exact: dict[int, Estimate] = field(default_factory=dict)

    @property
    def value(self) -> dict[int, float]:
        """Hit recall by k."""
        return {k: estimate.value for k, estimate in self.hit.items()}

    @property
    def low(self) -> dict[int, float]:
        """Lower ends of the intervals of `value`."""
        return {k: estimate.low for k, estimate in self.hit.items()}

    @property
    def high(self) -> dict[int, float]:
        """Upper ends of the intervals of `value`."""
        return {k: estimate.high for k, estimate in self.hit.items()}


def search_recall(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Rows,
    ks: Sequence[int] = (1, 5, 10, 50),
    *,
    num_missing: np.ndarray | None = None,
    excluded: Rows | None = None,
    index: ApproximateIndex | None = None,
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
) -> RecallResult:
    """Recall of searches over a gallery; the module's docstring says what is measured.

    Args:
        queries: `(searches, dim)` unit vectors.
        gallery: `(items, dim)` unit vectors.
        relevant: for each search the gallery rows engaged with, in any order; a row named twice counts once.
        ks: cuts, at least 1 each; results come in ascending order.
        num_missing: `(searches,)` how many items engaged with are not in the gallery at all: to be found, and never found. None: none.
        excluded: for each search the gallery rows taken out of its ranking and out of what it has to find: the query's own picture.
        index: made of this gallery, to search approximately; None searches exactly.
        seed, num_resamples, level: of the percentile bootstrap over searches.

    Raises:
        TableError: shapes that do not fit, vectors that are not finite or not of unit length, gallery rows out of range, a k below 1.
    """
    queries, gallery = _unit_rows(queries, "queries"), _unit_rows(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise TableError(
            f"queries have dim {queries.shape[1]}, the gallery {gallery.shape[1]}; embed both with one encoder"
        )
    cuts = sorted({int(k) for k in ks})
    if not cuts or cuts[0] < 1:
        raise TableError(f"ks is {tuple(ks)}; name at least one cut, each 1 or more")
    shape = (len(queries), len(gallery))
    wanted = _keys(relevant, shape, "relevant")
    if excluded is not None:
        removed = _keys(excluded, shape, "excluded")
        wanted = np.setdiff1d(wanted, removed, assume_unique=True)
    else:
        removed = None
    searches, num_relevant = _to_find(wanted, shape, num_missing)
    found = _found(queries, gallery, searches, wanted, removed, cuts, index)
    of_exact: dict[int, Estimate] = {}
    if index is not None and searches.size:
        given = {"searches": searches, "removed": removed, "seed": seed}
        of_exact = index.found_of_exact(queries, cuts, **given, num_resamples=num_resamples)
    readings = {
        "hit": found > 0,
        "share_of_relevant": found / num_relevant[:, None],
        "precision": found / np.array(cuts),
    }
    estimates = {
        name: {
            k: bootstrap_mean(
                values[:, at], seed, num_resamples, level, DEFINITIONS[name].format(k=k)
            )
            for at, k in enumerate(cuts)
        }
        for name, values in readings.items()
    }
    return RecallResult(
        **estimates,
        count=len(searches),
        num_left_out=shape[0] - len(searches),
        searches=searches,
        hits=found > 0,
        of_exact=of_exact,
    )


def _found(
    queries: np.ndarray,
    gallery: np.ndarray,
    searches: np.ndarray,
    wanted: np.ndarray,
    removed: np.ndarray | None,
    cuts: list[int],
    index: ApproximateIndex | None,
) -> np.ndarray:
    """How much the searches found by each cut, `(searches, cuts)`."""
    num_items = len(gallery)
    if not searches.size or not num_items:
        return np.zeros((searches.size, len(cuts)))
    if index is None:
        ranked = top_rows(queries, gallery, cuts[-1], searches=searches, removed=removed)
    else:
        ranked = index.top_rows(queries, cuts[-1], searches=searches, removed=removed)
    is_relevant = np.isin(searches[:, None] * num_items + ranked, wanted) & (ranked >= 0)
    last = np.minimum(cuts, ranked.shape[1]) - 1
    return is_relevant.cumsum(axis=1)[:, last]


def _to_find(
    wanted: np.ndarray, shape: tuple[int, int], num_missing: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Searches with something to find, and how much, in the gallery or not."""
    counts = np.bincount(wanted // max(shape[1], 1), minlength=shape[0])
    if num_missing is not None:
        if len(num_missing) != shape[0]:
            raise TableError(
                f"num_missing has {len(num_missing)} entries for {shape[0]} queries; give one each"
            )
        counts = counts + num_missing
    searches = np.flatnonzero(counts)
    return searches, counts[searches]


def _unit_rows(vectors: np.ndarray, name: str) -> np.ndarray:
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[1] == 0 or not np.issubdtype(vectors.dtype, np.floating):
        raise TableError(
            f"{name} must be a float array (rows, dim), got {vectors.dtype} of shape {vectors.shape}"
        )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("id,id->i", vectors, vectors))  # no copy of a large gallery
    if not np.isfinite(norms).all():
        row = int(np.flatnonzero(~np.isfinite(norms))[0])
        raise TableError(f"{name} row {row} holds NaN or infinity; leave that row out")
    off = np.abs(norms - 1) > UNIT_TOLERANCE
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise TableError(
            f"{name} row {row} has length {norms[row]:.4g}, wanted 1; divide each row by its norm"
        )
    return vectors


def _keys(rows: Rows, shape: tuple[int, int], name: str) -> np.ndarray:
    """Ascending unique keys `search * items + row` of what `rows` names."""
    if hasattr(rows, "indptr"):
        lengths, flat = np.diff(rows.indptr), np.asarray(rows.indices)
    else:
        parts = [np.asarray(part).ravel() for part in rows]
        lengths = np.array([part.size for part in parts], dtype=np.int64)
        parts = [part for part in parts if part.size]
        flat = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    if len(lengths) != shape[0]:
        raise TableError(f"{name} has {len(lengths)} entries for {shape[0]} queries; give one each")
    if not np.issubdtype(flat.dtype, np.integer):
        raise TableError(f"{name} must hold integer gallery rows, got {flat.dtype}")
    flat = flat.astype(np.int64)
    searches = np.repeat(np.arange(shape[0]), lengths)
    outside = (flat < 0) | (flat >= shape[1])
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        raise TableError(
            f"{name} of query {searches[at]} names gallery row {flat[at]}, outside 0..{shape[1] - 1}"
        )
    return np.unique(searches * shape[1] + flat)
