"""Weights and halves of users by hash: against a literal loop, their moments, and independence from everything but (seed, user, draw)."""

import math

import numpy as np
import pytest

from moon_rec.seeds import seed_of
from moon_rec.user_draws import (
    DrawCounts,
    UnitValues,
    draw_halves,
    draw_weights,
    weight_rows,
)

MASK = (1 << 64) - 1
IDS = np.array([0, 1, 2, 7, -5, 2**62, -(2**63), 2**63 - 1])


def mixed(word):
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def word_of(seed, units, name, unit):
    """Plain integers of Python."""
    own = seed_of(seed, "units drawn", units, "unit")
    other = seed_of(seed, "units drawn", units, name)
    return mixed((mixed((unit + own) & MASK) + other) & MASK)


def test_the_mixing_is_splitmix64s():
    # first outputs for seed 1234567, from the reference of Vigna's splitmix64.c
    state, found = 1234567, []
    for _ in range(3):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        found.append(mixed(state))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("units", ["users", "items"])
def test_weights_and_halves_are_those_of_a_literal_loop(units):
    weights, halves = draw_weights(IDS, 3, 4, 11, units), draw_halves(IDS, 3, 4, 11, units)
    for row in range(4):
        for column, unit in enumerate(IDS.tolist()):
            uniform = ((word_of(11, units, f"draw {3 + row}", unit) >> 11) + 0.5) / 2**53
            assert weights[row, column] == pytest.approx(-math.log(uniform), rel=1e-14)
            half = word_of(11, units, f"split {3 + row}", unit) >> 63
            assert halves[row, column] == bool(half)


def test_weights_have_mean_and_variance_one_over_users_and_over_draws():
    weights = draw_weights(np.arange(4_000), 0, 200)
    assert weights.min() > 0
    assert weights.mean() == pytest.approx(1, abs=5 / math.sqrt(weights.size))
    # the variance of a squared deviation is 9 - 1
    assert weights.var() == pytest.approx(1, abs=5 * math.sqrt(8 / weights.size))
    assert np.mean((weights - 1) ** 3) == pytest.approx(2, abs=0.1)
    for axis in (0, 1):
        means = weights.mean(axis=axis)
        assert means.std() == pytest.approx(1 / math.sqrt(weights.shape[axis]), rel=0.2)


def test_draws_and_neighbouring_users_are_independent():
    weights = draw_weights(np.arange(20_000), 0, 30)
    between = np.corrcoef(weights)[np.triu_indices(30, 1)]
    assert np.abs(between).max() < 5 / math.sqrt(20_000)
    lagged = np.corrcoef(weights[:, :-1].ravel(), weights[:, 1:].ravel())[0, 1]
    assert abs(lagged) < 5 / math.sqrt(600_000)
    with_halves = np.corrcoef(weights[0], draw_halves(np.arange(20_000), 0, 1)[0])[0, 1]
    assert abs(with_halves) < 5 / math.sqrt(20_000)


def test_a_users_weight_depends_on_no_order_and_no_other_user():
    ids = np.arange(500) * 977 - 3
    whole = draw_weights(ids, 0, 20)
    halves = draw_halves(ids, 0, 20)
    some = np.random.default_rng(0).permutation(500)[:123]
    np.testing.assert_array_equal(draw_weights(ids[some], 0, 20), whole[:, some])
    np.testing.assert_array_equal(draw_halves(ids[some], 0, 20), halves[:, some])
    np.testing.assert_array_equal(draw_weights(ids, 7, 5), whole[7:12])
    np.testing.assert_array_equal(draw_weights(ids.astype(np.int32), 7, 5), whole[7:12])


def test_other_seeds_and_other_units_have_other_draws():
    ids = np.arange(5_000)
    rows = [draw_weights(ids, 0, 1, *of)[0] for of in ((0, "users"), (1, "users"), (0, "items"))]
    between = np.corrcoef(rows)[np.triu_indices(3, 1)]
    assert np.abs(between).max() < 5 / math.sqrt(5_000)


