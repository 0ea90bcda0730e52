"""Retrieval: a planted answer, the shop's own recall, exclusions, paired differences."""

import numpy as np
import pytest

from moon_rec.embedding_table import EmbeddingTable
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.retrieval import Retrieved, difference, retrieve_all
from representation.metrics.shop_metrics import measure_shop
from representation.sets.contestant import EncoderContestant, NotMeasured, TableContestant
from representation.sets.shop_set import shop_benchmark_set

QUICK = BenchmarkConfig(num_resamples=50)


def test_marks_find_their_products_and_never_the_excluded(make_set, make_encoder, tmp_path):
    grid = retrieve_all(
        EncoderContestant("words", make_encoder(), make_set(), tmp_path), make_set(), QUICK
    )
    for kind in ("text", "image", "product"):
        for shown in ("text", "image", "both"):
            cell = of(grid[kind][shown])
            assert cell.recall[1].value == 1 and cell.recall[1].count == 30
            assert "an answer" in cell.recall[1].definition
    assert grid["mixed"]["both"] == NotMeasured("the set has no mixed query that can be answered")


def test_an_answer_that_is_excluded_is_no_answer(make_set, make_encoder, tmp_path):
    bench = make_set()
    bench = make_set(excluded={"text": bench.relevant["text"][:10] + [[]] * 20})
    cell = of(
        retrieve_all(EncoderContestant("words", make_encoder(), bench, tmp_path), bench, QUICK)[
            "text"
        ]["both"]
    )
    assert (len(cell.searches), cell.num_left_out) == (20, 10)
    assert cell.searches.tolist() == list(range(10, 30))


def test_random_vectors_find_as_chance_has_it(make_set):
    vectors = np.random.default_rng(7).normal(size=(60, 8)).astype(np.float32)
    table = EmbeddingTable.from_arrays(np.arange(10, 70), vectors)
    config = BenchmarkConfig(num_resamples=50, ks=(20,), headline_k=20)
    cell = of(
        retrieve_all(TableContestant("x", table, None, make_set()), make_set(), config)["product"][
            "both"
        ]
    )
    chance = 20 / 59
    assert list(cell.readings) == ["recall", "share_of_relevant", "precision", "capped_recall"]
    assert "may fall as k grows" in cell.readings["capped_recall"][20].definition
    assert abs(cell.recall[20].value - chance) < 3 * np.sqrt(chance * (1 - chance) / 30)


@pytest.mark.parametrize("engagement", ["purchased", "clicked"])
def test_searches_of_a_shop_have_the_recall_of_measure_shop(little_shop, engagement):
    """The same searches, gallery and answers as `python -m representation.recall`, to the last digit."""
    random = np.random.default_rng(2)
    ids = [
        little_shop.items.select("item_id").collect()["item_id"].to_numpy(),
        little_shop.searches.select("search_id").collect()["search_id"].to_numpy(),
    ]
    items, queries = [
        EmbeddingTable.from_arrays(some, random.normal(size=(len(some), 6)).astype(np.float32))
        for some in ids
    ]
    expected = measure_shop(little_shop, items, queries, engagement=engagement)
    bench = shop_benchmark_set(little_shop, engagement=engagement)
    config = BenchmarkConfig(num_resamples=20)
    grid = retrieve_all(TableContestant("x", items, queries, bench), bench, config)
    for kind in ("image", "text", "mixed"):
        cell = of(grid[kind]["both"])
        for k in (1, 5, 10, 50):
            wanted = expected[f"{kind}_search_recall@{k}"]
            assert cell.recall[k].value == wanted.value
            for reading, by_k in list(cell.readings.items())[1:]:
                of_shop = expected[f"{kind}_search_{reading}@{k}"]
                assert (by_k[k].value, by_k[k].low) == (of_shop.value, of_shop.low)
            assert (cell.recall[k].low, cell.recall[k].high, cell.recall[k].count) == (
                wanted.low,
                wanted.high,
                wanted.count,
            )


def test_queries_without_a_vector_are_left_out_by_their_own_rows(make_set):
    """Products 10 ... 69 are rows 0 ... 59; the first five have no vector, so the queries 10, 12 and 14 cannot be asked."""
    table = EmbeddingTable.from_arrays(np.arange(15, 70), np.eye(55, dtype=np.float32))
    bench = make_set(left_out={"product": 7})
    cell = of(
        retrieve_all(TableContestant("x", table, None, bench), bench, QUICK)["product"]["both"]
    )
    assert cell.searches.tolist() == list(range(3, 30))
    assert (cell.num_left_out, cell.num_items) == (3 + 7, 55)


def test_a_difference_is_over_the_queries_that_both_counted():
    one = Retrieved(
        {"recall": {1: None}}, 0, 9, np.array([0, 2, 3, 5]), np.array([[1], [0], [1], [0]], float)
    )  # type: ignore[dict-item]
    two = Retrieved(
        {"recall": {1: None}}, 0, 9, np.array([2, 3, 4, 5]), np.array([[1], [1], [0], [1]], float)
    )  # type: ignore[dict-item]
    found = difference(one, two, 1)
    assert found is not None and (found.value, found.count) == (2 / 3, 3)
    assert (
        difference(
            one, Retrieved({"recall": {1: None}}, 0, 9, np.array([7]), np.array([[1]], float)), 1
        )
        is None
    )  # type: ignore[dict-item]


def of(cell: Retrieved | NotMeasured) -> Retrieved:
    assert isinstance(cell, Retrieved)
    return cell
