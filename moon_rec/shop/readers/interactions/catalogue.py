"""A shop's items and users: what their tables say, then what the log alone knows, bare."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from moon_rec.progress import say
from moon_rec.shop.own_ids import OwnIds
from moon_rec.shop.readers.interactions.pictures import Pictures
from moon_rec.shop.readers.interactions.sidetables import SideTable
from moon_rec.shop.schema import columns_of

LISTED = ("item_id", "listed_at", "category")


class Catalogue:
    """The table of items.

    Attributes:
        num_bare: items of the log that their table has not; 0 without a table.
        listing: `LISTED` of all items, once `frames` has run to its end.
    """

    def __init__(self, table: SideTable | None, ids: OwnIds, seen: pl.DataFrame) -> None:
        """
        Args:
            seen: item_id and `seen` of every item.
        """
        self.table, self.ids, self.seen = table, ids, seen
        self.num_bare = 0
        self._listed: list[pl.DataFrame] = []

    @property
    def listing(self) -> pl.DataFrame:
        """item_id, listed_at and category of the items that went by."""
        return pl.concat(self._listed)

    def frames(self, pictures: Pictures | None) -> Iterator[pl.DataFrame]:
        """All items; without `pictures` the column of pictures is left out."""
        self._listed = []
        for rows in self._frames(pictures):
            self._listed.append(rows.select(LISTED))
            yield rows

    def _frames(self, pictures: Pictures | None) -> Iterator[pl.DataFrame]:
        there: list[pl.Series] = []
        empty: pl.DataFrame | None = None
        for piece in self.table.pieces(self.ids, pictures) if self.table else ():
            rows = _completed(piece, self.seen)
            there.append(rows["item_id"])
            empty = rows.clear()
            yield rows
        bare = _absent(self.seen, "item_id", there)
        if bare.height:
            rows = _completed(bare.select("item_id"), self.seen)
            self.num_bare = bare.height if there else 0
            yield rows if empty is None else _with_columns_of(empty, rows)


def user_frames(table: SideTable, ids: OwnIds) -> Iterator[pl.DataFrame]:
    """The table of users; those that only the log has are added, and told."""
    there: list[pl.Series] = []
    empty: pl.DataFrame | None = None
    for piece in table.pieces(ids, None):
        there.append(piece["user_id"])
        empty = piece.clear()
        yield piece
    bare = _absent(pl.DataFrame({"user_id": np.unique(ids.ids)}), "user_id", there)
    if bare.height and empty is not None:
        say(
            f"{bare.height:,} users of the log are not in {table.source.name}: their profile is empty"
        )
        yield _with_columns_of(empty, bare)


def _absent(everything: pl.DataFrame, key: str, there: list[pl.Series]) -> pl.DataFrame:
    """The rows whose ids are in none of the series."""
    known = pl.concat(there) if there else pl.Series(key, [], pl.Int64)
    return everything.filter(~pl.col(key).is_in(known.implode()))


def _with_columns_of(empty: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([empty, rows], how="diagonal").select(empty.columns)


def _completed(piece: pl.DataFrame, seen: pl.DataFrame) -> pl.DataFrame:
    """Items with every column that a shop demands: what is absent derived."""
    rows = piece.join(seen, on="item_id", how="left", maintain_order="left")
    listed = (
        pl.min_horizontal("listed_at", "seen") if "listed_at" in piece.columns else pl.col("seen")
    )
    derived = {
        "listed_at": listed,
        "spu_id": pl.col("item_id"),
        "title": _or(piece, "title", ""),
        "category": _or(piece, "category", "all"),
        "attributes": pl.lit([], columns_of("items")["attributes"]),
    }
    if "spu_id" in piece.columns:
        derived["spu_id"] = pl.coalesce("spu_id", "item_id")
    return rows.with_columns(**derived).drop("seen")


def _or(piece: pl.DataFrame, name: str, instead: str) -> pl.Expr:
    if name not in piece.columns:
        return pl.lit(instead)
    text = pl.col(name).str.strip_chars()
    return pl.when(text != "").then(pl.col(name)).otherwise(pl.lit(instead))
