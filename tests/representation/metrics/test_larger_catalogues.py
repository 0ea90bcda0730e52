"""Recall among more items than there are: today's exactly, the truth of vectors whose scores have a known distribution, and scores in blocks against a loop."""

import numpy as np
import pytest
from scipy import special, stats

from moon_rec.errors import TableError
from representation.metrics import tail_scores as tails
from representation.metrics.larger_catalogues import recall_in_larger_catalogues
from representation.metrics.recall import search_recall
from representation.metrics.skew_normal import share_above

SIZES = (10**5, 10**6)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def on_a_sphere(seed, num_items=8000, num_queries=300, dim=16, blur=1.2):
    """Random unit vectors, and queries near the first of them."""
    random = np.random.default_rng(seed)
    gallery = unit(random.normal(size=(num_items, dim)))
    noise = blur * random.normal(size=(num_queries, dim)) / dim**0.5
    return unit(gallery[:num_queries] + noise), gallery, np.arange(num_queries)[:, None]


def truth(queries, gallery, size, k):
    """(1 + score) / 2 of independent directions is Beta((d - 1) / 2, (d - 1) / 2)."""
    scores = np.einsum("sd,sd->s", queries.astype(float), gallery[: len(queries)])
    half = (queries.shape[1] - 1) / 2
    return float(special.bdtr(k - 1, size - 1, stats.beta.sf((1 + scores) / 2, half, half)).mean())


def test_at_todays_size_it_is_the_measured_recall():
    queries, gallery, relevant = on_a_sphere(0, 2000)
    excluded = [[row + 300] for row in range(len(queries))]
    missing = (np.arange(len(queries)) % 5 == 0).astype(np.int64)
    relevant = [[] if missing[at] else rows for at, rows in enumerate(relevant.tolist())]
    given = {"num_missing": missing, "excluded": excluded}
    measured = search_recall(queries, gallery, relevant, (1, 10), **given)
    found = recall_in_larger_catalogues(queries, gallery, relevant, [2000], (1, 10), num_resamples=20, **given)  # fmt: skip
    for k in (1, 10):
        assert found[k][2000].value == pytest.approx(measured.value[k], abs=1e-12)
        assert found[k][2000].count == measured.count


def test_it_holds_the_truth_of_directions_on_a_sphere():
    """From 8,000 items to 125 times as many; the definition says what is assumed."""
    for seed in range(2):
        queries, gallery, relevant = on_a_sphere(seed, num_queries=200)
        found = recall_in_larger_catalogues(queries, gallery, relevant, SIZES, (10,), num_resamples=80)[10]  # fmt: skip
        for size in SIZES:
            assert found[size].low <= truth(queries, gallery, size, 10) <= found[size].high
            assert abs(found[size].value - truth(queries, gallery, size, 10)) < 0.05
            assert "assumed to be drawn like today's" in found[size].definition
        # without the tail, by the share of today's items above, far off
        best = np.einsum("sd,sd->s", queries, gallery[: len(queries)])
        above = (queries @ gallery.T > best[:, None]).sum(axis=1) / len(gallery)
        counted = special.bdtr(9, SIZES[1] - 1, np.clip(above, 0, 1)).mean()
        assert abs(found[SIZES[1]].value - truth(queries, gallery, SIZES[1], 10)) < abs(counted - truth(queries, gallery, SIZES[1], 10))  # fmt: skip


def test_it_falls_with_the_size_and_does_not_know_the_order_of_items():
    queries, gallery, relevant = on_a_sphere(4, 1500, 120)
    sizes = (1500, 10**4, 10**6, 10**8)
    found = recall_in_larger_catalogues(queries, gallery, relevant, sizes, (5,), num_resamples=20)[5]  # fmt: skip
    values = [found[size].value for size in sizes]
    assert values == sorted(values, reverse=True) and values[-1] < values[0] / 2
    old = np.random.default_rng(0).permutation(1500)
    again = recall_in_larger_catalogues(queries, gallery[old], np.argsort(old)[relevant], sizes, (5,), num_resamples=20)[5]  # fmt: skip
    assert [again[size].value for size in sizes] == pytest.approx(values, abs=1e-6)


