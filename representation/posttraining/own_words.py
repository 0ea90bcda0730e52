"""Queries made of products' own words: a few of what its title, category, brand and attributes say, as a shopper might ask for it.

The report trains on half a billion searches by words; a small shop's log holds thousands, of few of its products. So part of each batch of searches by words is made
here, as an altered catalogue picture stands for a photo (`augmentation.py`). This is a choice of ours (in text retrieval: the inverse cloze task, Lee et al.
2019, in which part of a text seeks the whole). Of a shop's searches only their lengths are read. But the simulated shop makes its searches by words much alike, of a product's own
words in their order, with some slips: what this gains there flatters what it would gain on searches that people typed.
- A query has as many words as a search of the log, drawn anew; they are drawn at random, and keep their order.
- Words are of the normal form of `representation.same_words`, each once; in scripts without spaces a run of characters is one word.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from moon_rec.shop import Shop
from representation.model.prompt import category_leaves
from representation.same_words import normal_words

MOST_WORDS = 0.8
"""The share of a batch of searches by words where the log has no pair, see `own_share.py`."""


class OwnWords:
    """Draws queries of products' own words.

    Args:
        item_ids: `(products,)` int64, ascending.
        words: of each product, distinct.
        lengths: how many words a search of the log has, one entry a search, each at least 1.
    """

    def __init__(
        self, item_ids: np.ndarray, words: Sequence[list[str]], lengths: np.ndarray
    ) -> None:
        assert len(lengths) and (lengths >= 1).all()
        self._item_ids, self._words, self._lengths = item_ids, words, lengths

    @classmethod
    def of(cls, shop: Shop) -> "OwnWords | None":
        """Words of the products listed, lengths of the searches made before the cut; None where no search has a word."""
        searches = shop.in_period(shop.searches, "train").select(_words("query_text").list.len())
        lengths = searches.collect().to_series()
        lengths = lengths.filter(lengths > 0).to_numpy()
        if not len(lengths):
            return None
        listed = shop.items.filter(pl.col("listed_at") < shop.cut_time)
        items = listed.drop("image").sort("item_id").collect()
        values = pl.col("attributes").list.eval(pl.element().struct.field("value"))
        texts = items.select(
            title="title",
            category=pl.Series(category_leaves(items)),
            brand="brand",
            attributes=values.list.join(" ", ignore_nulls=True),
        ).select(text=pl.concat_str(pl.all(), separator=" ", ignore_nulls=True))
        words = texts.select(_words("text").list.unique(maintain_order=True)).to_series()
        return cls(items["item_id"].to_numpy(), words.to_list(), lengths)

    def draw(self, item_ids: np.ndarray, random: np.random.Generator) -> list[str]:
        """A query for each product; of one with fewer words than drawn all of them, of one without any an empty one."""
        of_each = [self._words[row] for row in np.searchsorted(self._item_ids, item_ids)]
        counts = self._lengths[random.integers(len(self._lengths), size=len(of_each))]
        ranks = random.random((len(of_each), max(map(len, of_each), default=0)))
        queries = []
        for words, count, rank in zip(of_each, counts, ranks, strict=True):
            chosen = np.sort(np.argsort(rank[: len(words)], kind="stable")[:count])
            queries.append(" ".join(words[place] for place in chosen))
        return queries


def _words(text: str) -> pl.Expr:
    """The column's words as a list, empty where it has none."""
    return (
        normal_words(text, part_unspaced=False)
        .str.split(" ")
        .list.eval(pl.element().filter(pl.element() != ""))
    )
