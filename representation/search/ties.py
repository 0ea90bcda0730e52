"""What a ranking's cut is worth where it falls inside a tie: what a random order of the tied would give, on average.

A ranking settles ties by row, and rows are numbered by something: by sales, by date, by category. A cut inside a tie would then count that order as the encoder's
doing. Notable choices:
- A tie is an equal float64 score, as `exact` settles it. Equal vectors (one title, one placeholder picture) are the common case; different vectors of
  one score tie too.
- Of t tied rows, r of them relevant, a random order brings m over the cut: on average m r / t relevant ones, and at least one with probability
  1 - C(t - r, m) / C(t, m) (hypergeometric; McSherry and Najork 2008 do the same for precision and recall of text search).
- Only searches whose scores on both sides of a cut are equal cost more, and only where the tie goes on beyond what is ranked one pass of float32 products over the distinct
  vectors.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from representation.search.folded import Folded
from representation.search.scores import BLOCK, exact_scores, margin, products

SEARCHES_AT_ONCE = 256


class Found(NamedTuple):
    """What searches found, ties in a random order.

    Attributes:
        relevant: `(searches, cuts)` float64, expected number of relevant rows above each cut.
        hit: `(searches, cuts)` float64, probability that one is.
        is_tied: `(searches, cuts)`, whether the cut falls inside a tie.
    """

    relevant: np.ndarray
    hit: np.ndarray
    is_tied: np.ndarray


def expected_found(
    queries: np.ndarray,
    gallery: np.ndarray,
    ranked: np.ndarray,
    cuts: list[int],
    searches: np.ndarray,
    wanted: np.ndarray,
    removed: np.ndarray,
) -> Found:
    """Count what is relevant above each cut of a ranking.

    Args:
        ranked: `(searches, at least max(cuts) + 1 or all items)` rows, as `top_rows` gives them.
        cuts: ascending.
        searches: `(searches,)` ascending rows of `queries`.
        wanted, removed: ascending keys `search * items + row`: relevant rows, and rows taken out of the ranking.
    """
    num_items = len(gallery)
    is_relevant = np.isin(searches[:, None] * num_items + ranked, wanted) & (ranked >= 0)
    above = np.pad(is_relevant.cumsum(axis=1), ((0, 0), (1, 0)))
    found = above[:, np.minimum(cuts, ranked.shape[1])].astype(np.float64)
    hit, is_tied = np.minimum(found, 1), np.zeros(found.shape, dtype=bool)
    at, cut = _tied_cuts(queries, gallery, ranked, cuts, searches)
    if not at.size:
        return Found(found, hit, is_tied)
    is_tied[at, cut] = True
    last = np.array(cuts)[cut] - 1
    some, of = np.unique(at, return_inverse=True)
    scores = _scores_of(queries[searches[some]], gallery, ranked[some])
    score = scores[of, last]
    has_score = scores[of] == score[:, None]  # one run of places, for scores fall
    first, end = has_score.argmax(axis=1), has_score.argmax(axis=1) + has_score.sum(axis=1)
    asked = np.ascontiguousarray(queries[searches[at]], dtype=np.float32)
    before, left = above[at, first], last + 1 - first
    tied, good = end - first, above[at, end] - before
    is_open = (end == ranked.shape[1]) & (end < num_items)  # goes on beyond what is ranked
    open_ = np.flatnonzero(is_open)
    if open_.size:
        given = (asked[open_], gallery, searches[at[open_]])
        tied[open_] = _num_tied(*given, removed, score[open_])
        good[open_] = _at_score(*given, wanted, score[open_])
    found[at, cut] = before + left * good / tied
    hit[at, cut] = np.where(before > 0, 1.0, chance_of_one(tied, good, left))
    return Found(found, hit, is_tied)


def chance_of_one(tied: np.ndarray, good: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Probability that `drawn` of `tied` rows, without replacement, hold at least one of the `good` ones: 1 - C(t - r, m) / C(t, m)."""
    fewer, more = np.minimum(good, drawn), np.maximum(good, drawn)
    none = np.ones(len(tied))
    for step in range(int(fewer.max(initial=0))):  # C(t - r, m) / C(t, m) is alike in r and m
        factor = np.maximum(tied - more - step, 0) / np.maximum(tied - step, 1)
        none *= np.where(step < fewer, factor, 1.0)
    return 1 - none


