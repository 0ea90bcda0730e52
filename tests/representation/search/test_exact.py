"""The exact search: no true neighbour is lost before float64 judges, whatever the blocks, the ties and the room."""

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from representation.search import exact, folded, scores
from representation.search.exact import top_rows
from representation.search.folded import Folded
from representation.search.scores import margin, products


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(random, items: int, searches: int, dim: int, spread: float):
    """Gallery and queries around four directions: the smaller the spread, the nearer the scores to each other."""
    centres = random.normal(size=(4, dim))
    rows = [
        unit(centres[random.integers(0, 4, count)] + spread * random.normal(size=(count, dim)))
        for count in (items, searches)
    ]
    return rows[0], rows[1]


def by_float64(queries, gallery, k, removed=()):
    """All scores in float64, ordered by (score, row)."""
    ranked = np.full((len(queries), min(k, len(gallery))), -1)
    for search, query in enumerate(queries):
        scores = (gallery.astype(np.float64) * query).sum(axis=1)
        rows = np.lexsort((np.arange(len(gallery)), -scores))
        gone = {key % len(gallery) for key in removed if key // len(gallery) == search}
        rows = [row for row in rows if row not in gone]
        ranked[search, : len(rows[:k])] = rows[:k]
    return ranked


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    items=st.integers(1, 700),
    k=st.integers(1, 90),
    spread=st.sampled_from([1.0, 1e-3, 1e-6, 1e-8]),
    block=st.sampled_from([64, 128]),
    spare=st.sampled_from([1, 8, 192]),
    copies=st.sampled_from(["none", "some", "most"]),
)
def test_equals_float64_whatever_is_to_spare(seed, items, k, spread, block, spare, copies):
    """Spreads down to where float32 cannot tell the scores apart, so that many searches are sought again."""
    random = np.random.default_rng(seed)
    gallery, queries = clustered(random, items, 9, 12, spread)
    if copies != "none":  # some twice, some never, or nearly all the same
        gallery = gallery[random.integers(0, items if copies == "some" else 3, items) % items]
    removed = np.unique(random.integers(0, 9 * items, 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "UNITS_AT_ONCE", block)
        patch.setattr(exact, "SPARE", spare)
        patch.setattr(exact, "SEARCHES_AT_ONCE", 4)
        patch.setattr(scores, "FLOATS_AT_ONCE", 500)
        ranked = top_rows(queries, gallery, k, removed=removed)
    np.testing.assert_array_equal(ranked, by_float64(queries, gallery, k, removed))


def cancelled(random, items: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors that are nearly at right angles to the queries, by large parts that cancel: float32 keeps few digits of such scores."""
    half = random.normal(size=(items, dim))
    tiny = 1e-7 * random.normal(size=(items, dim))
    gallery, queries = np.hstack([half, -half + tiny]), np.tile(random.normal(size=(9, dim)), 2)
    return unit(gallery), unit(queries)


def near_ties(random, items: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores one float32 step apart, in an order that has nothing to do with rows."""
    gallery = np.tile(unit(random.normal(size=(1, dim))), (items, 1))
    gallery[:, 0] = np.nextafter(gallery[:, 0], 2 * (random.random(items) < 0.5) - 1)
    gallery[:, 1] += np.float32(6e-8) * random.integers(-3, 4, items).astype(np.float32)
    return gallery.astype(np.float32), unit(random.normal(size=(9, dim)))


def equal_sums(random, items: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Different vectors of one score: the same entries in other places."""
    row = unit(random.normal(size=(1, dim)))[0]
    gallery = np.stack([random.permutation(row) for _ in range(items)])
    return gallery, unit(np.ones((9, dim)))


@pytest.mark.parametrize("hard", [cancelled, near_ties, equal_sums])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("items", [40, 1500])
def test_hard_cases_rank_as_float64(hard, seed, items):
    random = np.random.default_rng(seed)
    gallery, queries = hard(random, items, 33)
    np.testing.assert_array_equal(top_rows(queries, gallery, 20), by_float64(queries, gallery, 20))


def test_few_are_scored_again_where_scores_differ(monkeypatch):
    """The margin is that of float32, so random vectors leave hardly anything to float64, and no search is sought twice."""
    random = np.random.default_rng(0)
    gallery, queries = unit(random.normal(size=(5000, 32))), unit(random.normal(size=(50, 32)))
    assert (margin(queries, 1.0) < 1e-5).all()
    again, fetched = [], []
    monkeypatch.setattr(
        exact,
        "exact_scores",
        lambda *given: again.append(len(given[3])) or scores.exact_scores(*given),
    )
    fetch = exact._fetch
    monkeypatch.setattr(exact, "_fetch", lambda *given: fetched.append(given[2]) or fetch(*given))
    top_rows(queries, gallery, 10)
    assert fetched == [10 + exact.SPARE]
    assert sum(again) < 50


@pytest.mark.parametrize("length", [1.0, 30.0])
def test_the_margin_holds_the_error_of_the_products(length):
    random = np.random.default_rng(1)
    queries = unit(random.normal(size=(20, 300)))
    gallery = unit(random.normal(size=(300, 300))) * np.float32(length)
    exact = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    error = np.abs(products(queries, gallery).numpy() - exact).max(axis=1)
    assert (2 * error < margin(queries, length)).all() and (error > 0).all()


def test_searches_whose_products_are_negative_are_ranked_too():
    """One search has all vectors behind it, one has few before it, one is nothing at all."""
    random = np.random.default_rng(7)
    gallery = np.abs(unit(random.normal(size=(2000, 16))))
    gallery[:3] *= -1
    queries = unit(np.stack([-np.ones(16), -np.eye(16)[0], np.ones(16)])).astype(np.float32)
    queries = np.concatenate([queries, np.zeros((1, 16), np.float32)])
    np.testing.assert_array_equal(top_rows(queries, gallery, 9), by_float64(queries, gallery, 9))


def test_rounded_products_are_never_used():
    """Told to round float32 products to bfloat16, torch would break the margin; ours keep their precision."""
    random = np.random.default_rng(1)
    queries, gallery = unit(random.normal(size=(20, 256))), unit(random.normal(size=(64, 256)))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        scores = products(queries, gallery).numpy()
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(scores, queries @ gallery.T, atol=1e-6)


@pytest.mark.parametrize("copies", [1, 4, 400])
def test_a_gpu_is_asked_where_there_is_one(monkeypatch, copies):
    """faiss's search on a GPU, stood in for by the processor's, gives the same ranking, copies and near ties included; what is too many for it stays here."""
    random = np.random.default_rng(4)
    gallery, queries = clustered(random, 3000, 40, 16, 1e-3)
    gallery = gallery[random.integers(0, 3000 // copies, 3000)] if copies > 1 else gallery
    removed = np.unique(random.integers(0, 40 * 3000, 500))
    wanted = top_rows(queries, gallery, 30, removed=removed)
    asked = []

    def on_the_processor(resources, queries, vectors, count, metric):
        asked.append(count)
        return faiss.knn(queries, vectors, count, metric=metric)

    monkeypatch.setattr(exact, "gpu_resources", lambda: None)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "knn_gpu", on_the_processor, raising=False)
    np.testing.assert_array_equal(top_rows(queries, gallery, 30, removed=removed), wanted)
    assert asked and max(asked) <= exact.MOST_ON_GPU


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing_and_are_given_back(threads):
    random = np.random.default_rng(6)
    gallery, queries = clustered(random, 3000, 400, 16, 1e-4)
    removed = np.unique(random.integers(0, 400 * 3000, 5000))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = top_rows(queries, gallery, 20, removed=removed)
        torch.set_num_threads(threads)
        together = top_rows(queries, gallery, 20, removed=removed)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(alone, by_float64(queries, gallery, 20, removed.tolist()))


def test_equal_vectors_fold_even_where_hashes_collide(monkeypatch):
    random = np.random.default_rng(3)
    distinct = unit(random.normal(size=(40, 6)))
    rows = random.integers(0, 40, 500)
    gallery = distinct[rows]
    gallery[::2] = np.where(gallery[::2] == 0, -0.0, gallery[::2])
    units = Folded(gallery)
    assert len(units.first) == len(set(rows.tolist()))
    monkeypatch.setattr(folded, "_hashes", lambda block: np.zeros(len(block), np.uint64))
    collided = Folded(gallery)
    for name in ("first", "members", "offsets"):
        np.testing.assert_array_equal(getattr(collided, name), getattr(units, name))
    members, of = units.rows(np.arange(len(units.first)))
    assert sorted(members) == list(range(500))
    assert (rows[members] == rows[units.first[of]]).all()


def test_zero_and_minus_zero_are_one_vector():
    gallery = np.array([[1, 0], [1, -0.0], [0, 1]], dtype=np.float32)
    assert Folded(gallery).first.tolist() == [0, 2]
