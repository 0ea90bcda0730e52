"""Known positives against the rules read literally, row by row and column by column."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.errors import EncoderError
from representation.negatives.known_positives import NO_ITEM, KnownPositives

ITEMS = 12
SPU = {item: 100 + item // 2 for item in range(ITEMS)}  # two SKUs each
WORDS = {0: "Red shoes", 1: "red  SHOES", 2: "blue", 3: None, 4: "", 5: "👟"}
SCHEMA = {
    "search_id": pl.Int64,
    "query_item_id": pl.Int64,
    "item_id": pl.Int64,
    "spu_id": pl.Int64,
    "has_image": pl.Boolean,
}
SEARCHES = pl.DataFrame({"search_id": list(WORDS), "query_text": list(WORDS.values())})
ITEM_FRAME = pl.DataFrame({"item_id": list(SPU), "spu_id": list(SPU.values())})


def frame(rows) -> pl.DataFrame:
    """Pairs (search, product query or None, item)."""
    full = [(search, query, item, SPU[item], True) for search, query, item in rows]
    return pl.DataFrame(full, schema=SCHEMA, orient="row")


def same_query(one, other) -> bool:
    (search, query, _), (search_too, query_too, _) = one, other
    if search == search_too or (query is not None and query == query_too):
        return True
    texts = [" ".join((WORDS.get(each) or "").lower().split()) for each in (search, search_too)]
    return query is None and texts[0] == texts[1] and texts[0] not in ("", "👟")


def literally(row, item, pairs) -> bool:
    wanted = [row[2], *(other[2] for other in pairs if same_query(row, other))]
    if row[1] is not None:
        wanted.append(row[1])
    return SPU[item] in {SPU[each] for each in wanted}


item = st.integers(0, ITEMS - 1)
by_search = st.tuples(st.sampled_from(list(WORDS)), st.none(), item)
by_product = st.tuples(st.sampled_from(list(WORDS)), item, item)
some_pairs = st.lists(by_search, min_size=1, max_size=10)


@given(some_pairs, st.lists(by_product, max_size=6), st.lists(item, max_size=20))
def test_blocked_literally(searched, products, columns):
    pairs = searched + products
    known = KnownPositives.from_pairs(
        {"text": frame(searched), "richer-text+image": frame(products)}, SEARCHES, ITEM_FRAME
    )
    item_ids = np.array(columns, dtype=np.int64)
    spu_ids = np.array([SPU[each] for each in columns], dtype=np.int64)
    rows = frame(pairs)
    found = known.blocked(rows, item_ids, spu_ids)
    wanted = [[literally(row, each, pairs) for each in columns] for row in pairs]
    assert found.shape == (len(pairs), len(columns))
    assert found.tolist() == wanted
    row, column = (each.reshape(-1) for each in np.indices(found.shape))
    assert (
        known.hold(rows, row, item_ids[column], spu_ids[column]).tolist()
        == found.reshape(-1).tolist()
    )


def test_a_rows_own_column_is_left_and_no_item_is_blocked():
    pairs = [(0, None, 0), (2, None, 4)]
    known = KnownPositives.from_pairs({"text": frame(pairs)}, SEARCHES)
    item_ids = np.array([0, 4, 1, NO_ITEM])
    spu_ids = np.array([100, 102, 100, NO_ITEM])
    found = known.blocked(frame(pairs), item_ids, spu_ids, positives=np.array([0, 1]))
    assert found.tolist() == [[False, False, True, True], [False, False, False, True]]


def test_rows_that_no_pair_knows():
    """A product as its own query (own pairs), in a shop whose log knows neither."""
    known = KnownPositives.from_pairs({"text": frame([(0, None, 0)])}, SEARCHES)
    own = frame([(-1, 8, 8)])
    item_ids = np.arange(ITEMS)
    found = known.blocked(own, item_ids, np.array([SPU[each] for each in item_ids]))
    assert np.flatnonzero(found[0]).tolist() == [8, 9]


def test_a_product_query_without_its_spu_is_blocked_by_its_id():
    pairs = [(3, 8, 0)]
    known = KnownPositives.from_pairs({"richer-text+image": frame(pairs)}, SEARCHES)
    item_ids = np.arange(ITEMS)
    found = known.blocked(frame(pairs), item_ids, np.array([SPU[each] for each in item_ids]))
    assert np.flatnonzero(found[0]).tolist() == [0, 1, 8]


def test_an_item_of_the_id_that_means_none_is_refused():
    bad = pl.DataFrame({"item_id": [NO_ITEM], "spu_id": [1]})
    with pytest.raises(EncoderError, match="an item has the id -1"):
        KnownPositives.from_pairs({"text": frame([(0, None, 0)])}, SEARCHES, bad)