def tied_units(
    folded: Folded, queries: np.ndarray, scores: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a query and a unit whose float64 score is the query's of `scores` `(queries,)`, in pieces; each pair once."""
    if not len(queries):
        return
    margins = margin(queries, folded.longest)
    for begin in range(0, len(queries), SEARCHES_AT_ONCE):
        part = slice(begin, begin + SEARCHES_AT_ONCE)
        low = (scores[part] - margins[part])[:, None]
        high = (scores[part] + margins[part])[:, None]
        for start in range(0, len(folded.first), BLOCK):
            rough = products(queries[part], folded.vectors(start, BLOCK)).numpy()
            query, place = np.nonzero((rough >= low) & (rough <= high))
            query, unit = query + begin, place + start
            same = exact_scores(queries, folded.gallery, query, folded.first[unit]) == scores[query]
            if same.any():
                yield query[same], unit[same]


def ties_with_next(queries: np.ndarray, gallery: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Whether two gallery rows have one score: `pairs` `(queries, 2)`, -1 for no row -> `(queries,)` booleans."""
    at = np.flatnonzero((pairs >= 0).all(axis=1))
    one, other = (exact_scores(queries, gallery, at, pairs[at, side]) for side in (0, 1))
    is_tied = np.zeros(len(pairs), dtype=bool)
    is_tied[at] = one == other
    return is_tied


def _tied_cuts(
    queries: np.ndarray,
    gallery: np.ndarray,
    ranked: np.ndarray,
    cuts: list[int],
    searches: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Searches (by place) and cuts (by place) whose last row above and first below have one score."""
    asked = queries[searches] if len(searches) < len(queries) else queries
    is_tied = np.zeros((len(searches), len(cuts)), dtype=bool)
    for place, k in enumerate(cuts):
        if k < ranked.shape[1]:
            is_tied[:, place] = ties_with_next(asked, gallery, ranked[:, k - 1 : k + 1])
    at, cut = np.nonzero(is_tied)
    return at, cut


def _scores_of(queries: np.ndarray, gallery: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Float64 scores of all that is ranked, `(queries, rows)`; NaN where there is no row."""
    scores = np.full(ranked.shape, np.nan)
    query, place = np.nonzero(ranked >= 0)
    scores[query, place] = exact_scores(queries, gallery, query, ranked[query, place])
    return scores


def _num_tied(
    queries: np.ndarray,
    gallery: np.ndarray,
    searches: np.ndarray,
    removed: np.ndarray,
    score: np.ndarray,
) -> np.ndarray:
    """How many gallery rows have each query's score, without those removed."""
    folded, tied = Folded(gallery), np.zeros(len(queries), dtype=np.int64)
    for query, unit in tied_units(folded, queries, score):
        np.add.at(tied, query, folded.sizes(unit))
    return tied - _at_score(queries, gallery, searches, removed, score)


def _at_score(
    queries: np.ndarray,
    gallery: np.ndarray,
    searches: np.ndarray,
    keys: np.ndarray,
    score: np.ndarray,
) -> np.ndarray:
    """How many of the rows that `keys` names for each pair's search have the pair's score."""
    num_items = len(gallery)
    start = np.searchsorted(keys, searches * num_items)
    counts = np.searchsorted(keys, (searches + 1) * num_items) - start
    pair = np.repeat(np.arange(len(searches)), counts)
    inside = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    rows = keys[start[pair] + inside] % num_items
    same = exact_scores(queries, gallery, pair, rows) == score[pair]
    return np.bincount(pair[same], minlength=len(searches))
