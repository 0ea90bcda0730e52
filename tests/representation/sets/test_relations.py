"""Substitutes and complements: of a log against a literal loop, of a table as it is written, and what product vectors find of them."""

from datetime import timedelta
from itertools import permutations, product

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.related import RelatedFound, chance_of_a_hit, measure_related
from representation.sets.contestant import TableContestant
from representation.sets.relations import Related, pairs_of_log, pairs_of_table, related
from representation.sets.sampling import sample
from representation.sets.shop_set import shop_benchmark_set


def as_set(pairs: pl.DataFrame) -> set[tuple[int, int]]:
    assert not pairs.is_duplicated().any()
    return set(pairs.iter_rows())


@pytest.mark.parametrize(("period", "days"), [("train", 2), ("test", 7)])
def test_pairs_of_a_log_are_those_of_a_literal_loop(little_shop, period, days):
    log = little_shop.in_period(little_shop.impressions, period).collect().to_dicts()
    asked = set(little_shop.in_period(little_shop.searches, period).collect()["search_id"])
    category = dict(little_shop.items.select("item_id", "category").collect().iter_rows())
    together, viewed = set(), set()
    for one, other in product(log, log):
        if one["item_id"] == other["item_id"]:
            continue
        pair = one["item_id"], other["item_id"]
        near = abs(one["time"] - other["time"]) <= timedelta(days=days)
        if one["purchased"] and other["purchased"] and one["user_id"] == other["user_id"] and near:
            together.add(pair)
        is_one_search = one["search_id"] == other["search_id"] in asked
        if one["clicked"] and other["clicked"] and is_one_search:
            viewed.add(pair)
    found = pairs_of_log(little_shop, period, days)
    assert as_set(found["substitute"]) == viewed - together and viewed - together
    across = {pair for pair in together if category[pair[0]] != category[pair[1]]}
    assert as_set(found["complement"]) == across and across and across != together


def test_a_table_says_which_is_which_and_what_is_left_out_is_counted(little_shop, tmp_path, capsys):
    rows = ["item_a,item_b,relation", "100,101,Substitute", "101,100,also_bought", "102,103,E", "102,104,C", "105,105,S", "106,9999,S"]  # fmt: skip
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    found = pairs_of_table(tmp_path / "pairs.csv", little_shop)
    assert as_set(found["substitute"]) == {(100, 101)}
    assert as_set(found["complement"]) == {(101, 100), (102, 104)}
    said = capsys.readouterr().err
    assert "3 of 6 pairs left out: 1 of neither relation, 1 with a product that the shop has not" in said  # fmt: skip


def test_who_shows_the_query_is_no_answer_and_not_ranked(little_shop):
    gallery = little_shop.items.sort("item_id").collect().head(6)
    image = [b"one", b"one", b"two", None, None, b"three"]
    title = ["red mug", "lamp", "red  mug", "hat", "bag", "hat"]
    gallery = gallery.with_columns(image=pl.Series(image), title=pl.Series(title))
    ids = gallery["item_id"].to_list()
    pairs = pl.DataFrame(list(permutations(ids, 2)), schema=["item_a", "item_b"], orient="row")
    found = related(gallery, pairs, "asked")
    assert found.rows == list(range(6))
    assert found.answers == [[3, 4, 5], [2, 3, 4, 5], [1, 3, 4, 5], [0, 1, 2, 4], [0, 1, 2, 3, 5], [0, 1, 2, 4]]  # fmt: skip
    assert found.excluded == [[0, 1, 2], [0, 1], [0, 2], [3, 5], [4], [3, 5]]


def test_planted_relations_are_found_and_others_are_at_chance(make_set):
    """Vectors of twins: item 2n and 2n + 1 share one; substitutes are twins, complements drawn at random."""
    random = np.random.default_rng(0)
    twins = random.normal(size=(30, 16)).repeat(2, axis=0) + random.normal(size=(60, 16)) / 100
    rows = list(range(60))
    drawn = [[int(random.choice([other for other in rows if other // 2 != row // 2]))] for row in rows]  # fmt: skip
    own = [[row] for row in rows]
    bench = make_set(related={"substitute": Related(rows, [[row ^ 1] for row in rows], own, "twins"), "complement": Related(rows, drawn, own, "drawn")})  # fmt: skip
    table = EmbeddingTable.from_arrays(np.arange(10, 70), twins.astype(np.float32))
    config = BenchmarkConfig(ks=(1, 5), headline_k=1)
    found = measure_related(TableContestant("one", table, None, bench), bench, config)
    sure, luck = found["substitute"], found["complement"]
    assert isinstance(sure, RelatedFound) and isinstance(luck, RelatedFound)
    assert sure.recall[1].value == 1 and sure.chance[1] == pytest.approx(1 / 59)
    assert luck.chance[5] == pytest.approx(5 / 59)
    assert luck.recall[5].low < 5 / 59 < luck.recall[5].high
    assert sure.as_dict()["chance@5"] == sure.chance[5] and sure.recall[1].definition


def test_chance_is_that_of_random_orders():
    for num_items, num_related, k in ((7, 2, 3), (5, 1, 1), (6, 4, 3), (4, 1, 9)):
        orders = list(permutations(range(num_items)))
        hit = np.mean([min(order[:k]) < num_related for order in orders])
        assert chance_of_a_hit(num_items, num_related, k) == pytest.approx(hit)


def test_a_smaller_set_keeps_its_relations(little_shop):
    bench = shop_benchmark_set(little_shop)
    smaller = sample(bench, num_queries=5, num_labelled=1, num_products=30, seed=1)
    assert smaller.gallery.height < bench.gallery.height and set(smaller.related) == set(
        bench.related
    )
    whole, ids = bench.gallery["item_id"], smaller.gallery["item_id"]
    for name, one in smaller.related.items():
        before = bench.related[name]
        known = {whole[row]: before.answers[at] for at, row in enumerate(before.rows)}
        assert len(one.rows) == 5
        for row, answers in zip(one.rows, one.answers, strict=True):
            assert [ids[at] for at in answers] == [whole[at] for at in known[ids[row]]]
