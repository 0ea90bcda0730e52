"""measure_shop on a shop whose every metric is worked out by hand (conftest.py)."""

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.shop import Shop
from moon_rec.user_draws import DrawCounts
from representation.metrics.shop_metrics import measure_segments, measure_shop, measure_shop_by_row
from representation.posttraining.pairs import logged_pairs
from representation.sets.search_cases import ShopSearches, gallery_of, search_cases

KS = (1, 2, 5)


@pytest.fixture(scope="module")
def measures(hand_made_shop, hand_made_tables):
    return measure_shop(hand_made_shop, *hand_made_tables, ks=KS)


def test_gallery_is_what_is_listed_by_the_periods_end(hand_made_shop, hand_made_tables):
    for period, last in (("train", 15), ("validation", 15), ("test", 16)):
        gallery = gallery_of(hand_made_shop, hand_made_tables[0], period)
        assert gallery.frame["item_id"].to_list() == list(range(10, last + 1))
        np.testing.assert_allclose(np.linalg.norm(gallery.vectors, axis=1), 1, rtol=1e-6)


def test_searches_by_modality(hand_made_shop, hand_made_tables):
    gallery = gallery_of(hand_made_shop, hand_made_tables[0], "test")
    cases = search_cases(hand_made_shop, gallery, hand_made_tables[1], "test")
    found = {name: (each.search_ids.tolist(), each.num_left_out) for name, each in cases.items()}
    assert found == {"image": ([3, 5], 3), "text": ([6], 0), "mixed": ([7], 0)}
    assert cases["image"].relevant == [[0, 3], [2]]
    assert cases["image"].excluded == [[], [1]]


def test_search_metrics_by_hand(measures):
    # Search 3 stands at 2 degrees: 10, 11, 12, 13, 14, 15, 16; it bought 10 and 13.
    # Search 5 at 12 degrees, its own picture 11 taken out: 10 (12 degrees off), 12 (13), ...; it bought 12.
    expected = {
        "image_search_recall@1": 0.5,
        "image_search_recall@2": 1.0,
        "image_search_share_of_relevant@2": (1 / 2 + 1) / 2,
        "image_search_share_of_relevant@5": 1.0,
        "image_search_capped_recall@1": 0.5,
        "image_search_capped_recall@2": (1 / 2 + 1) / 2,
        "image_search_capped_recall@5": 1.0,
        "image_search_precision@1": 0.5,
        "image_search_precision@2": 0.5,
        "image_search_precision@5": (2 / 5 + 1 / 5) / 2,
        "text_search_recall@1": 0.0,  # 26 degrees: 12, then 11
        "text_search_recall@2": 1.0,
        "mixed_search_recall@1": 0.0,  # 89 degrees: 13, then 14
        "mixed_search_recall@2": 1.0,
        # by clicks: search 3 wants 10, 12, 13; search 4 wants 11 without 10; search 5 wants 12; search 8 wants 15
        "image_search_click_recall@1": 3 / 4,
    }
    assert {name: measures[name].value for name in expected} == pytest.approx(expected)
    assert measures["image_search_recall@1"].count == 2
    assert measures["image_search_click_recall@1"].count == 4


@pytest.mark.parametrize("blank", ["", " ", "\u200b\ufeff"])
def test_a_blank_text_is_no_text(hand_made_shop, hand_made_tables, measures, blank, monkeypatch):
    """A log that writes it for "no words" loses no search by picture, and trains on no blank query."""
    pairs = logged_pairs(hand_made_shop)
    searches = hand_made_shop.searches.with_columns(pl.col("query_text").fill_null(blank))
    monkeypatch.setattr(Shop, "searches", property(lambda shop: searches))
    found = measure_shop(hand_made_shop, *hand_made_tables, ks=KS)
    assert found == measures
    for kind, frame in logged_pairs(hand_made_shop).items():
        assert frame.equals(pairs[kind])


def test_every_metric_is_the_mean_of_the_values_told_with_it(
    hand_made_shop, hand_made_tables, measures
):
    """At weight one the draws' own mechanism gives the very figures that are printed."""
    found = measure_shop_by_row(ShopSearches.of(hand_made_shop, *hand_made_tables), ks=KS)
    assert found.estimates == measures
    names = [name for one in found.values for name in one.names]
    assert sorted(names) == sorted(measures)
    for one in found.values:
        whole = one.under_draws(DrawCounts(1, 1))[0]
        expected = [measures[name].value for name in one.names]
        assert whole.tolist() == pytest.approx(expected, rel=1e-12)
        assert {measures[name].count for name in one.names} == {len(one.ids)}
        is_of_items = one.names[0].startswith(("category", "same_spu", "uniformity"))
        assert one.units == ("items" if is_of_items else "users")


def test_values_are_of_the_users_who_searched(hand_made_shop, hand_made_tables):
    found = measure_shop_by_row(ShopSearches.of(hand_made_shop, *hand_made_tables), ks=(1,))
    searched = dict(hand_made_shop.searches.select("search_id", "user_id").collect().iter_rows())
    by_name = {name: one for one in found.values for name in one.names}
    images = by_name["image_search_recall@1"]
    # search 3 finds an item bought at once, search 5 only its second
    column = images.names.index("image_search_recall@1")
    assert images.ids.tolist() == [searched[3], searched[5]]
    assert images.values[:, column].tolist() == [1, 0]
    assert by_name["text_search_recall@1"].ids.tolist() == [searched[6]]
    assert by_name["alignment"].ids.tolist() == [searched[one] for one in (3, 5, 6, 7)]
    assert set(by_name["same_spu_recall@1"].ids.tolist()) == {10, 11, 13, 14}


