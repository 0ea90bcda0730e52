"""Segments of a shop's products by any of their columns: brand, category down to a level, price bands. No torch.

Notable choices
- Values are those of the catalogue, so that every ranker and every seed of a study has the same segments whatever it scored. The largest `MOST_VALUES` are judged apart, the rest together as
  "other"; products without a value are "unknown".
- Categories are paths; `category:2` takes their first two levels. Prices are cut at the catalogue's quartiles.
- Texts are compared in their one normal form (`moon_rec.texts`), as everywhere.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.shop import Shop
from moon_rec.shown import visible
from moon_rec.texts import normal_text

MOST_VALUES = 8
BANDS = 4
OTHER, UNKNOWN = "other", "unknown"
COLUMN = re.compile(r"brand|price|category(:[1-9])?")


@dataclass(frozen=True, eq=False)
class ItemSegment:
    """Some products of a shop.

    Attributes:
        key: what stands behind a figure's name: letters, digits, `_` and `-`, as every store of runs takes them.
        name: for people: `category:1 = Home`.
        items: `(any,)` item_ids, ascending.
    """

    key: str
    name: str
    items: np.ndarray


def check_segment(column: str) -> str:
    """The text, where it names a column by which products are cut.

    Raises:
        ValueError: it names none.
    """
    if not COLUMN.fullmatch(column):
        raise ValueError(
            f"segments has {column!r}; wanted brand, price, category, or category:1 (to 9) for its first levels"
        )
    return column


def item_segments(shop: Shop, columns: Sequence[str]) -> tuple[ItemSegment, ...]:
    """The segments of each column, the largest first, `other` and `unknown` last.

    Raises:
        RankingError: a column that this shop's products have no value of.
    """
    found: list[ItemSegment] = []
    for column in columns:
        check_segment(column)
        frame = shop.items.select("item_id", value=_value(column)).collect().sort("item_id")
        if frame["value"].null_count() == frame.height:
            raise RankingError(
                f"segments has {column!r}, and no product of shop {shop.name} has one; leave it out"
            )
        if column == "price":
            frame = frame.with_columns(value=_bands(frame["value"]))
        known = frame["value"].drop_nulls().value_counts().sort("count", "value", descending=[True, False])  # fmt: skip
        names = known["value"].head(MOST_VALUES).to_list()
        value = pl.col("value")
        parts = [(str(name), value == name) for name in names]
        parts += [(OTHER, value.is_not_null() & ~value.is_in(names)), (UNKNOWN, value.is_null())]
        for place, (name, rows) in enumerate(parts):
            items = frame.filter(rows.fill_null(False))["item_id"].to_numpy()
            if len(items):
                key = f"_in_{column.replace(':', '-')}_{place}"
                found.append(ItemSegment(key, f"{column} = {visible(name)}", items))
    return tuple(found)


def _value(column: str) -> pl.Expr:
    if column == "price":
        return pl.col("price").fill_nan(None)
    text = normal_text(column.partition(":")[0])
    text = pl.when(text != "").then(text)
    level = column.partition(":")[2]
    return text.str.split("/").list.head(int(level)).list.join("/") if level else text


def _bands(prices: pl.Series) -> pl.Series:
    """Each price as the band that it lies in, named by its ends."""
    known = prices.drop_nulls().to_numpy()
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BANDS + 1)[1:-1]))
    place = np.searchsorted(edges, prices.fill_null(0.0).to_numpy(), side="right")
    names = [f"below {edges[0]:g}", *(f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)), f"{edges[-1]:g} and more"]  # fmt: skip
    bands = pl.Series([names[one] for one in place.tolist()], dtype=pl.String)
    return bands.set(prices.is_null(), None)
