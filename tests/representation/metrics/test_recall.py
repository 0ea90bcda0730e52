"""search_recall against a literal loop, and what must not change it."""

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import TableError
from representation.metrics.recall import search_recall
from representation.search import exact, scores

KS = (1, 3, 10)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def searches_over(seed, num_queries=40, num_items=120, dim=8, num_distinct=None):
    """Random vectors, relevant rows (some searches with none) and excluded rows (some with none)."""
    random = np.random.default_rng(seed)
    gallery = unit(random.normal(size=(num_distinct or num_items, dim)))
    gallery = gallery[random.integers(0, len(gallery), num_items)] if num_distinct else gallery
    queries = unit(random.normal(size=(num_queries, dim)))
    relevant = [
        random.integers(0, num_items, random.integers(0, 5)).tolist() for _ in range(num_queries)
    ]
    excluded = [
        random.integers(0, num_items, random.integers(0, 3)).tolist() for _ in range(num_queries)
    ]
    return queries, gallery, relevant, excluded


def ranked_by_loop(query, gallery, excluded):
    """Rows by descending score, lower row first among ties, those excluded left out."""
    scores = [float(np.dot(query.astype(np.float64), item.astype(np.float64))) for item in gallery]
    rows = sorted(range(len(gallery)), key=lambda row: (-round(scores[row], 12), row))
    return [row for row in rows if row not in set(excluded)]


def recall_by_loop(queries, gallery, relevant, excluded, ks):
    """(hit, share of relevant, precision, capped recall) by k, ties in a random order, and how many searches were left out."""
    sums, count = {k: np.zeros(4) for k in ks}, 0
    for query, engaged, gone in zip(queries, relevant, excluded, strict=True):
        wanted = set(engaged) - set(gone)
        if not wanted:
            continue
        count += 1
        rows = ranked_by_loop(query, gallery, gone)
        scores = [round(float(np.dot(query.astype(float), gallery[row])), 12) for row in rows]
        for k in ks:
            at_cut = scores[min(k, len(rows)) - 1]
            above = [row for row, score in zip(rows, scores, strict=True) if score > at_cut]
            tied = [row for row, score in zip(rows, scores, strict=True) if score == at_cut]
            left, good = min(k, len(rows)) - len(above), len(wanted & set(tied))
            sure, drawn = len(wanted & set(above)), left * good / len(tied)
            none = math.comb(len(tied) - good, left) / math.comb(len(tied), left)
            hit = 1 if sure else 1 - none
            expected = sure + drawn
            sums[k] += [hit, expected / len(wanted), expected / k, expected / min(k, len(wanted))]
    return {k: total / count for k, total in sums.items()}, len(queries) - count


@pytest.mark.parametrize("num_distinct", [None, 1, 7, 60])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_equals_a_literal_loop(num_distinct, chunk, monkeypatch):
    monkeypatch.setattr(exact, "SEARCHES_AT_ONCE", chunk)
    monkeypatch.setattr(scores, "FLOATS_AT_ONCE", 900)
    queries, gallery, relevant, excluded = searches_over(1, num_distinct=num_distinct)
    result = search_recall(queries, gallery, relevant, KS, excluded=excluded)
    expected, left_out = recall_by_loop(queries, gallery, relevant, excluded, KS)
    assert left_out > 0 and result.num_left_out == left_out
    assert result.count == len(queries) - left_out == len(result.searches) == len(result.hits)
    for k in KS:
        readings = [by_k[k].value for by_k in result.readings.values()]
        np.testing.assert_allclose(readings, expected[k])
        assert result.value[k] == result.hits[:, KS.index(k)].mean()
        assert (result.hit[k].tied > 0) == (num_distinct is not None)
        assert result.low[k] <= result.value[k] <= result.high[k]


@pytest.mark.parametrize("num_items", [5, 300, 3000])
def test_ties_go_to_the_lower_row(num_items):
    """Axis vectors tie exactly, in long runs and between different vectors; faiss alone lists the higher row first."""
    random = np.random.default_rng(0)
    gallery = np.eye(6, dtype=np.float32)[random.integers(0, 6, num_items)]
    queries = np.eye(6, dtype=np.float32)[random.integers(0, 6, 30)]
    k = min(50, num_items)
    ranked = exact.top_rows(queries, gallery, k)
    expected = [ranked_by_loop(query, gallery, [])[:k] for query in queries]
    np.testing.assert_array_equal(ranked, expected)


