"""Metrics of item vectors against literal loops."""

import numpy as np
import pytest

from representation.metrics.neighbours import (
    alignment,
    category_accuracy,
    same_spu_recall,
    uniformity,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(0).normal(size=(200, 6)))


@pytest.fixture(scope="module")
def labels(vectors) -> np.ndarray:
    """Cells of a coarse grid: near items often share one, some items are alone in theirs."""
    return np.unique((vectors[:, :4] * 1.4).round(), axis=0, return_inverse=True)[1]


def neighbours_by_loop(vectors: np.ndarray, row: int) -> list[int]:
    scores = vectors.astype(np.float64) @ vectors[row].astype(np.float64)
    return [int(other) for other in np.argsort(-scores) if other != row]


def test_category_accuracy_equals_a_loop(vectors, labels):
    alike = [
        labels[neighbours_by_loop(vectors, row)[0]] == labels[row]
        for row in range(200)
        if (labels == labels[row]).sum() > 1
    ]
    estimate = category_accuracy(vectors, labels).estimate
    assert 0.1 < estimate.value < 0.9 and len(alike) < 200
    assert (estimate.value, estimate.count) == (pytest.approx(np.mean(alike)), len(alike))


@pytest.mark.parametrize("num_distinct", [1, 5, 40])
def test_of_several_nearest_items_the_share_of_their_category_counts(num_distinct):
    """Copies of few vectors, two of which (axes) tie without being equal; literal loop over all items of the highest score."""
    random = np.random.default_rng(num_distinct)
    few = np.concatenate([np.eye(6)[:2], unit(random.normal(size=(40, 6)))])[:num_distinct]
    vectors = few[random.integers(0, num_distinct, 90)].astype(np.float32)
    labels = random.integers(0, 4, 90)
    shares, tied = [], []
    for row in range(90):
        scores = vectors.astype(np.float64) @ vectors[row].astype(np.float64)
        scores[row] = -np.inf
        nearest = np.isclose(scores, scores.max(), rtol=0, atol=1e-12)
        shares.append((labels[nearest] == labels[row]).mean())
        tied.append(nearest.sum() > 1)
    found = category_accuracy(vectors, labels).estimate
    assert found.value == pytest.approx(np.mean(shares))
    assert found.tied == pytest.approx(np.mean(tied))


def test_same_spu_recall_equals_a_loop(vectors, labels):
    rows = [row for row in range(200) if (labels == labels[row]).sum() > 1]
    estimates, _, _ = same_spu_recall(vectors, labels, (1, 7))
    for k in (1, 7):
        found = [
            any(labels[other] == labels[row] for other in neighbours_by_loop(vectors, row)[:k])
            for row in rows
        ]
        assert estimates[k].value == pytest.approx(np.mean(found))
        assert estimates[k].count == len(rows)


def test_a_sample_is_drawn_by_the_seed(vectors, labels):
    drawn = [
        category_accuracy(vectors, labels, seed=seed, sample=50).estimate for seed in (0, 0, 1, 2)
    ]
    assert drawn[0] == drawn[1] and drawn[0].count == 50
    assert len({estimate.value for estimate in drawn}) > 1


def test_no_item_has_company(vectors):
    alone = np.arange(200)
    assert category_accuracy(vectors, alone).estimate.count == 0
    assert same_spu_recall(vectors, alone, (1,))[0][1].count == 0


def test_alignment_averages_within_a_search_first(vectors):
    estimate = alignment(vectors[:2], vectors, [[0], [1, 2, 2]]).estimate
    second = np.mean([1, vectors[1] @ vectors[2], vectors[1] @ vectors[2]])
    assert estimate.value == pytest.approx((1 + second) / 2)


def test_uniformity_of_a_point_a_pair_of_poles_and_a_sphere():
    point = np.tile(unit(np.ones((1, 4))), (100, 1))
    assert uniformity(point).estimate.value == pytest.approx(0, abs=1e-6)
    # Every disjoint pair of two opposite points is |x - y|^2 = 4 apart.
    poles = np.array([[1, 0], [-1, 0]], dtype=np.float32)
    assert uniformity(poles).estimate.value == pytest.approx(-8)
    # On the circle E exp(-2 |x - y|^2) = E exp(-4 + 4 cos a) = exp(-4) I0(4).
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 40_000)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    estimate = uniformity(circle).estimate
    assert estimate.count == 20_000
    expected = np.log(np.exp(-4) * np.i0(4))
    assert estimate.value == pytest.approx(expected, abs=0.02)
    assert estimate.low < estimate.value < estimate.high
