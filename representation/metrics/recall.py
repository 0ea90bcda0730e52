"""Recall of searches over a whole gallery, with intervals over searches.

Given unit vectors of searches and of a gallery, and for each search the gallery rows that its searcher engaged with after it:
- `value[k]` (hit recall; what this project calls search recall@k): share of searches whose top k hold at least one of those rows;
- `share_of_relevant[k]`: mean over searches of |top k and relevant| / |relevant| (textbook recall@k);
- `precision[k]`: mean over searches of |top k and relevant| / k;
- `capped_recall[k]`: mean over searches of |top k and relevant| / min(k, |relevant|), the most that k places can hold (Thakur et al. 2021, BEIR's appendix). A search's is its
  precision up to |relevant| and its share from there on, so that alone of the recalls it may fall as k grows.
MOON's own image-search recall is not published, hence all four (docs/design.md, "Definitions"). One that falls with k, as a reader of its table saw, is a capped one or a precision.

Notable choices:
- Exact, in the order of `search.exact`; a cut inside a tie counts what a random order of the tied would give on average (`ties`), as AUC counts a tie a half. So how
  items are numbered is nothing, and an encoder that gives all items one vector has the recall of chance. Which share of searches that concerns is told.
- With an approximate index, `of_exact` says what share of the exact ranking it finds.
- Intervals: `shares`, by effective count; over users where `users` names them, for one user's searches are alike, else over searches.
- Searches with nothing to find are left out and counted (`num_left_out`), scored neither as misses nor as hits.
- What a search has to find and the gallery lacks (`num_missing`) is never found.
- A k beyond the gallery ranks the whole gallery; precision still divides by k.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from moon_rec.shares import mean_share
from representation.search.approximate import ApproximateIndex
from representation.search.exact import top_rows
from representation.search.ties import Found, expected_found

UNIT_TOLERANCE = 0.02
"""How far a norm may be from 1: rounding to int8 moves it by less."""

READINGS = {
    "recall": "share of searches{which} whose top {k} of {gallery} hold at least one item {engaged}",
    "share_of_relevant": "mean over searches{which} of the share of the items {engaged} that the top {k} of {gallery} hold",
    "precision": "mean over searches{which} of the share of the top {k} of {gallery} that was {engaged}",
    "capped_recall": "mean over searches{which} of the items {engaged} that the top {k} of {gallery} hold, over the smaller of {k} and their number; it may fall as k grows",
}
"""By the name under which it is printed."""

Rows = Any
"""For each search its gallery rows: a sequence of integer sequences, or a SciPy CSR matrix `(searches, items)`."""


@dataclass(frozen=True)
class RecallResult:
    """What `search_recall` found.

    Attributes:
        readings: an estimate by name, as in `READINGS`, and k; `value`, `low` and `high` are the parts of hit recall, `hit`.
        count: searches measured.
        num_left_out: searches with nothing to find, left out.
        searches: `(count,)` int64, which rows of `queries` were measured.
        hits: `(count, len(ks))` float64, whether each search hit by each k, between 0 and 1 where the cut falls inside a tie: for comparisons in pairs and by segment.
        of_exact: by k, what share of the exact ranking the index found, on a sample of the searches; empty where the search was exact.
        by_search: what each reading is the mean of: `(count, len(ks))` each.
    """

    readings: dict[str, dict[int, Estimate]]
    count: int
    num_left_out: int
    searches: np.ndarray = field(repr=False)
    hits: np.ndarray = field(repr=False)
    of_exact: dict[int, Estimate] = field(default_factory=dict)
    by_search: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def hit(self) -> dict[int, Estimate]:
        """Hit recall, what this project calls search recall, by k."""
        return self.readings["recall"]

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
    users: np.ndarray | None = None,
    seed: int = 0,
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
        users: `(searches,)` who searched; one user's searches may be alike, which widens the intervals. None: each search is independent.
        seed: of the sample that an index is compared on.
        level: of the intervals.

    Raises:
        TableError: shapes that do not fit, vectors that are not finite or not of unit length, gallery rows out of range, a k below 1 or not whole.
    """
    queries, gallery, cuts, searches, wanted, removed, num_relevant = prepared(
        queries, gallery, relevant, ks, num_missing, excluded, users
    )
    found = _found(queries, gallery, searches, wanted, removed, cuts, index)
    of_exact: dict[int, Estimate] = {}
    if index is not None and searches.size:
        given = {"searches": searches, "removed": removed, "seed": seed, "level": level}
        of_exact = index.found_of_exact(queries, cuts, **given)
    by_search = {
        "recall": found.hit,
        "share_of_relevant": found.relevant / num_relevant[:, None],
        "precision": found.relevant / np.array(cuts),
        "capped_recall": found.relevant / np.minimum(num_relevant[:, None], cuts),
    }
    groups = None if users is None else np.asarray(users)[searches]
    words = {"which": "", "gallery": "the gallery", "engaged": "engaged with"}
    readings: dict[str, dict[int, Estimate]] = {name: {} for name in by_search}
    for name, values in by_search.items():
        for at, k in enumerate(cuts):
            definition = READINGS[name].format(k=k, **words)
            estimate = mean_share(values[:, at], level, definition, groups=groups)
            tied = float(found.is_tied[:, at].mean()) if found.is_tied[:, at].any() else 0.0
            readings[name][k] = replace(estimate, tied=tied)
    return RecallResult(
        readings=readings,
        count=len(searches),
        num_left_out=len(queries) - len(searches),
        searches=searches,
        hits=found.hit,
        of_exact=of_exact,
        by_search=by_search,
    )


