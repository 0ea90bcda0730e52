"""Which tables go together, from Python; the commands are in tests/bad_inputs/test_vector_tables.py."""

import numpy as np
import pytest

from moon_rec import EmbeddingTable
from moon_rec.errors import RankingError, TableError
from moon_rec.vector_pairs import (
    Coverage,
    Covered,
    check_ids,
    check_pair,
    open_pair,
    told_unlike,
)
from ranking.config import RankerConfig
from ranking.content import ContentStores
from ranking.features import RankingTables
from ranking.train import train_ranker
from tests.ranking.conftest import Planted, draw_frames, write_shop

ITEMS, SEARCHES = np.arange(1, 121), np.arange(1, 901)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Planted:
    frames, known = draw_frames()
    shop = write_shop(frames, tmp_path_factory.mktemp("pairs") / "shop")
    return Planted(shop, frames, known["items"], known["queries"])


def table(ids, seed=0, **options):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 4))
    return EmbeddingTable.from_arrays(np.asarray(ids), vectors, **options)


@pytest.mark.parametrize("kinds", [("", ""), ("items", "queries")])
def test_coverage_is_counted_over_the_shops_rows(kinds):
    items = table([*ITEMS[::2], 5000], kind=kinds[0])
    found = check_ids(ITEMS, SEARCHES, items, table(SEARCHES[:30], 1, kind=kinds[1]))
    assert (found.items, found.searches) == (Covered(60, 120), Covered(30, 900))
    assert Coverage.of_dict(found.as_dict()).as_dict() == found.as_dict()
    assert str(found).startswith("coverage: 60 of 120 (50.0%) items, 30 of 900 (3.3%) searches")


def test_ids_that_coincide_are_told_apart_by_their_number():
    """Items 1 to 120 and searches 1 to 900: nothing but the counts tells which table is which."""
    items, queries = table(ITEMS), table(SEARCHES, 1)
    check_ids(ITEMS, SEARCHES, items, queries)
    with pytest.raises(TableError, match="all ids of the items table are search_ids"):
        check_ids(ITEMS, SEARCHES, queries, items)
    # more items than searches: it is the other one that gives it away
    with pytest.raises(TableError, match="all ids of the queries table are item_ids"):
        check_ids(SEARCHES, ITEMS, items, queries)
    # a few items that are no longer in the shop are no searches, though their numbers are
    check_ids(ITEMS, SEARCHES, table(np.arange(1, 140)), queries)


def test_an_encoder_may_have_nothing_to_say_of_searches_but_not_of_items():
    nothing = table(np.zeros(0, np.int64))
    assert check_ids(ITEMS, SEARCHES, table(ITEMS), nothing).searches == Covered(0, 900)
    with pytest.raises(TableError, match="none of the shop's 120 items"):
        check_ids(ITEMS, SEARCHES, nothing)
    assert check_ids(ITEMS, SEARCHES[:0], table(ITEMS), nothing).searches is None


def test_training_from_python_refuses_what_the_command_refuses(planted):
    tables = RankingTables.build(planted.shop)
    config, items, queries = RankerConfig(content="scores"), planted.items, planted.queries
    for pair, error, message in (
        ((items.of_shop("a" * 16), queries), TableError, "items table was made from shop aaaa"),
        ((items, queries.of_shop("a" * 16)), TableError, "queries table was made from shop aaaa"),
        ((queries, items), RankingError, "are --items and --queries swapped"),
        ((items, items), RankingError, "items and queries are the same table"),
    ):
        with pytest.raises(error, match=message):
            train_ranker(tables, config, *pair)
    of_ours = items.of_shop(planted.shop.digest)
    assert of_ours.digest == items.digest
    assert ContentStores.of(tables, of_ours, queries).dim == 8


def test_tables_of_a_shop_that_grew_are_taken_when_asked(planted, tmp_path, capsys):
    """They are said to be of this shop from there on: nothing after the door needs to be asked again."""
    planted.items.of_shop("a" * 16).save(tmp_path / "items")
    with pytest.raises(TableError, match="--accept other-shop"):
        open_pair(planted.shop, tmp_path / "items")
    pair = open_pair(planted.shop, tmp_path / "items", accept=("other-shop",))
    assert "made from shop aaaaaaaaaaaaaaaa, taken for" in capsys.readouterr().err
    assert pair.items is not None and pair.items.shop == planted.shop.digest
    assert check_pair(planted.shop, pair.items).items == pair.coverage.items == Covered(117, 120)


def test_unlike_coverage_is_told_by_name():
    whole, half = (Coverage(Covered(count, 120), Covered(9, 10)) for count in (120, 60))
    assert told_unlike({"a": whole, "b": whole, "c": None}) == told_unlike({}) == ""
    told = told_unlike({"a": whole, "b": half, "c": None})
    assert "items: a 120 of 120 (100.0%), b 60 of 120 (50.0%)" in told and ", c " not in told
    fewer = Coverage(Covered(120, 120), Covered(3, 10))
    assert "searches: a 9 of 10 (90.0%), b 3 of 10" in told_unlike({"a": whole, "b": fewer})
    near = Coverage(Covered(119, 120), None)
    assert told_unlike({"a": whole, "b": near}) == ""
