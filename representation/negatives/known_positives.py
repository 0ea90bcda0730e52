"""Which items are positives of a query already, so that they never serve as its negatives, wherever they come from: the batch, other ranks, a queue, hard negatives.

The report masks siblings of an SPU; a reviewer of it fears that other true answers of a query are pushed away. Known positives of a row are here:
- its own item, and all items of that SPU;
- what was engaged with after the same search;
- what was engaged with after any search of the same words (`words.normal_words`); so `red shoes` of one shopper never pushes away what another bought for it;
- where the query is a product: that product, and what it is paired with in other rows.
All of it counts by SPU: a sibling of a known positive is none of the query's negatives either. Words say nothing for a product query, whose search it did not
come from, and a picture is only the same within its own search. All of this is a choice of ours.

Make it from *all* pairs of the engagement that training calls positive, before curation: a pair that curation drops is still no negative.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.lookup import rows_of
from representation.negatives.jagged_sets import JaggedSets
from representation.same_words import normal_words

if TYPE_CHECKING:
    from representation.posttraining.mixture import QueryKind

NO_ITEM = -1
"""Stands for no item: a hard negative that a row lacks, the product of a query that is none. A catalogue's ids are never -1 (`from_pairs` refuses it)."""


class KnownPositives:
    """Positives of queries, by search, by words and by product; use `from_pairs`.

    Args:
        spu_ids: all SPUs that any set holds, ascending; a set's codes are rows of it.
        spu_of_item: item_id and spu_id, one row an item.
        by_search, by_words, by_product: sets of SPUs by search_id, by the number of the query's words, by item_id of the query.
        words_of_search: search_id -> number of its words; a search without words is absent.
    """

    def __init__(
        self,
        spu_ids: np.ndarray,
        spu_of_item: pl.DataFrame,
        by_search: JaggedSets,
        by_words: JaggedSets,
        by_product: JaggedSets,
        words_of_search: pl.DataFrame,
    ) -> None:
        self._spu_ids = spu_ids
        items = spu_of_item.sort("item_id")
        self._item_ids, self._spu_of = items["item_id"].to_numpy(), items["spu_id"].to_numpy()
        self._by_search, self._by_words, self._by_product = by_search, by_words, by_product
        words = words_of_search.sort("search_id")
        self._search_ids, self._words = words["search_id"].to_numpy(), words["words"].to_numpy()

    @classmethod
    def from_pairs(
        cls,
        pairs: Mapping["QueryKind", pl.DataFrame],
        searches: pl.LazyFrame | pl.DataFrame,
        items: pl.LazyFrame | pl.DataFrame | None = None,
    ) -> "KnownPositives":
        """Collect what the pairs say.

        Args:
            pairs: by form of query, with the columns of `posttraining.pairs.COLUMNS`.
            searches: at least search_id and query_text.
            items: item_id and spu_id of the shop, for the siblings of products that are queries but nowhere a positive. Without it those are known by their item_id alone.

        Raises:
            EncoderError: an item of id `NO_ITEM`.
        """
        columns = ("search_id", "query_item_id", "item_id", "spu_id")
        every = pl.concat([frame.select(columns) for frame in pairs.values()])
        spu_of_item = every.select("item_id", "spu_id").lazy()
        if items is not None:
            spu_of_item = pl.concat([items.lazy().select("item_id", "spu_id"), spu_of_item])
        known = spu_of_item.unique("item_id", keep="first", maintain_order=True).collect()
        check_ids(known["item_id"])
        spu_ids = np.unique(known["spu_id"].to_numpy())
        words = (
            searches.lazy()
            .join(every.lazy().select("search_id").unique(), on="search_id", how="semi")
            .select("search_id", words=normal_words("query_text"))
            .filter(pl.col("words") != "")
            .select("search_id", words=pl.col("words").rank("dense").cast(pl.Int64))
            .collect(engine="streaming")
        )
        every = every.with_columns(spu=rows_of(spu_ids, every["spu_id"].to_numpy()))
        every = every.join(words, on="search_id", how="left")
        by_search, by_words, by_product = (
            JaggedSets.from_frame(every, key, "spu", len(spu_ids))
            for key in ("search_id", "words", "query_item_id")
        )
        return cls(spu_ids, known, by_search, by_words, by_product, words)

    def blocked(
        self,
        rows: pl.DataFrame,
        item_ids: np.ndarray,
        spu_ids: np.ndarray,
        positives: np.ndarray | None = None,
    ) -> np.ndarray:
        """Which columns are no negatives of a row.

        Args:
            rows: pairs, with the columns of `posttraining.pairs.COLUMNS`.
            item_ids, spu_ids: `(items,)` int64 of the columns; an item of id `NO_ITEM` is blocked for every row.
            positives: `(rows,)` column of each row's own positive, which is then left unblocked. None: it is blocked as its siblings are (as for a queue's columns).

        Returns:
            `(rows, items)` boolean, True where the item is no negative.
        """
        row, codes = self._known_codes(rows)
        of_columns = rows_of(self._spu_ids, spu_ids)
        has = np.flatnonzero(of_columns >= 0)
        columns = JaggedSets(of_columns[has], has, len(spu_ids))
        number_of = np.full(len(self._spu_ids), -1)
        number_of[columns.keys] = np.arange(len(columns))
        at, column = columns.entries(number_of[codes])
        blocked = np.zeros((rows.height, len(spu_ids)), dtype=bool)
        blocked[row[at], column] = True
        self._block_strangers(rows, item_ids, spu_ids, blocked)
        blocked[:, item_ids == NO_ITEM] = True
        if positives is not None:
            blocked[np.arange(rows.height), positives] = False
        return blocked

    def hold(
        self, rows: pl.DataFrame, row: np.ndarray, item_ids: np.ndarray, spu_ids: np.ndarray
    ) -> np.ndarray:
        """Whether a candidate is a known positive of the row that it is for.

        Args:
            row, item_ids, spu_ids: `(candidates,)` int64: the row's place in `rows`, and the item.

        Returns:
            `(candidates,)` boolean.
        """
        codes = rows_of(self._spu_ids, spu_ids)
        found = (item_ids == NO_ITEM) | (spu_ids == rows["spu_id"].to_numpy()[row])
        for sets, numbers in zip(self._sets, self._numbers(rows), strict=True):
            found |= sets.hold(numbers[row], codes)
        products, product_spus = self._query_products(rows)
        found |= item_ids == products[row]
        found |= (codes == product_spus[row]) & (codes >= 0)
        return found

    def _known_codes(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """All SPUs that are no negatives: the row of each, and its row of `_spu_ids`; some twice."""
        parts = [
            sets.entries(numbers)
            for sets, numbers in zip(self._sets, self._numbers(rows), strict=True)
        ]
        _, product_spus = self._query_products(rows)
        for spus in (rows_of(self._spu_ids, rows["spu_id"].to_numpy()), product_spus):
            has = np.flatnonzero(spus >= 0)
            parts.append((has, spus[has]))
        row, codes = (np.concatenate(each) for each in zip(*parts, strict=True))
        return row, codes

    def _block_strangers(
        self, rows: pl.DataFrame, item_ids: np.ndarray, spu_ids: np.ndarray, blocked: np.ndarray
    ) -> None:
        """Block, in place, rows' own items and products that no pair and no catalogue told of."""
        own = rows["spu_id"].to_numpy()
        for place in np.flatnonzero(rows_of(self._spu_ids, own) < 0):
            blocked[place] |= spu_ids == own[place]
        products, product_spus = self._query_products(rows)
        for place in np.flatnonzero((products != NO_ITEM) & (product_spus < 0)):
            blocked[place] |= item_ids == products[place]

    @property
    def _sets(self) -> tuple[JaggedSets, JaggedSets, JaggedSets]:
        return self._by_search, self._by_words, self._by_product

    def _numbers(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each row its sets' numbers in `_sets`, -1 where it has none."""
        search_ids = rows["search_id"].to_numpy()
        products, _ = self._query_products(rows)
        at = rows_of(self._search_ids, search_ids)
        has_words = (at >= 0) & (products == NO_ITEM)
        words = np.full(rows.height, -1, dtype=np.int64)
        words[has_words] = self._by_words.find(self._words[at[has_words]])
        return self._by_search.find(search_ids), words, self._by_product.find(products)

    def _query_products(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """item_id of each row's query, `NO_ITEM` where it is no product, and the row of its SPU in `_spu_ids`, -1 where unknown."""
        ids = rows["query_item_id"].fill_null(NO_ITEM).to_numpy()
        at = rows_of(self._item_ids, ids)
        spus = np.full(rows.height, -1, dtype=np.int64)
        spus[at >= 0] = rows_of(self._spu_ids, self._spu_of[at[at >= 0]])
        return ids, spus


def check_ids(item_ids: pl.Series) -> None:
    """Refuse a catalogue in which `NO_ITEM` is an item.

    Raises:
        EncoderError: it is one.
    """
    if (item_ids == NO_ITEM).any():
        raise EncoderError(
            f"items.item_id: an item has the id {NO_ITEM}, which stands for no item here; give it another"
        )
