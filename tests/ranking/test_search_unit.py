"""The search unit against a loop over all events; ties, repeats, missing vectors, any length and chunk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ranking.search_unit
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError
from ranking.config import RankerConfig
from ranking.content import ContentStore
from ranking.features import Catalogue, FeatureConfig, RankingTables
from ranking.search_unit import SearchUnit, best_places
from ranking.training import prepare

ITEMS, DIM = 60, 8
CATEGORIES = np.append(np.random.default_rng(1).integers(0, 5, ITEMS), 0)
CATALOGUE = Catalogue(np.arange(ITEMS), {"category": CATEGORIES})


def table(precision="float32", items=ITEMS, missing=7):
    """All but the first `missing` items have vectors; one of those is of length zero."""
    vectors = np.random.default_rng(2).normal(size=(items, DIM)).astype(np.float32)
    vectors[missing] = 0
    return EmbeddingTable.from_arrays(
        np.arange(items)[missing:], vectors[missing:], precision=precision
    )


TABLES = {precision: table(precision) for precision in ("float32", "float16", "int8")}


def by_loop(kind, length, blind, precision, target, history):
    """One target's events, one event after another, newest first."""
    if kind == "category":
        same = [e for e in history[::-1] if CATEGORIES[e] == CATEGORIES[target] != 0]
        return same[:length]
    vectors = TABLES[precision].lookup(np.arange(ITEMS + 1))[0].astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    if norms[target] == 0 and blind == "nothing":
        return []
    scores = []
    for event in history[::-1]:
        known = norms[event] > 0 and norms[target] > 0
        scores.append(
            vectors[event] @ vectors[target] / norms[event] / norms[target] if known else -np.inf
        )
    best = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:length]
    return [history[::-1][place] for place in sorted(best)]


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(["content", "category"]),
    st.integers(1, 9),
    st.sampled_from(["newest", "nothing"]),
    st.sampled_from(list(TABLES)),
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40)), min_size=1, max_size=4),
    st.integers(0, 999),
)
def test_found_is_what_a_loop_finds(kind, length, blind, precision, chunk, requests, seed):
    random = np.random.default_rng(seed)
    sizes, lengths = (np.array(values) for values in zip(*requests, strict=True))
    targets = random.integers(0, ITEMS + 1, sizes.sum())
    # few items, so that there are repeats
    events = random.integers(0, random.choice([6, 12, ITEMS]), lengths.sum() + 5)
    ends = np.cumsum(lengths) + 2
    store = ContentStore(TABLES[precision], CATALOGUE)
    unit = SearchUnit(kind, length, CATALOGUE, store, chunk=chunk, blind=blind)
    found = unit.find(targets, sizes, events, ends - lengths, ends)
    wanted = [
        by_loop(kind, length, blind, precision, target, events[end - size : end])
        for target, size, end in zip(
            targets, np.repeat(lengths, sizes), np.repeat(ends, sizes), strict=True
        )
    ]
    assert found.sizes.tolist() == [len(each) for each in wanted]
    assert found.items.tolist() == [event for each in wanted for event in each]


@given(st.integers(1, 5), st.integers(2, 30), st.integers(0, 999))
def test_best_places_is_a_stable_sort(rows, length, seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 4, (rows, length)).astype(np.float32)
    scores[scores == 0] = -np.inf
    number = int(random.integers(1, length))
    wanted = np.sort(np.argsort(-scores, axis=1, kind="stable")[:, :number], axis=1)
    np.testing.assert_array_equal(best_places(scores, number), wanted)


@pytest.mark.parametrize("kind", ["content", "category"])
@pytest.mark.parametrize("length", [0, 1, 50_000])
def test_histories_of_any_length(kind, length, monkeypatch):
    """No vector beyond a chunk, no score beyond the limit, is held."""
    monkeypatch.setattr(ranking.search_unit, "MOST_SCORES", 60_000)
    events = np.random.default_rng(3).integers(0, ITEMS, length)
    targets = np.array([10, 3, 11])
    unit = SearchUnit(kind, 20, CATALOGUE, ContentStore(TABLES["float16"], CATALOGUE), chunk=9)
    found = unit.find(targets, np.array([3]), events, np.array([0]), np.array([length]))
    wanted = [by_loop(kind, 20, "newest", "float16", target, events) for target in targets]
    assert found.items.tolist() == [event for each in wanted for event in each]


def test_a_repeated_item_is_found_at_its_newest_places_in_any_chunk():
    """Its score has one value, wherever a matrix product would have put it."""
    history = np.array([20, 30] * 500)
    for chunk in (1, 3, 64, 2048):
        unit = SearchUnit(
            "content", 7, CATALOGUE, ContentStore(TABLES["float32"], CATALOGUE), chunk
        )
        scores = unit._scores(unit._target_vectors(np.array([20]))[0], history)
        assert np.unique(scores).size == 2
        np.testing.assert_array_equal(best_places(scores, 7)[0], np.arange(0, 14, 2))


def test_no_request_and_no_row_find_nothing():
    unit = SearchUnit("category", 4, CATALOGUE)
    none = np.zeros(0, np.int64)
    found = unit.find(none, none, np.arange(5), none, none)
    assert found.items.size == found.sizes.size == 0


def test_a_search_that_finds_the_whole_history_is_refused(planted):
    """Of a history of 6, 6 are all: the content that they are sought by changes nothing."""
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=6))
    whole = RankerConfig(content="vector", search="content", search_length=6)
    with pytest.raises(ConfigError, match="changes nothing: of a history of history_length = 6"):
        prepare(tables, whole, planted.items, planted.queries)
    prepare(tables, whole.model_copy(update={"search_length": 5}), planted.items, planted.queries)
