"""Ties at a cut: the average over every order of the items, by enumeration and by drawing; nothing where there is no tie."""

import itertools

import numpy as np
import pytest
from scipy import stats

from representation.metrics.recall import search_recall
from representation.search import ties
from representation.search.approximate import ApproximateIndex, IndexConfig

KS = (1, 2, 4)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def readings_of_order(order, scores, wanted, gone, ks):
    """Hit, share of relevant, precision and capped recall by k where ties stand in the `order` of the items."""
    rows = [row for row in order if row not in gone]
    rows.sort(key=lambda row: -scores[row])  # a stable sort
    found = [len(wanted & set(rows[:k])) for k in ks]
    return [
        [n > 0, n / len(wanted), n / k, n / min(k, len(wanted))]
        for n, k in zip(found, ks, strict=True)
    ]


def averages(orders, queries, gallery, relevant, excluded, ks):
    """`(ks, 4)` readings, meaned over orders and searches."""
    scores = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    every = [
        np.mean(
            [
                readings_of_order(order, scores[at], set(rows) - set(gone), set(gone), ks)
                for order in orders
            ],
            axis=0,
        )
        for at, (rows, gone) in enumerate(zip(relevant, excluded, strict=True))
        if set(rows) - set(gone)
    ]
    return np.mean(every, axis=0)


def readings(result, ks):
    return np.array([[reading[k].value for reading in result.readings.values()] for k in ks])


@pytest.mark.parametrize("seed", range(8))
def test_every_order_of_a_small_gallery_averages_to_the_recall(seed):
    random = np.random.default_rng(seed)
    gallery = np.eye(3, dtype=np.float32)[random.integers(0, 3, 6)]
    queries = np.eye(3, dtype=np.float32)[random.integers(0, 3, 5)]
    relevant = [random.choice(6, random.integers(1, 4), replace=False).tolist() for _ in queries]
    excluded = [random.choice(6, random.integers(0, 2), replace=False).tolist() for _ in queries]
    result = search_recall(queries, gallery, relevant, KS, excluded=excluded)
    orders = list(itertools.permutations(range(6)))
    expected = averages(orders, queries, gallery, relevant, excluded, KS)
    np.testing.assert_allclose(readings(result, KS), expected, atol=1e-12)


def test_many_drawn_orders_average_to_the_recall():
    """Copies of 9 vectors, and axis vectors whose scores tie without being equal vectors."""
    random = np.random.default_rng(0)
    gallery = np.concatenate(
        [unit(random.normal(size=(9, 6)))[random.integers(0, 9, 40)], np.eye(6)[:4].repeat(3, 0)]
    ).astype(np.float32)
    queries = np.concatenate([unit(random.normal(size=(15, 6))), np.eye(6)[2:]]).astype(np.float32)
    relevant = [random.choice(52, 3, replace=False).tolist() for _ in queries]
    excluded = [random.choice(52, 2, replace=False).tolist() for _ in queries]
    ks = (1, 5, 20)
    result = search_recall(queries, gallery, relevant, ks, excluded=excluded)
    orders = [random.permutation(52) for _ in range(3000)]
    expected = averages(orders, queries, gallery, relevant, excluded, ks)
    # 3,000 orders of at least 15 tied searches: a standard error of at most .5 / sqrt(45,000)
    np.testing.assert_allclose(readings(result, ks), expected, atol=0.01)
    assert 0 < result.hit[5].tied <= 1


@pytest.mark.parametrize("num_items", [30, 300, 3000])
def test_an_encoder_of_one_vector_has_the_recall_of_chance(num_items):
    gallery = np.tile(unit(np.ones((1, 16))), (num_items, 1))
    relevant = np.minimum(np.arange(40) // 8, num_items - 1)[:, None]  # numbered by sales
    result = search_recall(gallery[:20].repeat(2, 0), gallery, relevant, (1, 10, 25))
    for k in (1, 10, 25):
        assert result.value[k] == pytest.approx(k / num_items, rel=1e-9)
        assert result.hit[k].tied == 1
        assert 0 < result.low[k] < result.value[k] < result.high[k]


def test_numbers_of_items_do_not_matter_where_vectors_are_alike():
    random = np.random.default_rng(3)
    gallery = unit(random.normal(size=(12, 5)))[random.integers(0, 12, 200)]
    queries = unit(random.normal(size=(60, 5)))
    relevant = [random.choice(200, 4, replace=False) for _ in queries]
    excluded = [random.choice(200, 3, replace=False) for _ in queries]
    before = search_recall(queries, gallery, relevant, KS, excluded=excluded)
    old = random.permutation(200)
    new = np.argsort(old)
    after = search_recall(
        queries,
        gallery[old],
        [new[rows] for rows in relevant],
        KS,
        excluded=[new[rows] for rows in excluded],
    )
    np.testing.assert_allclose(after.hits, before.hits, atol=1e-12)
    np.testing.assert_allclose(readings(after, KS), readings(before, KS), atol=1e-12)


def test_without_ties_no_extra_pass_is_made(monkeypatch):
    random = np.random.default_rng(4)
    gallery, queries = unit(random.normal(size=(500, 8))), unit(random.normal(size=(50, 8)))
    monkeypatch.setattr(ties, "Folded", None)
    result = search_recall(queries, gallery, [[row] for row in range(50)], (1, 10, 500, 900))
    assert set(np.unique(result.hits)) <= {0.0, 1.0}
    assert all(each.tied == 0 for each in result.hit.values())


def test_a_cut_that_all_tied_items_are_above_of_is_no_tie():
    gallery = np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    result = search_recall(gallery[:1], gallery, [[1]], (1, 2, 3))
    assert result.hits.tolist() == [[0.5, 1.0, 1.0]]
    assert [result.hit[k].tied for k in (1, 2, 3)] == [1, 0, 1]  # rows 2 and 3 tie at 0
    # the picture's own twin taken out, the other is alone
    alone = search_recall(gallery[:1], gallery, [[1]], (1,), excluded=[[0]])
    assert alone.value[1] == 1 and alone.hit[1].tied == 0


def test_the_chance_of_one_is_the_hypergeometrics():
    random = np.random.default_rng(5)
    tied = random.integers(1, 200, 300)
    good, drawn = random.integers(0, tied + 1), random.integers(0, tied + 1)
    expected = stats.hypergeom.sf(0, tied, good, drawn)
    np.testing.assert_allclose(ties.chance_of_one(tied, good, drawn), expected, atol=1e-12)


@pytest.mark.parametrize(
    "config",
    [IndexConfig(kind="ivf", lists=4, probes=4), IndexConfig(kind="hnsw", search_width=800)],
    ids=["ivf", "hnsw"],
)
def test_an_index_counts_ties_alike(config):
    random = np.random.default_rng(6)
    gallery = unit(random.normal(size=(40, 8)))[random.integers(0, 40, 800)]
    queries = unit(random.normal(size=(30, 8)))
    relevant = [[int(row)] for row in random.integers(0, 800, 30)]
    exact = search_recall(queries, gallery, relevant, (1, 10))
    index = ApproximateIndex(gallery, config)
    found = search_recall(queries, gallery, relevant, (1, 10), index=index)
    # of the 20 copies at a cut the index may return any: each is as good as the exact ranking's
    assert found.of_exact[10].value == pytest.approx(1)
    assert found.value[10] == pytest.approx(exact.value[10])
    assert found.hit[10].tied == exact.hit[10].tied > 0
