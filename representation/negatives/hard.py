"""Hard negatives: what was clicked but not bought after the same search, and other items of the positive's category.

The report takes other items of the positive's category; clicked-but-not-bought items are what its loss for them is fed with. Notable choices, since it gives no numbers:
- the clicked come first, then the category fills up; each in random order, all admissible items alike likely;
- the category is the whole path, so the leaf;
- known positives of the query are never drawn (see `known_positives.py`), nor an item twice in a row, nor one that was listed after the cut;
- a step's draws depend on the seed and the step alone, so a resumed training draws the same.

A category that is wide enough is sampled, not enumerated: the cost of a draw depends on the batch, not on the shop.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.lookup import rows_of
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from moon_rec.shop.engagement import engagements
from representation.negatives.jagged_sets import JaggedSets
from representation.negatives.known_positives import NO_ITEM, KnownPositives, check_ids

HardKind = Literal["category", "clicked"]
TRIES = 4
"""Items of a wide category drawn for each one wanted; where too few of them are admissible, all of the category are looked through."""


class HardNegatives:
    """Draws hard negatives of pairs.

    Args:
        known: positives of the training's engagement, never drawn.
        kinds: `category`, `clicked` or both.
        seed: of all draws.

    Raises:
        EncoderError: an unknown kind, or none; an item of id `NO_ITEM`.
    """

    def __init__(
        self,
        shop: Shop,
        known: KnownPositives,
        kinds: Collection[HardKind] = ("category", "clicked"),
        seed: int = 0,
    ) -> None:
        unknown = [kind for kind in kinds if kind not in get_args(HardKind)]
        if unknown or not kinds:
            wanted = ", ".join(get_args(HardKind))
            raise EncoderError(f"hard negatives of kinds {list(kinds)}: wanted some of {wanted}")
        self._known, self._kinds, self._seed = known, frozenset(kinds), seed
        items = (
            shop.items.filter(pl.col("listed_at") < shop.cut_time)
            .select("item_id", "spu_id", "category")
            .join(shop.pictured("items"), on="item_id")
            .collect(engine="streaming")
            .sort("item_id")
        )
        check_ids(items["item_id"])
        self._item_ids, self._spu_ids = items["item_id"].to_numpy(), items["spu_id"].to_numpy()
        self._has_image = items["has_picture"].to_numpy()
        self._category = items["category"].rank("dense").to_numpy().astype(np.int64)
        self._of_category = JaggedSets(self._category, np.arange(items.height), items.height)
        clicked = clicked_not_bought(shop)
        rows = rows_of(self._item_ids, clicked["item_id"].to_numpy())
        clicked = clicked.with_columns(row=rows).filter(pl.col("row") >= 0)
        self._clicked = JaggedSets.from_frame(clicked, "search_id", "row", items.height)

    def draw(
        self, rows: pl.DataFrame, count: int, step: int, pictured: bool | None = None
    ) -> np.ndarray:
        """Hard negatives of a step's pairs.

        Args:
            rows: pairs, with the columns of `posttraining.pairs.COLUMNS`.
            count: how many a row gets at most.
            pictured: draw only items with a picture. None: where all rows' own items have one.

        Returns:
            item_id, `(rows, count)` int64, the clicked first; `NO_ITEM` where a row has no more.
        """
        random = generator(self._seed, "hard negatives", step)
        if pictured is None:
            pictured = bool(rows["has_image"].all())
        chosen = np.full((rows.height, count), -1, dtype=np.int64)
        lacking = self._choose(rows, chosen, self._candidates(rows, count, random), pictured)
        if lacking.any():
            rest = np.flatnonzero(lacking)
            again = np.full((len(rest), count), -1, dtype=np.int64)
            few = rows[rest]
            self._choose(few, again, self._candidates(few, None, random), pictured)
            chosen[rest] = again
        return np.where(chosen >= 0, self._item_ids[chosen], NO_ITEM)

    def is_clicked(self, rows: pl.DataFrame, item_ids: np.ndarray) -> np.ndarray:
        """Which of `draw`'s items `(rows, count)` were clicked but not bought after the row's search: booleans of that shape."""
        searches = self._clicked.find(rows["search_id"].to_numpy())
        return self._clicked.hold(searches[:, None], rows_of(self._item_ids, item_ids))

    def _candidates(
        self, rows: pl.DataFrame, count: int | None, random: np.random.Generator
    ) -> "_Candidates":
        """Items to choose from; of wide categories a sample for `count` items a row, or all (None)."""
        none = np.zeros(0, dtype=np.int64)
        clicked, narrow, sampled = (none, none), (none, none), (none, none)
        is_wide = np.zeros(rows.height, dtype=bool)
        if "clicked" in self._kinds:
            clicked = self._clicked.entries(self._clicked.find(rows["search_id"].to_numpy()))
        if "category" in self._kinds:
            at = rows_of(self._item_ids, rows["item_id"].to_numpy())
            categories = np.where(at >= 0, self._of_category.find(self._category[at]), -1)
            sizes = self._of_category.sizes(categories)
            tries = TRIES * count if count is not None else len(self._item_ids)
            is_wide = sizes > tries
            narrow = self._of_category.entries(np.where(is_wide, -1, categories))
            wide = np.flatnonzero(is_wide)
            places = (random.random((len(wide), tries)) * sizes[wide, None]).astype(np.int64)
            starts = self._of_category.starts[categories[wide]][:, None]
            items = self._of_category.codes[starts + places]
            sampled = (np.repeat(wide, tries), items.reshape(-1))
        row, item = (np.concatenate(parts) for parts in zip(clicked, narrow, sampled, strict=True))
        priority = random.random(len(row))
        priority[len(clicked[0]) :] += 1
        return _Candidates(row, item, priority, is_wide)

    def _choose(
        self, rows: pl.DataFrame, chosen: np.ndarray, candidates: "_Candidates", pictured: bool
    ) -> np.ndarray:
        """Fill `chosen` `(rows, count)` with item rows by rising priority; which rows lack some that a look through all of their category may find."""
        row, item, priority, is_sampled = candidates
        order = np.lexsort((priority, row))
        row, item = row[order], item[order]
        if pictured:
            row, item = row[self._has_image[item]], item[self._has_image[item]]
        first = np.sort(np.unique(row * len(self._item_ids) + item, return_index=True)[1])
        row, item = row[first], item[first]
        may = ~self._known.hold(rows, row, self._item_ids[item], self._spu_ids[item])
        row, item = row[may], item[may]
        place = np.arange(len(row)) - np.searchsorted(row, row)
        kept = place < chosen.shape[1]
        chosen[row[kept], place[kept]] = item[kept]
        return is_sampled & (chosen[:, -1] < 0)


class _Candidates(NamedTuple):
    """`(candidates,)`: the row that each is for, its item's row, and its priority, the least first; and `(rows,)` whether a row's category was sampled only."""

    row: np.ndarray
    item: np.ndarray
    priority: np.ndarray
    is_sampled: np.ndarray


def clicked_not_bought(shop: Shop) -> pl.DataFrame:
    """search_id and item_id of what was clicked after a search but not bought, before the cut; an item that answers one search twice and was bought once is left out."""
    clicked = engagements(shop, "clicked").select("search_id", "item_id")
    bought = engagements(shop, "purchased").select("search_id", "item_id")
    return clicked.join(bought, on=["search_id", "item_id"], how="anti").collect(engine="streaming")