def test_definitions_say_what_was_measured(measures):
    text = measures["image_search_recall@2"].definition
    for words in (
        "by picture alone",
        "test period",
        "top 2",
        "7 items",
        "purchased",
        "3 of 5 left",
    ):
        assert words in text
    assert "clicked" in measures["image_search_click_recall@2"].definition
    assert not any(name.startswith("image_search_click_capped") for name in measures)
    capped = measures["image_search_capped_recall@2"].definition
    assert "the smaller of 2 and their number" in capped and "may fall as k grows" in capped
    assert all(each.definition and each.count for each in measures.values())
    assert all(each.low <= each.value <= each.high for each in measures.values())


def test_two_searches_of_two_found_are_no_certainty(measures):
    found = measures["image_search_recall@2"]
    assert found.value == found.high == 1 and found.low == pytest.approx(0.3424, abs=1e-4)
    assert found.standard_error > 0.1 and measures["text_search_recall@1"].high > 0.7


def test_item_metrics_by_hand(measures):
    # Leaf categories with company: boots 10, 11; totes 13, 14; clutches 15, 16. Item 12 is the only flat one.
    # 10's nearest is 11 (right), 11's is 10 (10 degrees, against 15 to 12), 13 and 14 each other, 15 and 16 each other.
    assert measures["category_accuracy"].value == 1
    assert measures["category_accuracy"].count == 6
    # Siblings: 10 with 11, 13 with 14; each is the other's nearest.
    assert measures["same_spu_recall@1"].value == 1
    assert measures["same_spu_recall@1"].count == 4
    cosine = np.cos(np.radians(np.array([2, 88, 13, 16, 11])))
    by_search = [cosine[:2].mean(), cosine[2], cosine[3], cosine[4]]
    assert measures["alignment"].value == pytest.approx(np.mean(by_search))


def test_another_period_and_engagement(hand_made_shop, hand_made_tables):
    validation = measure_shop(hand_made_shop, *hand_made_tables, period="validation", ks=(1,))
    assert validation["image_search_recall@1"].value == 1
    assert not any(name.startswith(("text", "mixed")) for name in validation)
    clicks = measure_shop(hand_made_shop, *hand_made_tables, engagement="clicked", ks=(1,))
    assert clicks["image_search_recall@1"].value == 3 / 4
    assert "image_search_click_recall@1" not in clicks


def test_segments_by_hand(hand_made_shop, hand_made_tables):
    segments = measure_segments(ShopSearches.of(hand_made_shop, *hand_made_tables), k=1)
    assert {name: (each.value, each.count) for name, each in segments.items()} == {
        "bags": (1.0, 1),  # search 3, which also bought a tote
        "shoes": (0.5, 2),
    }
    assert "an item of bags was purchased" in segments["bags"].definition
    leaves = measure_segments(ShopSearches.of(hand_made_shop, *hand_made_tables), k=1, depth=2)
    assert list(leaves) == ["bags/totes", "shoes/boots", "shoes/flats"]


def test_an_item_without_a_vector_is_not_in_the_gallery(hand_made_shop, hand_made_tables):
    items, queries = hand_made_tables
    kept = items.ids != 10
    fewer = EmbeddingTable.from_arrays(items.ids[kept], items.vectors[kept])
    measures = measure_shop(hand_made_shop, fewer, queries, ks=(1,))
    assert "6 items" in measures["image_search_recall@1"].definition
    assert measures["image_search_share_of_relevant@1"].count == 2  # search 3 still has item 13


def test_the_same_figures_again(hand_made_shop, hand_made_tables, measures):
    assert measure_shop(hand_made_shop, *hand_made_tables, ks=KS) == measures


@pytest.mark.parametrize(
    "items, queries, message",
    [
        ({"shop": "a" * 16}, {}, "the items table was made from shop aaaa"),
        ({}, {"shop": "b" * 16}, "the queries table was made from shop bbbb"),
        ({"encoder": "c" * 16}, {"encoder": "d" * 16}, "items come from encoder cccc"),
    ],
)
def test_tables_of_elsewhere_are_refused(hand_made_shop, hand_made_tables, items, queries, message):
    tables = [
        EmbeddingTable.from_arrays(table.ids, table.vectors, **about)
        for table, about in zip(hand_made_tables, (items, queries), strict=True)
    ]
    with pytest.raises(TableError, match=message):
        measure_shop(hand_made_shop, *tables)


def test_zero_vectors_and_other_dims_are_refused(hand_made_shop, hand_made_tables):
    items, queries = hand_made_tables
    zeros = EmbeddingTable.from_arrays(items.ids, items.vectors * (items.ids != 13)[:, None])
    with pytest.raises(TableError, match="vector of item 13 is all zeros"):
        measure_shop(hand_made_shop, zeros, queries)
    wide = EmbeddingTable.from_arrays(items.ids, np.eye(len(items), 3))
    with pytest.raises(TableError, match="items have dim 3 and queries 2"):
        measure_shop(hand_made_shop, wide, queries)