def test_near_ties_at_the_cut_are_settled_by_more_rows():
    """300 different vectors with one score: the cut falls inside the tie, whose lowest rows must win."""
    random = np.random.default_rng(0)
    gallery = np.zeros((300, 40), dtype=np.float32)
    for row in gallery:
        row[0] = 0.5
        row[1 + random.choice(39, 3, replace=False)] = 0.5
    query = np.eye(1, 40, dtype=np.float32)
    ranked = exact.top_rows(query, gallery, 10)
    np.testing.assert_array_equal(ranked[0], np.arange(10))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 90), st.sampled_from([None, 1, 9]))
def test_order_of_queries_and_gallery_changes_nothing(seed, num_queries, num_items, num_distinct):
    queries, gallery, relevant, excluded = searches_over(
        seed, num_queries, num_items, num_distinct=num_distinct
    )
    random = np.random.default_rng(seed)
    old = random.permutation(num_items)  # new row -> old row
    new = np.argsort(old)
    shuffle = random.permutation(num_queries)
    before = search_recall(queries, gallery, relevant, KS, excluded=excluded)
    after = search_recall(
        queries[shuffle],
        gallery[old],
        [new[np.array(relevant[at], dtype=int)] for at in shuffle],
        KS,
        excluded=[new[np.array(excluded[at], dtype=int)] for at in shuffle],
    )
    assert after.count == before.count
    for name, by_k in before.readings.items():
        for k in KS:
            found = after.readings[name][k].value
            np.testing.assert_allclose(found, by_k[k].value, equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60))
def test_recall_never_falls_with_k(seed, num_items):
    queries, gallery, relevant, _ = searches_over(seed, 20, num_items)
    result = search_recall(queries, gallery, relevant, range(1, 80))
    assert (np.diff(result.hits, axis=1) >= -1e-12).all()
    if result.count:
        assert result.value[79] == result.readings["share_of_relevant"][79].value == 1


def test_known_by_construction():
    gallery = np.eye(4, dtype=np.float32)
    relevant = [[0], [0, 1], [3], []]
    result = search_recall(gallery, gallery, relevant, (1, 2, 4))
    assert (result.count, result.num_left_out) == (3, 1)
    assert result.value[1] == pytest.approx(2 / 3)  # search 2 has row 2 first; 0, 1, 3 tie
    assert result.value[2] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert result.readings["share_of_relevant"][1].value == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert result.readings["precision"][2].value == pytest.approx(
        (1 / 2 + (1 + 1 / 3) / 2 + 1 / 3 / 2) / 3
    )
    assert result.value[4] == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.sampled_from([None, 1, 9]))
def test_capped_recall_is_the_precision_of_many_and_the_share_of_few(seed, num_items, distinct):
    """Of searches with k relevant items or more, and of those with k or fewer, ties included."""
    queries, gallery, relevant, _ = searches_over(seed, 20, num_items, num_distinct=distinct)
    counts = np.array([len(set(rows)) for rows in relevant])
    for k in KS:
        for is_own, same in ((counts >= k, "precision"), ((counts > 0) & (counts <= k), "share_of_relevant")):  # fmt: skip
            own = np.flatnonzero(is_own)
            found = search_recall(queries[own], gallery, [relevant[at] for at in own], (k,))
            other = found.readings[same][k].value
            np.testing.assert_allclose(
                found.readings["capped_recall"][k].value, other, equal_nan=True
            )


def test_capped_recall_may_fall_as_k_grows():
    """The nearest is relevant, the four after it are not: 1 of 1, 1 of 2, 1 of 3, and 3 of 3 at the end; no other recall falls."""
    angle = np.radians(np.arange(7) * 10.0)
    gallery = unit(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    found = search_recall(gallery[:1], gallery, [[0, 5, 6]], (1, 2, 3, 5, 7))
    values = {k: each.value for k, each in found.readings["capped_recall"].items()}
    assert values == pytest.approx({1: 1, 2: 1 / 2, 3: 1 / 3, 5: 1 / 3, 7: 1})
    assert list(found.value.values()) == [1] * 5
    missing = search_recall(gallery[:1], gallery, [[0]], (1, 2, 3), num_missing=np.array([2]))
    assert missing.readings["capped_recall"][3].value == pytest.approx(
        1 / 3
    )  # what cannot be found is to be found


def test_excluded_is_neither_ranked_nor_wanted():
    gallery = unit(np.array([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]]))
    result = search_recall(gallery[:2], gallery, [[0, 1], [1]], (1,), excluded=[[0], [1]])
    assert (result.count, result.num_left_out) == (1, 1)
    assert result.value[1] == 1  # row 1 moves up where row 0 is taken out


