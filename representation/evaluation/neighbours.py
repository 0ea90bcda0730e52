"""Intermediate metrics of item vectors themselves: candidates beside search recall to steer an encoder by.

Category accuracy and same-SPU recall need no searches; uniformity needs no labels at all. Which of them is worth anything downstream is what the
exchange rate is for.
"""

from collections.abc import Sequence

import numpy as np

from moon_rec.bootstrap import bootstrap_mean
from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from representation.evaluation.exact_ranking import top_rows
from representation.evaluation.search_recall import search_recall

SAMPLE = 2000
"""Items drawn for a metric over items."""
PAIRS = 20_000
"""Most pairs of items drawn for uniformity."""
SHARPNESS = 2.0
"""t of Wang and Isola 2020, eq. 4; their default."""


def category_accuracy(
    vectors: np.ndarray,
    categories: np.ndarray,
    seed: int = 0,
    sample: int = SAMPLE,
    num_resamples: int = 1000,
) -> Estimate:
    """Share of items whose nearest other item is of the same leaf category.

    Args:
        vectors: `(items, dim)` unit rows; categories: `(items,)`, anything that compares equal within a category.
        sample: items drawn, among those whose category has another item.
    """
    drawn = _draw(_has_company(categories), sample, seed, "category_accuracy")
    alike = np.empty(0)
    if drawn.size:
        itself = np.arange(len(drawn)) * len(vectors) + drawn
        nearest = top_rows(vectors[drawn], vectors, 1, removed=itself)[:, 0]
        alike = categories[nearest] == categories[drawn]
    definition = (
        f"share of {len(drawn):,} items, drawn among those whose leaf category has another item, whose nearest of all other items"
        " is of their leaf category"
    )
    return bootstrap_mean(alike, seed, num_resamples, definition=definition)


def same_spu_recall(
    vectors: np.ndarray,
    spus: np.ndarray,
    ks: Sequence[int] = (1, 5, 10, 50),
    seed: int = 0,
    sample: int = SAMPLE,
    num_resamples: int = 1000,
) -> dict[int, Estimate]:
    """By k: share of items whose k nearest other items hold a sibling, an item of the same SPU.

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
    result = search_recall(
        vectors[drawn],
        vectors,
        siblings,
        ks,
        excluded=itself,
        seed=seed,
        num_resamples=num_resamples,
    )
    definition = "share of {count:,} items, drawn among those with a sibling, whose {k} nearest other items hold one (same SPU)"
    return {
        k: _renamed(estimate, definition.format(count=result.count, k=k))
        for k, estimate in result.hit.items()
    }


def alignment(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Sequence[Sequence[int]],
    seed: int = 0,
    num_resamples: int = 1000,
) -> Estimate:
    """Mean cosine of a search with what was engaged with after it, averaged first within the search.

    Wang and Isola 2020, eq. 3, state it as a loss, the mean of |x - y|^2; for unit vectors that is 2 - 2 * ours.
    """
    cosines = np.array(
        [
            float((gallery[rows] @ query).mean())
            for query, rows in zip(queries, relevant, strict=True)
        ]
    )
    definition = "mean cosine of a search's vector with the vectors of what was engaged with after it (alignment)"
    return bootstrap_mean(cosines, seed, num_resamples, definition=definition)


def uniformity(
    vectors: np.ndarray, seed: int = 0, pairs: int = PAIRS, num_resamples: int = 1000
) -> Estimate:
    """log of the mean of exp(-2 |x - y|^2) over pairs of items: Wang and Isola 2020, eq. 4. Lower is more even; 0 is all in one point.

    Args:
        vectors: `(items, dim)` unit rows.
        pairs: most pairs drawn; no item is in two of them, so the bootstrap's units are independent.
    """
    count = min(pairs, len(vectors) // 2)
    drawn = generator(seed, "uniformity").permutation(len(vectors))[: 2 * count].reshape(2, count)
    gaps = vectors[drawn[0]].astype(np.float64) - vectors[drawn[1]]
    kernel = np.exp(-SHARPNESS * (gaps**2).sum(axis=1))
    definition = f"log of the mean of exp(-2 |x - y|^2) over {count:,} disjoint pairs of items (uniformity; lower is more even)"
    mean = bootstrap_mean(kernel, seed, num_resamples, definition=definition)
    low, value, high = np.log([mean.low, mean.value, mean.high])
    return Estimate(float(value), float(low), float(high), mean.count, definition, mean.level)


def _has_company(labels: np.ndarray) -> np.ndarray:
    """Rows whose label some other row shares."""
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[which] > 1)


def _draw(rows: np.ndarray, sample: int, seed: int, name: str) -> np.ndarray:
    if len(rows) <= sample:
        return rows
    return np.sort(generator(seed, name).choice(rows, size=sample, replace=False))


def _renamed(estimate: Estimate, definition: str) -> Estimate:
    return Estimate(
        estimate.value, estimate.low, estimate.high, estimate.count, definition, estimate.level
    )
