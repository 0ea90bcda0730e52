"""Hard negatives on the little shop: right kind, right order, never a positive, the same on every run."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import EncoderError
from moon_rec.shop.engagement import engagements
from representation.negatives.hard import HardNegatives, clicked_not_bought
from representation.negatives.known_positives import NO_ITEM, KnownPositives
from representation.posttraining.pairs import known_items, logged_pairs


@pytest.fixture(scope="module")
def pairs(little_shop):
    return logged_pairs(little_shop)


@pytest.fixture(scope="module")
def known(little_shop, pairs):
    searches = little_shop.in_period(little_shop.searches, "train")
    return KnownPositives.from_pairs(pairs, searches, known_items(little_shop))


@pytest.fixture(scope="module")
def catalogue(little_shop):
    frame = little_shop.items.drop("image", "attributes").collect()
    return {row["item_id"]: row for row in frame.to_dicts()}


def admissible(row, catalogue, known, cut):
    """Item ids of the category that may be drawn for a row, read literally."""
    category = catalogue[row["item_id"][0]]["category"]
    ids = [
        each
        for each, about in catalogue.items()
        if about["category"] == category and about["listed_at"] < cut
    ]
    spus = np.array([catalogue[each]["spu_id"] for each in ids])
    is_known = known.hold(row, np.zeros(len(ids), dtype=np.int64), np.array(ids), spus)
    return {each for each, drop in zip(ids, is_known, strict=True) if not drop}


@pytest.mark.parametrize("tries", [1, 4])
@pytest.mark.parametrize("kind", ["text", "image", "richer-text+image"])
def test_all_admissible_items_of_the_category_and_no_others(
    little_shop, pairs, known, catalogue, kind, tries, monkeypatch
):
    """Asked for more than there are, a row gets each of them once; with one try an item sampling falls short and the whole category is looked through."""
    monkeypatch.setattr("representation.negatives.hard.TRIES", tries)
    hard = HardNegatives(little_shop, known, ("category",))
    rows = pairs[kind].head(20)
    for count in (3, 20):
        drawn = hard.draw(rows, count, step=0, pictured=False)
        for place in range(rows.height):
            wanted = admissible(rows[place], catalogue, known, little_shop.cut_time)
            found = drawn[place][drawn[place] != NO_ITEM]
            assert len(set(found)) == len(found) == min(count, len(wanted))
            assert set(found) <= wanted
            assert (drawn[place][len(found) :] == NO_ITEM).all()


def test_the_clicked_come_first(little_shop, pairs, known):
    """Each search of the little shop clicked one neighbour that it did not buy."""
    unbought = dict(clicked_not_bought(little_shop).iter_rows())
    assert len(unbought) > 50
    rows = pairs["text"]
    hard = HardNegatives(little_shop, known)
    drawn = hard.draw(rows, 3, step=1)
    clicked = hard.is_clicked(rows, drawn)
    spu_of = dict(known_items(little_shop).collect().select("item_id", "spu_id").iter_rows())
    some = 0
    for place, (search, item) in enumerate(rows.select("search_id", "item_id").iter_rows()):
        wanted = unbought[search]
        one = np.array([wanted]), np.array([spu_of[wanted]])
        if known.hold(rows[place], np.zeros(1, dtype=np.int64), *one)[0]:
            assert wanted not in drawn[place]
            continue
        some += 1
        assert drawn[place, 0] == wanted != item
        assert clicked[place].tolist() == [True, False, False]
    assert some > 10
    alone = HardNegatives(little_shop, known, ("clicked",)).draw(rows, 3, step=1)
    assert ((alone != NO_ITEM) == clicked).all() and (alone[clicked] == drawn[clicked]).all()


def test_clicked_not_bought_before_the_cut(little_shop):
    found = set(clicked_not_bought(little_shop).iter_rows())
    clicked, bought = (
        set(engagements(little_shop, kind).select("search_id", "item_id").collect().iter_rows())
        for kind in ("clicked", "purchased")
    )
    assert found == clicked - bought and found


def test_a_step_draws_the_same_whatever_came_before(little_shop, pairs, known):
    rows = pairs["text"].head(30)
    one, other = HardNegatives(little_shop, known), HardNegatives(little_shop, known)
    for step in range(3):
        one.draw(rows, 4, step)
    assert (one.draw(rows, 4, 7) == other.draw(rows, 4, 7)).all()
    assert (one.draw(rows, 4, 7) != one.draw(rows, 4, 8)).any()
    assert (
        HardNegatives(little_shop, known, seed=1).draw(rows, 4, 7) != one.draw(rows, 4, 7)
    ).any()


def test_all_admissible_items_are_drawn_alike(little_shop, pairs, known, catalogue):
    """Over many steps each of n items is drawn count / n of the time, within four standard errors."""
    hard = HardNegatives(little_shop, known, ("category",))
    row = pairs["text"].head(1)
    wanted = sorted(admissible(row, catalogue, known, little_shop.cut_time))
    drawn = np.concatenate([hard.draw(row, 1, step, pictured=False) for step in range(600)])
    counts = np.array([(drawn == each).sum() for each in wanted])
    share = 1 / len(wanted)
    assert len(wanted) > 4
    assert np.abs(counts / 600 - share).max() < 4 * np.sqrt(share * (1 - share) / 600)


def test_items_without_a_picture_are_drawn_only_where_they_may(little_shop, pairs, known):
    """Item 107, a lamp, has no picture."""
    rows = pairs["text"].filter(pl.col("item_id").is_in([104, 105, 106, 120, 121, 122]))
    hard = HardNegatives(little_shop, known, ("category",))
    assert rows.height and rows["has_image"].all()
    assert 107 not in hard.draw(rows, 20, 0)
    assert 107 in hard.draw(rows, 20, 0, pictured=False)


def test_kinds_are_checked(little_shop, known):
    for kinds in ((), ("category", "nearest")):
        with pytest.raises(EncoderError, match="wanted some of category, clicked"):
            HardNegatives(little_shop, known, kinds)