def test_csr_equals_lists():
    queries, gallery, relevant, _ = searches_over(5)
    matrix = scipy.sparse.lil_matrix((len(queries), len(gallery)), dtype=bool)
    for search, rows in enumerate(relevant):
        matrix[search, rows] = True
    first = search_recall(queries, gallery, relevant)
    second = search_recall(queries, gallery, matrix.tocsr())
    assert (first.value, first.low, first.high) == (second.value, second.low, second.high)
    assert first.high[50] > first.low[50]


def test_searches_of_one_user_are_counted_as_what_they_are_worth():
    queries, gallery, relevant, _ = searches_over(7, num_queries=30)
    once = search_recall(queries, gallery, relevant)
    copies = (queries.repeat(10, 0), gallery, [rows for rows in relevant for _ in range(10)])
    blind, by_user = (
        search_recall(*copies, users=users) for users in (None, np.arange(300) // 10 % 30)
    )
    assert by_user.value == pytest.approx(once.value)
    for k in (5, 10):
        widths = [each.high[k] - each.low[k] for each in (once, by_user, blind)]
        assert widths[1] == pytest.approx(widths[0], rel=0.05) and widths[2] < widths[0] / 2
    with pytest.raises(TableError, match="users has 3 entries for 30 queries"):
        search_recall(queries, gallery, relevant, users=np.arange(3))


@pytest.mark.parametrize("hits", [0, 3])
def test_none_and_all_of_three_searches_have_an_interval(hits):
    """A bootstrap has [0, 0] and [1, 1] here, and no error in the exchange rate."""
    gallery = np.eye(6, dtype=np.float32)
    relevant = [[row] for row in (range(3) if hits else (4, 5, 3))]
    queries = (
        gallery[:3] if hits else unit(gallery[:3] - gallery[3:])
    )  # the farthest, or the nearest
    found = search_recall(queries, gallery, relevant, (1,)).hit[1]
    assert found.value == hits / 3 and found.high - found.low == pytest.approx(0.5615, abs=1e-4)
    assert found.standard_error > 0.14


def test_no_search_and_no_item():
    none = np.zeros((0, 4), dtype=np.float32)
    one = np.eye(1, 4, dtype=np.float32)
    for queries, gallery, relevant in ((none, one, []), (one, none, [[]]), (one, one, [[]])):
        result = search_recall(queries, gallery, relevant)
        assert result.count == 0 and np.isnan(result.value[10])


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda q, g, r: (np.where(np.arange(8) == 2, np.nan, q), g, r), "queries row 0 holds NaN"),
        (lambda q, g, r: (q, g * 2, r), "gallery row 0 has length 2, wanted 1"),
        (lambda q, g, r: (q, g * 0, r), "gallery row 0 has length 0, wanted 1"),
        (lambda q, g, r: (q[0], g, r), "queries must be a float array"),
        (lambda q, g, r: (q[:, :1] * 0 + 1, g, r), "queries have dim 1, the gallery 8"),
        (lambda q, g, r: (q, g, r[1:]), "relevant has 39 entries for 40 queries"),
        (lambda q, g, r: (q, g, [[120], *r[1:]]), "query 0 names gallery row 120, outside 0..119"),
        (lambda q, g, r: (q, g, [[-1], *r[1:]]), "query 0 names gallery row -1"),
        (lambda q, g, r: (q, g, [[0.5], *r[1:]]), "must hold integer gallery rows"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    queries, gallery, relevant, _ = searches_over(2)
    with pytest.raises(TableError, match=message):
        search_recall(*change(queries, gallery, relevant))


@pytest.mark.parametrize("ks", [(0, 5), (-1,), (), (2.5, 5), (float("nan"),)])
def test_cuts_that_are_none_are_refused(ks):
    queries, gallery, relevant, _ = searches_over(2)
    with pytest.raises(TableError, match="ks is"):
        search_recall(queries, gallery, relevant, ks)


def test_cuts_in_any_order_and_twice_are_one_each():
    queries, gallery, relevant, _ = searches_over(2)
    found = search_recall(queries, gallery, relevant, (10, 1, 10, 3))
    assert found.value == search_recall(queries, gallery, relevant, KS).value
    assert list(found.value) == [1, 3, 10]