def test_near_ones_of_another_kind_than_the_rest_are_foretold():
    """Products of sixty kinds: the twentieth of the items nearest to a query reaches beyond its kind, and bends there."""
    random = np.random.default_rng(0)
    size = 0.3 * np.exp(0.5 * random.normal(size=(16_000, 1)))
    gallery = random.normal(size=(60, 24))[random.integers(0, 60, 16_000)]
    gallery = gallery + size * random.normal(size=gallery.shape)
    queries = unit(gallery[:150] + 1.4 * size[:150] * random.normal(size=(150, 24)))
    gallery, relevant = unit(gallery), np.arange(150)[:, None]
    found = recall_in_larger_catalogues(queries, gallery[:2000], relevant, [16_000], num_resamples=100)[10][16_000]  # fmt: skip
    measured = search_recall(queries, gallery, relevant, (10,)).hit[10].value
    assert found.low <= measured <= found.high
    assert abs(found.value - measured) < 0.05


def test_what_no_part_tells_leaves_the_interval_wide():
    """Every search finds its own vector, today and in every part: beyond, that says little of a hundred million."""
    _, gallery, relevant = on_a_sphere(0, 600, 60)
    found = recall_in_larger_catalogues(gallery[:60], gallery, relevant, [600, 1200, 10**8], num_resamples=100)[10]  # fmt: skip
    assert found[600].low == found[600].high == 1.0
    assert found[10**8].high - found[10**8].low >= found[1200].high - found[1200].low


def test_a_thinned_upper_end_is_that_of_one_item_in_so_many():
    """Counts by the binomial distribution; what is left keeps its order and is among what there was."""
    queries, gallery, relevant = on_a_sphere(2, 4000, 200)
    none = np.empty(0, np.int64)
    wanted = np.arange(200) * 4000 + relevant[:, 0]
    scores = tails.tail_scores(queries, gallery, np.arange(200), wanted, none, 400)
    random = np.random.default_rng(0)
    parts = [scores.thinned(8, random) for _ in range(40)]
    mean = np.mean([part.above for part in parts], axis=0)
    error = np.sqrt(scores.above * 7 / 64 / len(parts))
    assert (np.abs(mean - scores.above / 8) <= 4.5 * error + 1e-9).all()
    for part in parts[:3]:
        assert (part.num_others == 500).all() and (part.best == scores.best).all()
        for row, whole, above, best in zip(part.largest, scores.largest, part.above, part.best, strict=True):  # fmt: skip
            left = row[np.isfinite(row)]
            assert (np.diff(left) <= 0).all() and np.isin(left, whole).all()
            if above < len(left):
                assert (left > best).sum() == pytest.approx(above, abs=0)


@pytest.mark.parametrize("shape", [-4.0, -0.5, 0.0, 1.0, 4.0])
def test_a_body_of_known_moments_is_scipys_skew_normal(shape):
    mean, variance, skewness = stats.skewnorm.stats(shape, 0.2, 0.1, moments="mvs")
    moments = np.array([[mean, np.sqrt(variance), skewness]] * 3)
    scores = np.array([0.1, 0.25, 0.6])
    expected = stats.skewnorm.sf(scores, shape, 0.2, 0.1)
    np.testing.assert_allclose(share_above(moments, scores), expected, rtol=1e-6, atol=1e-12)
    assert (
        share_above(moments * [1, 1, 9], scores) <= 1
    ).all()  # more skewed than any is taken as the most


