"""Pairs, batches and masks: nothing after the cut, one kind a batch, no false negatives."""

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.errors import ConfigError, EncoderError
from representation.negatives.in_batch import keep_some
from representation.posttraining.augmentation import AugmentationConfig
from representation.posttraining.batches import Batches
from representation.posttraining.config import PosttrainConfig
from representation.posttraining.mixture import KINDS, TABLE_2, check_mixture
from representation.posttraining.pairs import logged_pairs, own_pairs
from representation.posttraining.preparation import _pairs
from representation.posttraining.schedule import Schedule
from tests.representation.conftest import CUT


@pytest.fixture(scope="module")
def pairs(little_shop):
    return logged_pairs(little_shop)


def schedule(shop, mixture=TABLE_2, own_pictures=0.5, steps=40, batch_size=8, seed=0):
    shares = {"image": own_pictures}
    return Schedule(
        logged_pairs(shop), own_pairs(shop), dict(mixture), shares, steps, batch_size, seed
    )


def test_table_2():
    assert len(TABLE_2) == 9 and sum(TABLE_2.values()) == pytest.approx(2.6)


def test_pairs_are_what_the_log_says(little_shop, pairs):
    """Counted anew from the tables, row by row."""
    searches = {row["search_id"]: row for row in little_shop.searches.collect().to_dicts()}
    listed = {row["item_id"]: row["listed_at"] for row in little_shop.items.collect().to_dicts()}
    wanted: dict[str, set] = {kind: set() for kind in pairs}
    for row in little_shop.impressions.collect().to_dicts():
        search = searches[row["search_id"]]
        if max(row["time"], search["time"], listed[row["item_id"]]) >= CUT or not row["purchased"]:
            continue
        pair = (row["search_id"], row["item_id"])
        has_text, has_photo = search["query_text"] is not None, search["query_image"] is not None
        for kind, holds in (
            ("text", has_text),
            ("image", has_photo),
            ("title+image", has_text and has_photo),
        ):
            if holds:
                wanted[kind].add(pair)
    for kind in ("text", "image", "title+image"):
        assert set(pairs[kind].select("search_id", "item_id").iter_rows()) == wanted[kind]
        assert len(wanted[kind]) > 30


def test_nothing_after_the_cut(little_shop, pairs):
    late_items = set(little_shop.items.filter(pl.col("listed_at") >= CUT).collect()["item_id"])
    late_searches = set(little_shop.searches.filter(pl.col("time") >= CUT).collect()["search_id"])
    assert len(late_items) == 4 and len(late_searches) > 100
    for frame in (*pairs.values(), own_pairs(little_shop)):
        assert not late_items & (set(frame["item_id"]) | set(frame["query_item_id"]))
        assert not late_searches & set(frame["search_id"])


def test_product_queries_do_not_hold_their_answer(little_shop, pairs):
    titles = dict(little_shop.items.select("item_id", "title").collect().iter_rows())
    products = pairs["richer-text+image"]
    assert products.height > 20
    for query, item in products.select("query_item_id", "item_id").iter_rows():
        assert query != item and titles[query] != titles[item]


def test_an_unsplit_search_by_both_is_no_search_by_one(little_shop, pairs):
    apart = logged_pairs(little_shop, split_mixed=False)
    both = set(pairs["title+image"]["search_id"])
    assert not both & set(apart["text"]["search_id"]) and not both & set(
        apart["image"]["search_id"]
    )


def test_clicks_are_more_pairs(little_shop, pairs):
    assert logged_pairs(little_shop, "clicked")["text"].height > pairs["text"].height


def test_mixture_is_kept_in_the_long_run(little_shop):
    kinds = schedule(little_shop, steps=4000).kinds
    for name, weight in TABLE_2.items():
        share = kinds.count(KINDS[name]) / 4000
        assert share == pytest.approx(weight / 2.6, abs=4 * np.sqrt(weight / 2.6 / 4000))


def test_an_epoch_takes_every_pair_once(little_shop):
    plan = schedule(little_shop, {"text->title+image": 1.0}, batch_size=10, steps=20)
    pairs = plan.pairs[KINDS["text->title+image"]]
    taken = pl.concat([plan.rows(step)[1] for step in range(20)])
    assert taken.height == 200
    once = taken.head(pairs.height)
    assert sorted(once["search_id"]) == sorted(pairs["search_id"])


def test_batches_are_of_one_kind(little_shop, encoder, known):
    plan = schedule(little_shop)
    batches = Batches(little_shop, encoder, plan, known, AugmentationConfig())
    image_id = encoder.module.config.image_token_id
    seen = set()
    for step in range(40):
        batch = batches.make(step)
        seen.add(batch.kind.name)
        for side, form in ((batch.queries, batch.kind.query), (batch.items, batch.kind.item)):
            pictured = (side.token_ids == image_id).any(dim=1)
            assert pictured.all() if "image" in form else not pictured.any()
            lengths = side.mask.sum(dim=1)
            bare = 1 + encoder.layout.num_tokens + 2
            if form == "image":
                assert (lengths == bare).all()
            elif form != "text":
                assert (lengths > (bare if "image" in form else 1)).all()
        assert len(batch) == len(batch.queries.mask) == len(batch.items.mask) == 8
        assert not batch.blocked.diagonal().any()
    assert len(seen) == 9


