"""Intermediate metrics of item vectors themselves: candidates beside search recall to steer an encoder by.

Category accuracy and same-SPU recall need no searches; uniformity needs no labels at all. Which of them is worth anything downstream is what the
exchange rate is for.

Each is a mean over rows (items, pairs, searches). It gives, beside the estimate, those rows and their values, so that it can be taken again under weights.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shares import mean_share
from representation.metrics.recall import search_recall
from representation.search.exact import top_rows
from representation.search.folded import Folded
from representation.search.scores import exact_scores
from representation.search.ties import tied_units, ties_with_next

SAMPLE = 2000
"""Items drawn for a metric over items."""
PAIRS = 20_000
"""Most pairs of items drawn for uniformity."""
SHARPNESS = 2.0
"""t of Wang and Isola 2020, eq. 4; their default."""


class ByRow(NamedTuple):
    """An estimate, the rows `(rows,)` of the vectors that it is the mean over, and their values `(rows,)`."""

    estimate: Estimate
    rows: np.ndarray
    values: np.ndarray


def category_accuracy(
    vectors: np.ndarray, categories: np.ndarray, seed: int = 0, sample: int = SAMPLE
) -> ByRow:
    """Share of items whose nearest other item is of the same leaf category; of several nearest, the share of them that are.

    Args:
        vectors: `(items, dim)` unit rows; categories: `(items,)`, anything that compares equal within a category.
        sample: items drawn, among those whose category has another item.
    """
    drawn = _draw(_has_company(categories), sample, seed, "category_accuracy")
    alike, is_tied = np.empty(0), np.empty(0, dtype=bool)
    if drawn.size:
        itself = np.arange(len(drawn)) * len(vectors) + drawn
        alike, is_tied = _alike(vectors, categories, drawn, itself)
    definition = (
        f"share of {len(drawn):,} items, drawn among those whose leaf category has another item, whose nearest of all other items"
        " is of their leaf category"
    )
    found = mean_share(alike, definition=definition)
    if is_tied.any():
        found = replace(found, tied=float(is_tied.mean()))
    return ByRow(found, drawn, alike)


def same_spu_recall(
    vectors: np.ndarray,
    spus: np.ndarray,
    ks: Sequence[int] = (1, 5, 10, 50),
    seed: int = 0,
    sample: int = SAMPLE,
) -> tuple[dict[int, Estimate], np.ndarray, np.ndarray]:
    """By k: share of items whose k nearest other items hold a sibling, an item of the same SPU; the items drawn, and their hits `(rows, ks)`.

    Args:
        vectors: `(items, dim)` unit rows; spus: `(items,)` integers.
        sample: items drawn, among those that have a sibling.
    """
    drawn = _draw(_has_company(spus), sample, seed, "same_spu_recall")
    order = np.argsort(spus, kind="stable")
    starts = np.searchsorted(spus[order], spus[drawn], side="left")
    stops = np.searchsorted(spus[order], spus[drawn], side="right")
    siblings = [order[start:stop] for start, stop in zip(starts, stops, strict=True)]
    itself = [[row] for row in drawn]
    result = search_recall(vectors[drawn], vectors, siblings, ks, excluded=itself, seed=seed)
    definition = "share of {count:,} items, drawn among those with a sibling, whose {k} nearest other items hold one (same SPU)"
    estimates = {
        k: replace(estimate, definition=definition.format(count=result.count, k=k))
        for k, estimate in result.hit.items()
    }
    return estimates, drawn[result.searches], result.hits


def alignment(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Sequence[Sequence[int] | np.ndarray],
    users: np.ndarray | None = None,
) -> ByRow:
    """Mean cosine of a search with what was engaged with after it, averaged first within the search.

    Wang and Isola 2020, eq. 3, state it as a loss, the mean of |x - y|^2; for unit vectors that is 2 - 2 * ours. `users` `(searches,)` are who searched: see `shares`.
    """
    cosines = np.array(
        [
            float((gallery[rows] @ query).mean())
            for query, rows in zip(queries, relevant, strict=True)
        ]
    )
    definition = "mean cosine of a search's vector with the vectors of what was engaged with after it (alignment)"
    found = mean_share(cosines, definition=definition, groups=users, bounds=(-1.0, 1.0))
    return ByRow(found, np.arange(len(cosines)), cosines)


def uniformity(vectors: np.ndarray, seed: int = 0, pairs: int = PAIRS) -> ByRow:
    """log of the mean of exp(-2 |x - y|^2) over pairs of items: Wang and Isola 2020, eq. 4. Lower is more even; 0 is all in one point.

    Args:
        vectors: `(items, dim)` unit rows.
        pairs: most pairs drawn; no item is in two of them, so the interval's units are independent.

    Returns:
        `rows`: each pair's first item; `values`: its kernel, the log of whose mean it is.
    """
    count = min(pairs, len(vectors) // 2)
    drawn = generator(seed, "uniformity").permutation(len(vectors))[: 2 * count].reshape(2, count)
    gaps = vectors[drawn[0]].astype(np.float64) - vectors[drawn[1]]
    kernel = np.exp(-SHARPNESS * (gaps**2).sum(axis=1))
    definition = f"log of the mean of exp(-2 |x - y|^2) over {count:,} disjoint pairs of items (uniformity; lower is more even)"
    least = float(np.exp(-4 * SHARPNESS))  # opposite points, |x - y| = 2
    mean = mean_share(kernel, definition=definition, bounds=(least, 1.0))
    low, value, high = np.log([mean.low, mean.value, mean.high])
    found = replace(mean, value=float(value), low=float(low), high=float(high))
    return ByRow(found, drawn[0], kernel)


def _alike(
    vectors: np.ndarray, categories: np.ndarray, drawn: np.ndarray, itself: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of each item drawn, the share of its nearest that are of its category, and whether they are several."""
    queries = vectors[drawn]
    nearest = top_rows(queries, vectors, 2, removed=itself)
    alike = (categories[nearest[:, 0]] == categories[drawn]).astype(np.float64)
    is_tied = nearest.shape[1] > 1 and ties_with_next(queries, vectors, nearest)
    at = np.flatnonzero(is_tied)
    if not at.size:
        return alike, np.zeros(len(drawn), dtype=bool)
    codes = np.unique(categories, return_inverse=True)[1].ravel()
    folded = Folded(vectors)
    kinds, sizes = np.unique(folded.unit * len(vectors) + codes, return_counts=True)
    own, of_all = np.zeros((2, len(at)))
    asked = np.ascontiguousarray(queries[at], dtype=np.float32)
    which = np.arange(len(at))
    score = exact_scores(asked, vectors, which, nearest[at, 0])
    for pair, unit in tied_units(folded, asked, score):
        np.add.at(of_all, pair, folded.sizes(unit))
        keys = unit * len(vectors) + codes[drawn[at[pair]]]
        place = np.minimum(np.searchsorted(kinds, keys), len(kinds) - 1)
        np.add.at(own, pair, np.where(kinds[place] == keys, sizes[place], 0))
    is_itself = exact_scores(asked, vectors, which, drawn[at]) == score
    alike[at] = (own - is_itself) / (of_all - is_itself)
    return alike, is_tied


def _has_company(labels: np.ndarray) -> np.ndarray:
    """Rows whose label some other row shares."""
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[which] > 1)


def _draw(rows: np.ndarray, sample: int, seed: int, name: str) -> np.ndarray:
    if len(rows) <= sample:
        return rows
    return np.sort(generator(seed, name).choice(rows, size=sample, replace=False))
