"""The stability index against its literal formula, and its chance level on planted and on shuffled columns."""

import math

import numpy as np
import polars as pl
import pytest

from moon_rec.shop.description.drift import (
    DRAWS,
    FEWEST_BLOCKS,
    Blocks,
    column_drift,
    stability_index,
)


def literal_index(train, test):
    """Sum over bins of (q - p) ln(q / p), a half row added to each bin."""
    bins = sorted({*train, *test})
    p = [(train.count(one) + 0.5) / (len(train) + len(bins) / 2) for one in bins]
    q = [(test.count(one) + 0.5) / (len(test) + len(bins) / 2) for one in bins]
    return sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


def blocks_of(users, periods):
    return Blocks(np.array(users), np.array(periods) == "test")


def test_index_of_texts_is_the_literal_one():
    train, test = list("aaabbc"), list("abccc")
    blocks = blocks_of(range(11), ["train"] * 6 + ["test"] * 5)
    found = column_drift("t", "c", pl.Series("c", [*train, *test]), blocks)
    assert found.index == pytest.approx(literal_index(train, test), rel=1e-12)
    assert [bin.label for bin in found.bins] == ["a", "b", "c"]
    assert [bin.train for bin in found.bins] == [3 / 6, 2 / 6, 1 / 6]
    assert (found.train_rows, found.test_rows) == (6, 5)


def test_index_of_numbers_is_that_of_the_tenths_of_train():
    """Tenths of 1 ... 10 are 1 ... 9, so each number of train has a bin; 0 joins the first, 99 the last, and what is missing or no number has its own."""
    train, test = list(range(1, 11)), [0, 1, 1, 99, None, math.nan, math.inf]
    blocks = blocks_of(range(17), ["train"] * 10 + ["test"] * 7)
    found = column_drift("t", "c", pl.Series("c", [*train, *test], strict=False), blocks)
    as_bins = [1, 1, 1, 10, 11, 11, 11]
    assert found.index == pytest.approx(literal_index(train, as_bins), rel=1e-12)
    assert found.bins[0].label == "to 1" and found.bins[-1].label == "missing"


def test_rare_values_of_train_and_new_ones_are_one_bin():
    train = [f"v{number:02d}" for number in range(21) for _ in range(21 - number)]
    blocks = blocks_of(range(len(train) + 2), ["train"] * len(train) + ["test"] * 2)
    found = column_drift("t", "c", pl.Series("c", [*train, "new", "v20"]), blocks)
    assert len(found.bins) == 21 and found.bins[-1].label == "all others"
    assert found.bins[-1].test == 1 and found.bins[-1].train == 1 / len(train)


@pytest.fixture(scope="module")
def log():
    """300 users with 1 to 40 rows each, a tenth of the users' rows in test, and what does and does not drift."""
    random = np.random.default_rng(5)
    users = np.repeat(np.arange(300), random.integers(1, 40, 300))
    is_test = random.random(len(users)) < 0.3
    own = random.normal(size=300)[users]  # alike within a user, the same law in both periods
    return Blocks(users, is_test), {
        "noise": random.normal(size=len(users)),
        "own": own,
        "own text": np.array([f"k{int(4 * abs(value))}" for value in own]),
        "shift": random.normal(size=len(users)) + 0.7 * is_test,
        "shift of text": np.where(random.random(len(users)) < 0.2 + 0.4 * is_test, "a", "b"),
        "goes missing": np.where(is_test & (random.random(len(users)) < 0.5), np.nan, own),
    }


@pytest.mark.parametrize("name", ["shift", "shift of text", "goes missing"])
def test_planted_drift_is_found_and_shuffled_is_not(log, name):
    blocks, columns = log
    values = pl.Series(name, columns[name])
    assert column_drift("t", name, values, blocks).verdict in ("large", "moderate")
    shuffled = values.gather(np.random.default_rng(0).permutation(len(values)))
    assert column_drift("t", name, shuffled, blocks).verdict == "not shown"


@pytest.mark.parametrize("name", ["noise", "own", "own text"])
def test_the_same_law_in_both_periods_is_no_drift(log, name):
    blocks, columns = log
    found = column_drift("t", name, pl.Series(name, columns[name]), blocks)
    assert found.verdict == "not shown" and found.index < 0.05


def test_what_chance_makes_is_exceeded_about_once_in_a_hundred():
    """Values alike within users: by rows, nearly every one of these columns would be called drift."""
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(120), 30)
    blocks = Blocks(users, random.random(len(users)) < 0.5)
    beyond = by_rows = 0
    for _ in range(100):
        half = random.permutation(120) < 60  # users of one period alone
        one = Blocks(users, half[users])
        found = column_drift("t", "c", pl.Series("c", random.normal(size=120)[users]), one)
        beyond += found.verdict != "not shown"
        by_rows += found.index > 3 * 10 / len(users)
    assert beyond <= 5 and by_rows > 90
    assert blocks.drawn.shape[0] == DRAWS


def test_few_users_tell_nothing_and_no_rows_give_no_index():
    users = list(range(FEWEST_BLOCKS - 1)) * 2
    periods = ["train"] * len(users[::2]) + ["test"] * len(users[1::2])
    found = column_drift("t", "c", pl.Series("c", range(len(users))), blocks_of(users, periods))
    assert found.verdict == "cannot be told" and found.index is not None and found.chance is None
    alone = blocks_of(range(50), ["train"] * 50)
    found = column_drift("t", "c", pl.Series("c", range(50)), alone)
    assert found.index is None and found.verdict == "cannot be told"
    nothing = column_drift("t", "c", pl.Series("c", [], dtype=pl.Float64), blocks_of([], []))
    assert nothing.index is None and nothing.bins == ()


def test_the_index_is_zero_for_equal_shares_and_never_below():
    assert stability_index(np.array([10, 20]), np.array([10, 20])) == 0
    random = np.random.default_rng(2).integers(0, 50, (100, 2, 6))
    assert (stability_index(random[:, 0], random[:, 1]) >= 0).all()
