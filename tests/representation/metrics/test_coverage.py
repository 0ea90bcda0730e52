"""What has no vector is never found: recall does not rise with the vectors that are lost."""

import numpy as np
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from representation.metrics.recall import search_recall
from representation.metrics.shop_metrics import measure_segments, measure_shop
from representation.report.neighbour_sheet import draw_neighbours
from representation.sets.search_cases import ShopSearches, gallery_of, search_cases


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def without(table: EmbeddingTable, *ids: int) -> EmbeddingTable:
    kept = ~np.isin(table.ids, ids)
    return EmbeddingTable.from_arrays(table.ids[kept], table.vectors[kept])


@pytest.mark.parametrize("seed", range(5))
def test_items_missing_from_the_gallery_equal_a_literal_loop(seed):
    random = np.random.default_rng(seed)
    gallery, queries = unit(random.normal(size=(60, 6))), unit(random.normal(size=(40, 6)))
    there = np.flatnonzero(random.random(60) < 0.5)
    wanted = [set(random.choice(60, random.integers(0, 4), replace=False)) for _ in range(40)]
    found = search_recall(
        queries,
        gallery[there],
        [[row for row, item in enumerate(there) if item in one] for one in wanted],
        (1, 5, 60),
        num_missing=np.array([len(one - set(there.tolist())) for one in wanted]),
    )
    for k in (1, 5, 60):
        readings = []
        for query, one in zip(queries, wanted, strict=True):
            if one:
                best = there[np.argsort(-gallery[there] @ query, kind="stable")[:k]]
                hits = len(one & set(best.tolist()))
                readings.append((hits > 0, hits / len(one), hits / k))
        expected = np.mean(readings, axis=0)
        estimates = (
            found.hit[k],
            found.readings["share_of_relevant"][k],
            found.readings["precision"][k],
        )
        np.testing.assert_allclose([each.value for each in estimates], expected)
    assert found.count == sum(map(bool, wanted)) and found.value[60] < 1


def test_counts_of_missing_items_are_one_a_query():
    rows = np.eye(3, dtype=np.float32)
    with pytest.raises(TableError, match="num_missing has 2 entries for 3 queries"):
        search_recall(rows, rows, [[0], [1], [2]], (1,), num_missing=np.zeros(2, np.int64))


def test_a_search_for_what_has_no_vector_is_a_miss(hand_made_shop, hand_made_tables):
    """Search 3 bought 10 and 13, search 5 bought 12; see conftest.py."""
    items, queries = hand_made_tables
    measured = measure_shop(hand_made_shop, without(items, 12, 13), queries, ks=(5,))
    recall = measured["image_search_recall@5"]
    assert (recall.value, recall.count) == (0.5, 2)
    assert "2 of 7 have no vector and are never found" in recall.definition
    assert measured["image_search_share_of_relevant@5"].value == (1 / 2 + 0) / 2
    segments = measure_segments(
        ShopSearches.of(hand_made_shop, without(items, 12, 13), queries), k=5
    )
    assert {name: each.value for name, each in segments.items()} == {"bags": 1.0, "shoes": 0.5}


def test_what_is_its_own_picture_is_not_to_be_found_without_a_vector_either(
    hand_made_shop, hand_made_tables
):
    """Search 4 shows the picture of item 10, and bought it: nothing else to find, vector or not."""
    items, queries = hand_made_tables
    gallery = gallery_of(hand_made_shop, without(items, 10), "test")
    cases = search_cases(hand_made_shop, gallery, queries, "test")["image"]
    assert cases.search_ids.tolist() == [3, 5] and cases.num_missing.tolist() == [1, 0]
    assert gallery.num_listed == 7 and cases.findable() is cases


def test_a_sheet_shows_only_what_can_be_found(hand_made_shop, hand_made_tables, tmp_path):
    items, queries = hand_made_tables
    drawn = draw_neighbours(
        tmp_path / "sheet.png", hand_made_shop, without(items, 12), queries, modalities=["image"]
    )
    assert [each.search_id for each in drawn["image"].found] == [3]


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_recall_falls_with_the_vectors_that_are_lost(little_shop, share):
    """In the whole gallery everything is found; with a part of it, what is left of what was bought."""
    ids = little_shop.items.select("item_id").collect()["item_id"].to_numpy()
    asked = little_shop.searches.select("search_id").collect()["search_id"].to_numpy()
    random = np.random.default_rng(0)
    queries = EmbeddingTable.from_arrays(asked, random.normal(size=(len(asked), 4)))
    vectors = random.normal(size=(len(ids), 4))
    whole = EmbeddingTable.from_arrays(ids, vectors)
    kept = random.random(len(ids)) < share
    part = EmbeddingTable.from_arrays(ids[kept], vectors[kept])
    name = "image_search_recall@100"
    before, after = (
        measure_shop(little_shop, table, queries, ks=(100,))[name] for table in (whole, part)
    )
    gallery = gallery_of(little_shop, whole, "test")
    is_left = np.isin(gallery.frame["item_id"].to_numpy(), part.ids)
    relevant = search_cases(little_shop, gallery, queries, "test")["image"].relevant
    assert before.value == 1 and before.count == after.count == len(relevant)
    assert after.value == np.mean([is_left[rows].any() for rows in relevant]) < 0.9