class Prepared(NamedTuple):
    """Checked arguments of a measurement.

    Attributes:
        queries, gallery: float32 unit rows.
        cuts: ascending, each once.
        searches: `(measured,)` ascending rows of `queries` with something to find.
        wanted, removed: ascending keys `search * items + row` of relevant rows, and of rows taken out of the ranking.
        num_relevant: `(measured,)` how much each has to find, in the gallery or not.
    """

    queries: np.ndarray
    gallery: np.ndarray
    cuts: list[int]
    searches: np.ndarray
    wanted: np.ndarray
    removed: np.ndarray
    num_relevant: np.ndarray


def prepared(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Rows,
    ks: Sequence[int],
    num_missing: np.ndarray | None,
    excluded: Rows | None,
    users: np.ndarray | None,
) -> Prepared:
    """The arguments of `search_recall`, checked.

    Raises:
        TableError: as there.
    """
    queries, gallery = _unit_rows(queries, "queries"), _unit_rows(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise TableError(
            f"queries have dim {queries.shape[1]}, the gallery {gallery.shape[1]}; embed both with one encoder"
        )
    cuts = _cuts(ks)
    shape = (len(queries), len(gallery))
    wanted = _keys(relevant, shape, "relevant")
    removed = np.empty(0, dtype=np.int64)
    if excluded is not None:
        removed = _keys(excluded, shape, "excluded")
        wanted = np.setdiff1d(wanted, removed, assume_unique=True)
    if users is not None and len(users) != shape[0]:
        raise TableError(f"users has {len(users)} entries for {shape[0]} queries; give one each")
    searches, num_relevant = _to_find(wanted, shape, num_missing)
    return Prepared(queries, gallery, cuts, searches, wanted, removed, num_relevant)


def _found(
    queries: np.ndarray,
    gallery: np.ndarray,
    searches: np.ndarray,
    wanted: np.ndarray,
    removed: np.ndarray,
    cuts: list[int],
    index: ApproximateIndex | None,
) -> Found:
    """What the searches found by each cut."""
    if not searches.size or not len(gallery):
        shape = (searches.size, len(cuts))
        return Found(*(np.zeros(shape, dtype) for dtype in (float, float, bool)))
    need = cuts[-1] + 1  # the next shows whether the last cut falls inside a tie
    if index is None:
        ranked = top_rows(queries, gallery, need, searches=searches, removed=removed)
    else:
        ranked = index.top_rows(queries, need, searches=searches, removed=removed)
    return expected_found(queries, gallery, ranked, cuts, searches, wanted, removed)


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


def _cuts(ks: Sequence[int]) -> list[int]:
    """Ascending, each once."""
    whole = all(float(k).is_integer() for k in ks)
    cuts = sorted({int(k) for k in ks}) if whole else []
    if not cuts or cuts[0] < 1:
        raise TableError(
            f"ks is {tuple(ks)}; name at least one cut, each a whole number of 1 or more"
        )
    return cuts


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
