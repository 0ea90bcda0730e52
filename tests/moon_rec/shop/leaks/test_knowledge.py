"""What a single column tells of a label: against a literal count, and only leaks beyond belief."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.shop.leaks import knowledge
from moon_rec.shop.leaks.knowledge import auc_of

ROWS = 4_000
RANDOM = np.random.default_rng(0)
CLICKED = RANDOM.random(ROWS) < 0.12
NOISE = RANDOM.normal(size=ROWS)


def only_clicked(values, otherwise=None):
    """The values where a row was clicked, else null or another value."""
    return pl.Series([v if c else otherwise for v, c in zip(values, CLICKED, strict=True)])


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_literal_count_of_pairs(rows):
    scores, positive = np.array([s for s, _ in rows], float), np.array([p for _, p in rows])
    if positive.all() or not positive.any():
        return
    pairs = [(a > b) + (a == b) / 2 for a in scores[positive] for b in scores[~positive]]
    assert auc_of(scores, positive) == pytest.approx(np.mean(pairs), abs=1e-12)


LEAKS = {
    "the label": pl.Series(CLICKED),
    "the label as a number": pl.Series(CLICKED.astype(float)),
    "the label turned round": pl.Series(~CLICKED),
    "the label with noise": pl.Series(CLICKED + 0.2 * NOISE),
    "low for clicked rows": pl.Series(-10.0 * CLICKED + NOISE),
    "dwelling, null where not clicked": only_clicked(np.abs(NOISE)),
    "dwelling, NaN where not clicked": only_clicked(np.abs(NOISE), float("nan")),
    "dwelling, 0 where not clicked": only_clicked(np.abs(NOISE), 0.0),
    "an order's number as text": only_clicked([f"order {n}" for n in range(ROWS)]),
    "null exactly where clicked": pl.Series([None if c else 1.0 for c in CLICKED]),
    "clicked rows in the middle": pl.Series(
        np.where(CLICKED, 0.5, np.sign(NOISE)) + 0.01 * np.abs(NOISE)
    ),
    "codes of which two mean clicked": pl.Series(
        np.where(CLICKED, RANDOM.choice([1, 4], ROWS), RANDOM.choice([0, 2, 3], ROWS))
    ),
    "a few orders among the clicks": pl.Series(
        [n if c and n % 9 == 0 else None for n, c in enumerate(CLICKED)]
    ),
    "a time that only clicks have": only_clicked([20_000 + n for n in range(ROWS)]).cast(pl.Date),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_knows_the_label_is_beyond_belief(name):
    found = knowledge(LEAKS[name], pl.Series(CLICKED))
    assert not found.is_believable
    assert f"over {ROWS:,} rows" in str(found)
    assert found.auc > 0.95 or found.num_only


HONEST = {
    "noise": pl.Series(NOISE),
    "a strong feature": pl.Series(1.5 * CLICKED + NOISE),
    "missing at random": pl.Series([None if n % 3 else n for n in range(ROWS)]),
    "missing more often where clicked": pl.Series(
        [None if RANDOM.random() < 0.2 + 0.6 * c else 1.0 for c in CLICKED]
    ),
    "an id of its own for each row": pl.Series([f"row {n}" for n in range(ROWS)]),
    "a number of its own for each row": pl.Series(RANDOM.permutation(ROWS)),
    "one of a thousand users": pl.Series(RANDOM.integers(0, 1_000, ROWS)),
    "constant": pl.Series(np.ones(ROWS)),
    "never there": pl.Series([None] * ROWS, dtype=pl.Float64),
    "sold out, never clicked": pl.Series((~CLICKED) & (NOISE > 1)),
    "three rows that happen to be clicked": pl.Series(
        np.isin(np.arange(ROWS), np.flatnonzero(CLICKED)[:3])
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_column_that_may_be_known_before_is_believed(name):
    assert knowledge(HONEST[name], pl.Series(CLICKED)).is_believable


def test_a_handful_of_rows_convicts_nobody():
    labels = pl.Series([True, True, False, False, False])
    assert knowledge(labels, labels).auc == 1.0
    assert knowledge(labels, labels).is_believable


def test_a_label_of_one_class_knows_nothing():
    assert knowledge(pl.Series([1, 2, 3]), pl.Series([False] * 3)).auc == 0.5


def test_chance_alone_is_never_beyond_belief():
    """Of 400 columns of noise of all kinds over few rows none is convicted."""
    random = np.random.default_rng(1)
    for _ in range(400):
        rows = int(random.integers(4, 80))
        labels = pl.Series(random.random(rows) < 0.3)
        values = pl.Series(random.integers(0, int(random.integers(1, 40)), rows))
        values = values.set(pl.Series(random.random(rows) < 0.5), None)
        assert knowledge(values, labels).is_believable
