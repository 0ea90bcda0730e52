"""The exact search: no true neighbour is lost before float64 judges, whatever the blocks, the ties and the room."""

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from representation.search import (
    bfloat16_contenders,
    block_scores,
    contenders,
    folding,
)
from representation.search import exact as exact_ranking
from representation.search.block_scores import (
    Bfloat16Scores,
    Float32Scores,
    margin,
    products,
    rounded_off,
)
from representation.search.contenders import find_contenders
from representation.search.exact import Folded, top_rows


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


ROUGH = ["none", "literal"] + ["by the processor"] * block_scores.multiplies_bfloat16()
"""What bfloat16 products come before those of float32."""


def patch_rough(patch, rough: str) -> None:
    """Have every gallery searched by bfloat16 first, whatever its size and however little that helps, or never."""
    patch.setattr(exact_ranking, "multiplies_bfloat16", lambda: rough != "none")
    if rough != "none":  # a GPU would be asked first
        patch.setattr(exact_ranking, "gpu_index", lambda vectors: None)
    patch.setattr(bfloat16_contenders, "FEWEST_GROUPS", 0)
    patch.setattr(bfloat16_contenders, "FLOATS_AT_ONCE", 2000)
    patch.setattr(exact_ranking, "GIVE_UP", 1)
    product = block_scores._by_onednn
    if rough == "literal":

        def rounded(queries, vectors):
            if queries.dtype == torch.float32:
                return product(queries, vectors)
            return (queries.float() @ vectors.float().T).bfloat16()

        patch.setattr(block_scores, "_by_onednn", rounded)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    items=st.integers(1, 700),
    k=st.integers(1, 90),
    spread=st.sampled_from([1.0, 1e-3, 1e-6, 1e-8]),
    block=st.sampled_from([64, 128]),
    room=st.sampled_from([1, 8, 192]),
    first_blocks=st.sampled_from([1, 3, 8]),
    copies=st.sampled_from(["none", "some", "most"]),
    rough=st.sampled_from(ROUGH),
)
def test_equals_float64_whatever_the_room(
    seed, items, k, spread, block, room, first_blocks, copies, rough
):
    """Spreads down to where float32 cannot tell the scores apart, so that many searches are crowded."""
    random = np.random.default_rng(seed)
    gallery, queries = clustered(random, items, 9, 12, spread)
    if copies != "none":  # some twice, some never, or nearly all the same
        gallery = gallery[random.integers(0, items if copies == "some" else 3, items) % items]
    removed = np.unique(random.integers(0, 9 * items, 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contenders, "BLOCK", block)
        patch.setattr(exact_ranking, "BLOCK", block)
        patch.setattr(contenders, "ROOM", room)
        patch.setattr(contenders, "PATIENCE", 3)
        patch.setattr(contenders, "FIRST_BLOCKS", first_blocks)
        patch.setattr(exact_ranking, "CHUNK_SEARCHES", 4)
        patch.setattr(block_scores, "FLOATS_AT_ONCE", 500)
        patch_rough(patch, rough)
        ranked = top_rows(queries, gallery, k, removed=removed)
    np.testing.assert_array_equal(ranked, by_float64(queries, gallery, k, removed))


def test_rising_scores_fill_the_room_at_every_block(monkeypatch):
    """The worst order: each block is better than all before it."""
    monkeypatch.setattr(contenders, "BLOCK", 64)
    monkeypatch.setattr(contenders, "ROOM", 8)
    angles = np.linspace(1.5, 0, 1000)
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    queries = np.eye(1, 2, dtype=np.float32)
    np.testing.assert_array_equal(top_rows(queries, gallery, 20)[0], np.arange(999, 979, -1))


def test_few_contenders_where_scores_differ():
    """The margin is that of float32, so random vectors leave hardly more than what is needed."""
    random = np.random.default_rng(0)
    gallery, queries = unit(random.normal(size=(5000, 32))), unit(random.normal(size=(50, 32)))
    margins = margin(queries, 1.0)
    assert (margins < 1e-5).all()
    found = find_contenders(Float32Scores(queries, gallery, 1.0), 10, np.array([7, 4999]))
    assert not np.isin(found.places, [7, 4999]).any()
    assert not found.is_crowded.any()
    assert ((found.places >= 0).sum(axis=1) >= 10).all()
    assert (found.places >= 0).sum() < 50 * 11


@pytest.mark.parametrize("length", [1.0, 30.0])
def test_the_margin_holds_the_error_of_the_products(length):
    random = np.random.default_rng(1)
    queries = unit(random.normal(size=(20, 300)))
    gallery = unit(random.normal(size=(300, 300))) * np.float32(length)
    exact = queries.astype(np.float64) @ gallery.T.astype(np.float64)
    error = np.abs(products(queries, gallery).numpy() - exact).max(axis=1)
    assert (2 * error < margin(queries, length)).all() and (error > 0).all()


def worst_pair(what: str, lift: int) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors and a query: the second is the better, by hardly anything, and rounding moves nearly every entry so that the first seems so by as much as it can.

    Rounded entries are near 192, where bfloat16's grid is one, just above or below the half: of the query or of the vectors. Others are on their grid. Scores are below 100,
    their grid at most a half, or with `what` "scores" near 9,000 and 64. `lift` moves them.
    """
    signs = np.ones(26)
    if what != "scores":
        signs[1::2] = -1
    # the first's score rises by rounding, the second's falls
    up = np.where(signs > 0, 0.505, 0.495)
    if what == "queries":
        pair = np.stack([np.append(signs, lift / 64), np.append(-signs, (lift + 1) / 64)])
        return pair.astype(np.float32), np.append(192 + up, 64)[None].astype(np.float32)
    pair = 192 + np.stack([up, 1 - up])
    pair[:, 0] += [lift, lift + 1]
    base = 4096 if what == "scores" else 0
    pair = np.concatenate([pair, [[base], [base]]], axis=1)
    return pair.astype(np.float32), np.append(signs, 1)[None].astype(np.float32)


@pytest.mark.parametrize("rough", ROUGH[1:])
@pytest.mark.parametrize("what", ["queries", "vectors", "scores"])
def test_a_floor_of_bfloat16_is_below_the_best_and_hardly_lower(monkeypatch, rough, what):
    """The better of the worst pairs always reaches the floor that the other gives, and not if the floor left out a fifth of what rounding takes off the query or the
    vectors, or what it takes off the scores."""
    patch_rough(monkeypatch, rough)

    def lost(factor: float) -> int:
        number = 0
        for lift in range(16, 60):
            gallery, query = worst_pair(what, lift)
            exact = (gallery.astype(np.float64) @ query.T)[:, 0]
            assert 0 < exact[1] - exact[0] < 1
            off = rounded_off(gallery)
            lengths = [float(np.linalg.norm(rows, axis=1).max()) for rows in (gallery, off)]
            scores = Bfloat16Scores(query, gallery, *lengths)
            scores.margins *= factor
            bits = scores.of_block(0, 2)
            number += int(bits[0, 1] < scores.floor(bits[:, 0], slice(None))[0])
        return number

    assert lost(1) == 0
    if what != "scores":
        assert lost(0.8) > 0
    else:
        monkeypatch.setattr(block_scores, "HALF_LAST_PLACE", 0)
        assert lost(1) > 0


@pytest.mark.parametrize("rough", ROUGH[1:])
def test_bfloat16_leaves_few_to_float32(monkeypatch, rough):
    """Random vectors, as an encoder's unlike each other: no search is sought twice, and float32 finds the same contenders."""
    patch_rough(monkeypatch, rough)
    random = np.random.default_rng(0)
    gallery, queries = unit(random.normal(size=(5000, 32))), unit(random.normal(size=(50, 32)))
    folded = Folded(gallery)
    in_float32 = Float32Scores(queries, gallery, folded.longest)
    wanted = find_contenders(in_float32, 10, folded.hidden)
    found, left = bfloat16_contenders.bfloat16_contenders(
        in_float32, folded.most_rounded, 10, folded.hidden, 1024
    )
    assert left == 0
    np.testing.assert_array_equal(found.places, wanted.places)
    in_bfloat16 = Bfloat16Scores(queries, gallery, folded.longest, folded.most_rounded)
    rough_found = find_contenders(in_bfloat16, 10, folded.hidden)
    assert 50 * 10 < (rough_found.places >= 0).sum() < 50 * 25


def test_bfloat16_is_given_up_where_it_tells_nothing_apart(monkeypatch):
    patch_rough(monkeypatch, ROUGH[-1])
    monkeypatch.setattr(exact_ranking, "GIVE_UP", 0.3)
    random = np.random.default_rng(5)
    gallery, queries = clustered(random, 4000, 30, 16, 1e-4)
    folded = Folded(gallery)
    assert folded.most_rounded is not None
    folded.contenders(queries, 5)
    assert folded.most_rounded is None
    np.testing.assert_array_equal(top_rows(queries, gallery, 5), by_float64(queries, gallery, 5))


@pytest.mark.parametrize(("can", "answer"), [(True, 2.0), (False, RuntimeError("no primitive"))])
def test_bfloat16_is_used_where_onednn_agrees_to(monkeypatch, can, answer):
    """The processor may have what oneDNN was told not to use."""

    def product(queries, vectors):
        if isinstance(answer, Exception):
            raise answer
        return torch.full((len(queries), len(vectors)), answer)

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr(block_scores, "has_onednn", lambda: True)
    monkeypatch.setattr(block_scores, "_by_onednn", product)
    assert block_scores.multiplies_bfloat16() is can
    monkeypatch.setattr(block_scores, "has_onednn", lambda: False)
    assert not block_scores.multiplies_bfloat16()


@pytest.mark.parametrize("rough", ROUGH[1:])
def test_searches_whose_products_are_negative_are_ranked_too(monkeypatch, rough):
    """One search has all vectors behind it, one has few before it, one is nothing at all."""
    patch_rough(monkeypatch, rough)
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


def test_without_onednn_the_ranking_is_the_same(monkeypatch):
    random = np.random.default_rng(2)
    gallery, queries = clustered(random, 3000, 40, 16, 1e-5)
    ranked = top_rows(queries, gallery, 30)
    monkeypatch.setattr(block_scores, "has_onednn", lambda: False)
    np.testing.assert_array_equal(top_rows(queries, gallery, 30), ranked)


@pytest.mark.parametrize("copies", [1, 4, 400])
def test_contenders_from_a_flat_index_give_the_same_ranking(monkeypatch, copies):
    """What a GPU's index would answer, asked of faiss's flat index on the processor, copies and near ties included."""
    random = np.random.default_rng(4)
    gallery, queries = clustered(random, 3000, 40, 16, 1e-3)
    gallery = gallery[random.integers(0, 3000 // copies, 3000)] if copies > 1 else gallery
    removed = np.unique(random.integers(0, 40 * 3000, 500))
    wanted = top_rows(queries, gallery, 30, removed=removed)
    asked = []

    def on_the_processor(vectors):
        index = faiss.IndexFlatIP(16)
        index.add(vectors)
        asked.append(index)
        return index

    monkeypatch.setattr(exact_ranking, "gpu_index", on_the_processor)
    np.testing.assert_array_equal(top_rows(queries, gallery, 30, removed=removed), wanted)
    assert asked


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
    folded = Folded(gallery)
    assert len(folded.first) == len(set(rows.tolist()))
    monkeypatch.setattr(folding, "_hashes", lambda block: np.zeros(len(block), np.uint64))
    collided = Folded(gallery)
    for name in ("first", "members", "offsets"):
        np.testing.assert_array_equal(getattr(collided, name), getattr(folded, name))
    for unit_number in range(len(folded.first)):
        members = folded.members[folded.offsets[unit_number] : folded.offsets[unit_number + 1]]
        assert (rows[members] == rows[folded.first[unit_number]]).all()


def test_zero_and_minus_zero_are_one_vector():
    gallery = np.array([[1, 0], [1, -0.0], [0, 1]], dtype=np.float32)
    assert Folded(gallery).first.tolist() == [0, 2]