def test_halves_are_balanced_and_no_two_splits_alike():
    halves = draw_halves(np.arange(10_000), 0, 50)
    assert np.abs(halves.mean(axis=1) - 0.5).max() < 4 * 0.5 / 100
    assert np.abs(np.corrcoef(halves)[np.triu_indices(50, 1)]).max() < 5 / 100


@pytest.mark.parametrize("chunk", [1, 70, 10**9])
def test_rows_are_ones_then_draws_then_halves_in_blocks_of_any_size(monkeypatch, chunk):
    monkeypatch.setattr("moon_rec.user_draws.CHUNK_CELLS", chunk)
    ids, counts = np.arange(30), DrawCounts(5, 3)
    rows = np.concatenate(list(weight_rows(ids, counts)))
    assert rows.shape == (counts.rows, 30)
    assert (rows[0] == 1).all()
    np.testing.assert_array_equal(rows[1:6], draw_weights(ids, 0, 5))
    second = draw_halves(ids, 0, 3)
    np.testing.assert_array_equal(rows[6::2], ~second)
    np.testing.assert_array_equal(rows[7::2], second)


def planted(num_users=40, num_rows=300, num_metrics=3):
    random = np.random.default_rng(5)
    users = random.integers(0, num_users, num_rows) * 13
    return UnitValues(
        "users", users, ("a", "b", "c")[:num_metrics], random.random((num_rows, num_metrics))
    )


def test_means_under_draws_are_those_of_a_literal_loop():
    found, counts = planted(), DrawCounts(6, 2)
    means = found.under_draws(counts)
    weights = np.concatenate(list(weight_rows(found.ids, counts)))  # a weight for each search
    for row, own in enumerate(weights):
        for column in range(3):
            expected = np.average(found.values[:, column], weights=own)
            assert means[row, column] == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(means[0], found.values.mean(axis=0), rtol=1e-14)


def test_only_some_metrics_are_the_same_metrics():
    found, counts = planted(), DrawCounts(3, 1)
    some = found.only({"c", "a", "d"})
    assert some.names == ("a", "c")
    np.testing.assert_array_equal(some.under_draws(counts), found.under_draws(counts)[:, [0, 2]])


def test_a_log_is_taken_of_the_mean():
    found = planted(num_metrics=1)
    log = UnitValues(found.units, found.ids, found.names, found.values, is_log=True)
    counts = DrawCounts(3, 1)
    np.testing.assert_array_equal(log.under_draws(counts), np.log(found.under_draws(counts)))


def test_a_half_without_a_search_has_no_value_and_a_draw_always_has_one():
    one = UnitValues("users", np.array([4, 4]), ("recall",), np.array([[0.0], [1.0]]))
    means = one.under_draws(DrawCounts(50, 8))[:, 0]
    assert (means[:51] == 0.5).all()
    assert np.isnan(means[51:]).sum() == 8


def test_the_covariance_over_draws_is_that_of_dirichlet_weights():
    """Of means over n users with one search each it is the users' covariance (divided by n) over n + 1."""
    random = np.random.default_rng(2)
    values = random.normal(size=(25, 2)) @ np.array([[1, 0.8], [0, 0.6]])
    found = UnitValues("users", np.arange(25), ("a", "b"), values)
    num_draws = 20_000
    drawn = found.under_draws(DrawCounts(num_draws, 1))[1 : 1 + num_draws]
    expected = np.cov(values.T, ddof=0) / 26
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    # the standard error of a covariance from R draws is about sqrt(2 / R) of the scale
    assert np.abs(np.cov(drawn.T) - expected).max() < 5 * math.sqrt(2 / num_draws) * scale.max()


def test_two_encoders_on_the_same_searches_have_noise_in_common():
    """Each search is easy or hard for both, apart from which is better: the joint draws see it, single intervals cannot."""
    random = np.random.default_rng(3)
    hard = random.random(4_000)
    hits = np.column_stack([hard < 0.5, hard < 0.55]).astype(float)
    found = UnitValues("users", np.arange(4_000) // 4, ("one", "other"), hits)
    drawn = found.under_draws(DrawCounts(200, 1))[1:201]
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(hits.T)[0, 1], abs=0.05)