def test_a_skew_normal_body_has_todays_recall_and_holds_what_a_larger_catalogue_has():
    """On a sphere of many dimensions the scores are nearly normal; its prediction is one of its own."""
    queries, gallery, relevant = on_a_sphere(1, 4000, 150, dim=32, blur=1.6)
    given = {"ks": (10,), "num_resamples": 60}
    fitted, counted = (recall_in_larger_catalogues(queries, gallery, relevant, [4000, 10**5], body=body, **given)[10] for body in ("skew-normal", "counted"))  # fmt: skip
    assert fitted[4000].value == counted[4000].value
    assert fitted[10**5].value != counted[10**5].value
    assert fitted[10**5].low <= truth(queries, gallery, 10**5, 10) <= fitted[10**5].high
    assert "by a skew-normal body" in fitted[10**5].definition
    with pytest.raises(TableError, match="body='normal' is none: name one of counted, skew-normal"):
        recall_in_larger_catalogues(queries, gallery, relevant, [4000], body="normal")


def test_copies_grow_with_the_catalogue():
    """One vector for all: the recall of chance at any size."""
    gallery = np.tile(unit(np.ones((1, 8))), (400, 1))
    found = recall_in_larger_catalogues(gallery[:50], gallery, np.arange(50)[:, None], [400, 10**6], (10,), num_resamples=20)[10]  # fmt: skip
    assert found[10**6].value < 1e-3


@pytest.mark.parametrize("block", [64, 2048])
def test_upper_ends_equal_a_loop(block, monkeypatch):
    monkeypatch.setattr(tails, "BLOCK", block)
    monkeypatch.setattr(tails, "SEARCHES_AT_ONCE", 7)
    random = np.random.default_rng(1)
    gallery = unit(random.normal(size=(60, 5)))[random.integers(0, 60, 300)]
    queries = unit(random.normal(size=(20, 5)))
    relevant = [random.choice(300, 3, replace=False) for _ in queries]
    excluded = [random.choice(300, 2, replace=False) for _ in queries]
    wanted = np.sort(np.concatenate([at * 300 + np.setdiff1d(rows, excluded[at]) for at, rows in enumerate(relevant)]))  # fmt: skip
    removed = np.sort(np.concatenate([at * 300 + rows for at, rows in enumerate(excluded)]))
    found = tails.tail_scores(queries, gallery, np.arange(20), wanted, removed, 30)
    for at, query in enumerate(queries):
        scores = np.round(gallery.astype(float) @ query, 6)
        own = np.setdiff1d(relevant[at], excluded[at])
        others = np.setdiff1d(np.arange(300), np.concatenate([own, excluded[at]]))
        best = scores[own].max()
        assert found.best[at] == pytest.approx(best, abs=1e-5)
        assert found.num_best[at] == (scores[own] == best).sum()
        assert found.above[at] == (scores[others] > best).sum()
        assert found.tied[at] == (scores[others] == best).sum()
        assert found.num_others[at] == len(others)
        np.testing.assert_allclose(found.largest[at], np.sort(scores[others])[::-1][:30], atol=2e-6)
        moments = scores[others].mean(), scores[others].std(), stats.skew(scores[others])
        np.testing.assert_allclose(found.moments[at], moments, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "ks", "words"),
    [
        ([100], (10,), "a catalogue of 100 items cannot be extrapolated to from 1,000"),
        ([10**13], (10,), "at most 1,000,000,000,000"),
        ([10**6], (40,), "wanted k of at most 25, and more than 100 items"),
    ],
)
def test_what_cannot_be_extrapolated_is_refused(sizes, ks, words):
    queries, gallery, relevant = on_a_sphere(0, 1000, 20)
    with pytest.raises(TableError, match=words):
        recall_in_larger_catalogues(queries, gallery, relevant, sizes, ks)


def test_no_search_has_no_recall():
    _, gallery, _ = on_a_sphere(0, 1000, 20)
    found = recall_in_larger_catalogues(gallery[:1], gallery, [[]], [10**6], (10,))[10][10**6]
    assert found.count == 0 and np.isnan(found.value)
