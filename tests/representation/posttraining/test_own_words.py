"""Queries made of products' own words: their words, their lengths, the same for whoever makes them, and nothing of what comes after the cut."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.seeds import generator
from representation.posttraining.batches import Batches
from representation.posttraining.mixture import TABLE_2
from representation.posttraining.own_words import OwnWords
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.schedule import Schedule

WORDS = [["red", "mug"], [], ["blue", "paper", "lamp", "for", "desks"]]
IDS = np.array([3, 5, 9])


def drawn(words, ids, lengths, seed=0):
    return OwnWords(IDS, words, np.array(lengths)).draw(np.array(ids), generator(seed, "words"))


@given(st.lists(st.sampled_from(IDS.tolist()), max_size=8), st.integers(1, 7), st.integers(0, 9))
def test_some_words_in_their_order(ids, length, seed):
    queries = drawn(WORDS, ids, [length], seed)
    assert len(queries) == len(ids)
    for item_id, query in zip(ids, queries, strict=True):
        own = WORDS[IDS.tolist().index(item_id)]
        places = [own.index(word) for word in query.split()]
        assert len(places) == min(length, len(own)) and places == sorted(set(places))


def test_every_word_and_every_length_of_the_log_comes_up():
    """4,000 draws of lengths 1, 1 and 3: a length of 3 in a third of them, within four standard errors; each word as often as the others."""
    queries = drawn(WORDS, [9] * 4000, [1, 1, 3])
    lengths = Counter(len(query.split()) for query in queries)
    assert set(lengths) == {1, 3}
    assert abs(lengths[3] / 4000 - 1 / 3) < 4 * np.sqrt(2 / 9 / 4000)
    words = Counter(word for query in queries for word in query.split())
    share = sum(words.values()) / 5
    assert set(words) == set(WORDS[2])
    assert max(words.values()) - min(words.values()) < 8 * np.sqrt(share)


def test_words_of_a_shop(little_shop):
    """Title, last level of the category, brand, values of attributes, each word once; no names of attributes, no late product, the log's lengths of two words."""
    own = OwnWords.of(little_shop)
    items = little_shop.items.filter(pl.col("listed_at") < little_shop.cut_time).collect()
    ids = items["item_id"].to_numpy()
    queries = OwnWords(own._item_ids, own._words, np.array([99])).draw(ids, generator(0, "all"))
    for row, query in zip(items.iter_rows(named=True), queries, strict=True):
        words = row["title"].split() + ([row["brand"].lower()] if row["brand"] else [])
        assert query.split() == words
    assert set(own._lengths.tolist()) == {2}
    assert not [words for words in own._words if "zzlateitem" in words]


def test_a_log_without_words_has_no_lengths(little_shop, monkeypatch):
    searches = little_shop.searches.with_columns(query_text=pl.lit(" 👟 "))
    monkeypatch.setattr(type(little_shop), "searches", searches)
    assert OwnWords.of(little_shop) is None


@pytest.fixture(scope="module")
def plan(little_shop):
    shares = {"image": 0.5, "text": 0.25}
    return Schedule(
        logged_pairs(little_shop), own_pairs(little_shop), dict(TABLE_2), shares, 60, 8, 0
    )


def test_they_are_shown_in_batches_of_words(little_shop, encoder, plan, known):
    """Two of eight queries: each holds words of its item alone; where items show no picture, items without one come up, too."""
    batches = Batches(little_shop, encoder, plan, known, own_words=OwnWords.of(little_shop))
    texts = dict(little_shop.items.select("item_id", "title").collect().iter_rows())
    brands = dict(little_shop.items.select("item_id", "brand").collect().iter_rows())
    seen: dict[str, set[int]] = {}
    for step, kind in enumerate(plan.kinds):
        rows = plan.rows(step)[1]
        is_own = (rows["query_item_id"] == rows["item_id"]).fill_null(False).to_list()
        assert sum(is_own) == {"image": 4, "text": 2}.get(kind.query, 0)
        if kind.query != "text":
            continue
        batch = batches.make(step)
        for place in (6, 7):
            item_id = rows["item_id"][place]
            seen.setdefault(kind.item, set()).add(item_id)
            said = encoder.tokenizer.decode(
                batch.queries.token_ids[place], skip_special_tokens=True
            )
            known = f"{texts[item_id]} {brands[item_id] or ''}".lower().split()
            assert len(said.split()) == 2 and set(said.split()) <= set(known)
    assert all(107 not in ids for kind, ids in seen.items() if kind != "richer-text")


def test_without_them_a_product_is_asked_for_by_its_title(little_shop, encoder, plan, known):
    batches = Batches(little_shop, encoder, plan, known)
    step = next(step for step, kind in enumerate(plan.kinds) if kind.query == "text")
    rows, batch = plan.rows(step)[1], batches.make(step)
    titles = dict(little_shop.items.select("item_id", "title").collect().iter_rows())
    said = encoder.tokenizer.decode(batch.queries.token_ids[7], skip_special_tokens=True)
    assert said.strip() == titles[rows["item_id"][7]]


def test_the_same_products_never_twice_in_an_epoch(little_shop):
    """Kinds that draw from the same products go on where the other stopped."""
    shares = {"image": 0.0, "text": 0.5}
    mixture = {"text->image": 1.0, "text->title+image": 1.0, "text->richer-text": 1.0}
    plan = Schedule(logged_pairs(little_shop), own_pairs(little_shop), mixture, shares, 12, 8, 0)
    taken: dict[bool, list[int]] = {True: [], False: []}
    for step, kind in enumerate(plan.kinds):
        taken["image" in kind.item] += plan.rows(step)[1]["item_id"][4:].to_list()
    for ids, known in ((taken[True], 43), (taken[False], 44)):
        first = ids[:known]
        assert len(ids) > 8 and len(set(first)) == len(first)