def test_queries_belong_to_their_items(little_shop, encoder, known):
    """Decoded, the words of a query are words of its item's title; its picture's colour is its item's."""
    plan = schedule(little_shop, {"title+image->title+image": 1.0}, steps=3)
    batches = Batches(little_shop, encoder, plan, known, None)
    for step in range(3):
        batch = batches.make(step)
        for query, item in zip(batch.queries.token_ids, batch.items.token_ids, strict=True):
            words = encoder.tokenizer.decode(query, skip_special_tokens=True).split()
            title = encoder.tokenizer.decode(item, skip_special_tokens=True)
            assert len(words) == 2 and all(word in title for word in words)
        means = [
            side.pixels.reshape(8, -1, 3, 16).mean(dim=(1, 3))
            for side in (batch.queries, batch.items)
        ]
        assert (means[0] - means[1]).abs().max() < 0.1


def test_own_pictures_share_an_image_batch_with_the_log(little_shop, encoder, known):
    plan = schedule(little_shop, {"image->image": 1.0}, own_pictures=0.25, steps=2)
    _, rows = plan.rows(0)
    is_own = (rows["query_item_id"] == rows["item_id"]).fill_null(False)
    assert is_own.to_list() == [False] * 6 + [True] * 2
    batches = Batches(little_shop, encoder, plan, known, AugmentationConfig())
    first, again = batches.make(0), batches.make(0)
    assert torch.equal(first.queries.pixels, again.queries.pixels)
    assert not torch.equal(first.queries.pixels, first.items.pixels)
    assert (
        schedule(little_shop, {"image->image": 1.0}, own_pictures=0.0)
        .rows(0)[1]["query_item_id"]
        .null_count()
        == 8
    )


def test_kinds_without_pairs_give_way(little_shop, capsys):
    pairs = logged_pairs(little_shop)
    pairs["title+image"] = pairs["title+image"].head(0)
    mixture = {"title+image->title+image": 1.0, "text->image": 1.0}
    plan = Schedule(pairs, own_pairs(little_shop), mixture, {}, 5, 4, 0)
    assert {kind.name for kind in plan.kinds} == {"text->image"}
    assert "no pairs of kind title+image->title+image" in capsys.readouterr().err
    with pytest.raises(
        EncoderError,
        match="no pair of any kind in the mixture before the cut; set engagement to what the log has",
    ):
        Schedule(pairs, own_pairs(little_shop), {"title+image->title+image": 1.0}, {}, 5, 4, 0)
    unseen = {form: rows.with_columns(has_image=pl.lit(False)) for form, rows in pairs.items()}
    with pytest.raises(EncoderError, match="products of the log's pairs have no picture"):
        Schedule(unseen, own_pairs(little_shop), {"text->title+image": 1.0}, {}, 5, 4, 0)


def test_mixture_refusals():
    for mixture, complaint in (
        ({"text->sound": 1.0}, "no kind 'text->sound'"),
        ({"text->image": -1.0}, "weight of 0 or more"),
        ({"text->image": 0.0}, "every weight is 0"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            check_mixture(mixture)


@given(st.integers(1, 12), st.integers(0, 100))
def test_keep_some_negatives(num_negatives, seed):
    generator = torch.Generator().manual_seed(seed)
    blocked = torch.rand(8, 8, generator=generator) < 0.3
    blocked.fill_diagonal_(False)
    kept = keep_some(blocked, num_negatives, generator)
    assert not kept.diagonal().any()
    assert (kept | ~blocked).all()  # what was blocked stays so
    before, after = 7 - blocked.sum(dim=1), 7 - kept.sum(dim=1)
    assert torch.equal(after, before.clamp(max=num_negatives))
    assert torch.equal(keep_some(blocked, None, generator), blocked)


def test_a_share_of_the_pairs_is_nested_and_takes_searches_whole(little_shop, encoder):
    """A half holds a quarter; a search's pairs stay together in every form of query; all of a catalogue's kinds share the products."""
    for pairs in ("log", "catalogue"):
        found = {
            share: _pairs(little_shop, PosttrainConfig(pairs=pairs, pairs_share=share))
            for share in (0.25, 0.5, 1.0)
        }
        ids = {
            share: {kind: set(rows["search_id"]) for kind, rows in each.items()}
            for share, each in found.items()
        }
        for kind, whole in ids[1.0].items():
            assert ids[0.25][kind] <= ids[0.5][kind] <= whole
            kept = {one for each in ids[0.5].values() for one in each}
            assert ids[0.5][kind] == whole & kept
        sizes = [len(set().union(*each.values())) for each in ids.values()]
        assert 0 < sizes[0] < sizes[1] < sizes[2]
