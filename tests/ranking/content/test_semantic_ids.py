"""Residual quantisation against a literal loop, and what its codes promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import RankingError
from ranking.content.semantic_ids import SemanticIds


def clustered(items=400, dim=6, clusters=12, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    rows = centres[random.integers(clusters, size=items)] + 0.3 * random.normal(size=(items, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def error(vectors, codes, semantic_ids):
    return float(np.square(vectors - semantic_ids.reconstruct(codes)).sum(axis=1).mean())


def test_codes_are_the_nearest_centroids_of_what_is_left():
    vectors = clustered()
    semantic_ids = SemanticIds.fit(vectors, 3, 8)
    codes = semantic_ids.encode(vectors)
    for vector, found in zip(vectors, codes, strict=True):
        left = vector.astype(np.float64)
        for level in range(3):
            distances = [float(((left - c) ** 2).sum()) for c in semantic_ids.centroids[level]]
            assert distances[found[level] - 1] <= min(distances) + 1e-6
            left = left - semantic_ids.centroids[level, found[level] - 1]


def test_each_level_leaves_less_and_says_how_much():
    vectors = clustered()
    semantic_ids = SemanticIds.fit(vectors, 4, 8)
    codes = semantic_ids.encode(vectors)
    errors = [error(vectors, codes[:, :levels], semantic_ids) for levels in range(5)]
    assert errors[0] == pytest.approx(1, abs=1e-5)
    assert all(later < 0.9 * earlier for earlier, later in itertools.pairwise(errors))


def test_clusters_that_lie_apart_are_found():
    random = np.random.default_rng(1)
    centres = np.eye(8, dtype=np.float32) * 5
    owners = random.integers(8, size=300)
    vectors = centres[owners] + 0.01 * random.normal(size=(300, 8)).astype(np.float32)
    codes = SemanticIds.fit(vectors, 1, 8).encode(vectors)[:, 0]
    assert len({(owner, code) for owner, code in zip(owners, codes, strict=True)}) == 8


def test_as_good_as_faiss():
    # single runs end in different local optima, so the mean of a few counts
    faiss = pytest.importorskip("faiss")
    vectors = clustered(600, 8, 20)
    theirs, ours = [], []
    for seed in range(10):
        peer = faiss.Kmeans(8, 16, niter=20, seed=seed + 1, min_points_per_centroid=1)
        peer.train(vectors)
        theirs.append(peer.index.search(vectors, 1)[0].mean())
        semantic_ids = SemanticIds.fit(vectors, 1, 16, seed)
        ours.append(error(vectors, semantic_ids.encode(vectors), semantic_ids))
    assert np.mean(ours) < 1.02 * np.mean(theirs)


def test_the_same_call_gives_the_same_bits_and_another_seed_others():
    vectors = clustered()
    one, two, other = (SemanticIds.fit(vectors, 2, 8, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.centroids, two.centroids)
    assert not np.array_equal(one.centroids, other.centroids)


def test_only_the_given_vectors_shape_the_codes():
    vectors = clustered()
    known = SemanticIds.fit(vectors[:200], 2, 8)
    codes = known.encode(vectors)
    assert np.array_equal(codes[:200], known.encode(vectors[:200]))
    assert np.array_equal(known.encode(vectors[200:]), codes[200:])


@given(
    distinct=st.integers(1, 6),
    copies=st.integers(1, 5),
    num_codes=st.integers(1, 9),
    seed=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_duplicates_and_fewer_items_than_codes(distinct, copies, num_codes, seed):
    different = np.random.default_rng(seed).normal(size=(distinct, 3)).astype(np.float32)
    vectors = np.tile(different, (copies, 1))
    semantic_ids = SemanticIds.fit(vectors, 2, num_codes, seed)
    codes = semantic_ids.encode(vectors)
    assert semantic_ids.num_used[0] == min(distinct, num_codes)
    assert codes.min() >= 1 and (codes <= semantic_ids.num_used).all()
    assert np.array_equal(codes, np.tile(codes[:distinct], (copies, 1)))
    assert np.isfinite(semantic_ids.centroids).all()
    if distinct <= num_codes:
        assert error(vectors, codes, semantic_ids) < 1e-10


def test_a_code_that_loses_its_vectors_is_given_another():
    # two of the first centroids are nearly one: the empty one must move to what is far
    from ranking.content.semantic_ids import _lloyd_step

    vectors = np.array([[0.0, 0], [0, 1], [9, 9]], dtype=np.float32)
    found = _lloyd_step(vectors, np.array([[0.0, 0.5], [50, 50]], dtype=np.float32))
    assert found[1].tolist() == [9, 9]


def test_a_missing_vector_has_a_code_of_its_own():
    vectors = clustered(50)
    semantic_ids = SemanticIds.fit(vectors, 2, 4)
    present = np.arange(50) % 3 > 0
    noisy = np.where(present[:, None], vectors, np.nan)
    codes = semantic_ids.encode(noisy, present)
    assert not codes[~present].any() and codes[present].all()
    assert np.array_equal(codes[present], semantic_ids.encode(vectors)[present])
    assert not semantic_ids.reconstruct(codes)[~present].any()
    assert semantic_ids.encode(vectors[:0]).shape == (0, 2)


def test_saved_and_loaded_is_the_same(tmp_path):
    vectors = clustered(60)
    semantic_ids = SemanticIds.fit(vectors, 2, 100)
    semantic_ids.save(tmp_path / "ids.safetensors")
    loaded = SemanticIds.load(tmp_path / "ids.safetensors")
    assert np.array_equal(loaded.encode(vectors), semantic_ids.encode(vectors))
    assert (loaded.num_levels, loaded.num_codes, loaded.dim) == (2, 100, 6)


def test_more_vectors_than_are_needed_are_sampled(monkeypatch):
    monkeypatch.setattr("ranking.content.semantic_ids.MOST_PER_CODE", 4)
    vectors = clustered(300)
    semantic_ids = SemanticIds.fit(vectors, 1, 8)
    codes = semantic_ids.encode(vectors)
    assert error(vectors, codes, semantic_ids) < 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: SemanticIds.fit(np.zeros((0, 3))), "got 0 vectors"),
        (lambda _: SemanticIds.fit(np.zeros((4, 3)), num_levels=0), "0 levels"),
        (lambda _: SemanticIds.fit(np.zeros(3)), r"shape \(3,\)"),
        (lambda _: SemanticIds.fit(np.array([[0.0], [np.inf]])), "vector 1 is not finite"),
        (lambda ids: ids.encode(np.zeros((2, 5))), r"wanted \(items, 3\)"),
        (lambda ids: ids.reconstruct(np.zeros((2, 9), dtype=int)), "wanted"),
        (lambda ids: ids.reconstruct(np.full((2, 1), 99)), "from 99 to 99, wanted 0 to 4"),
        (lambda _: SemanticIds.load("/nowhere/at/all"), "no semantic ids at /nowhere/at/all"),
    ],
)
def test_what_a_user_got_wrong_is_named(call, message):
    semantic_ids = SemanticIds.fit(np.eye(3, dtype=np.float32), 1, 4)
    with pytest.raises(RankingError, match=message) as caught:
        call(semantic_ids)
    assert "\n" not in str(caught.value)


def test_another_file_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(RankingError, match="format None"):
        SemanticIds.load(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RankingError, match="no semantic ids"):
        SemanticIds.load(tmp_path / "y.safetensors")
