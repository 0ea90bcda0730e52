"""The tables of a shop as one table of columns: name, type, nullable or not.

Notable choices
- Times are `Datetime("us")` without zone, read as UTC; ids are `Int64`.
- Every table may carry further columns (context, profiles): they are kept and never checked.
- `events` holds what users did that was no impression (a product's own page, a purchase outside of search, what another app
  saw). Only histories read it. Its outcomes are three Booleans, as those of impressions, so one act is one row and one kind of
  history is one column of both tables; `clicked` is true in every row, for all that is done to a product is of interest.
- `truth` lies apart, in `truth/`, so that nothing which globs the folder for training tables can meet it.
"""

from dataclasses import dataclass

import polars as pl

from moon_rec.outputs import OutputKind, json_with
from moon_rec.values import ATTRIBUTES, TIME, Blank

SCHEMA_VERSION = 1
"""Raised when a table's meaning changes; a shop of another version is refused, not guessed at."""


@dataclass(frozen=True)
class Column:
    """One declared column of a table.

    Attributes:
        absent: what to put where a log has no such column; needed: why nothing can stand in for it.
        blank: of texts: what a blank one counts as.
    """

    name: str
    dtype: pl.DataType
    absent: str = "null"
    nullable: bool = False
    blank: Blank = "null"
    needed: str = ""

    @property
    def stand_in(self) -> str:
        """What to put where a log has no value, in words."""
        if self.needed:
            return f"nothing can stand in for it: {self.needed}"
        return f"where there is none put {self.absent}"


def _nullable(name: str, dtype: pl.DataType) -> Column:
    return Column(name, dtype, nullable=True)


_ID = pl.Int64()
_NUMBERED = "a number for each distinct {}"

TABLES: dict[str, tuple[Column, ...]] = {
    "items": (
        Column("item_id", _ID, _NUMBERED.format("product")),
        Column("spu_id", _ID, "item_id, where products have no groups"),
        Column(
            "title", pl.String(), '"" where a product is known by its picture alone', blank="empty"
        ),
        Column("category", pl.String(), 'one name for all, such as "all"', blank="refused"),
        _nullable("brand", pl.String()),
        Column("attributes", ATTRIBUTES, "an empty list"),
        _nullable("description", pl.String()),
        _nullable("price", pl.Float64()),
        _nullable("image", pl.Binary()),
        Column("listed_at", TIME, "the first time that the item was seen"),
    ),
    "searches": (
        Column("search_id", _ID, _NUMBERED.format("search")),
        Column("user_id", _ID, "a number for each session, where users are not known"),
        Column("time", TIME, "the time of the first impression that answers the search"),
        _nullable("query_text", pl.String()),
        _nullable("query_image", pl.Binary()),
    ),
    "impressions": (
        Column("request_id", _ID, _NUMBERED.format("user and time")),
        _nullable("search_id", _ID),
        Column("user_id", _ID, "a number for each session, where users are not known"),
        Column("item_id", _ID, needed="an impression is of an item"),
        Column("time", TIME, needed="train, validation and test are split by it"),
        Column("position", pl.Int32(), "the order in the request, from 0"),
        Column("clicked", pl.Boolean(), needed="it is what is learnt"),
        Column("carted", pl.Boolean(), "false"),
        Column("purchased", pl.Boolean(), "false"),
    ),
    "events": (
        Column("user_id", _ID, needed="leave the table out"),
        Column("item_id", _ID, needed="leave the table out"),
        Column("time", TIME, needed="histories hold what was done before a moment"),
        Column("clicked", pl.Boolean(), "true"),
        Column("carted", pl.Boolean(), "false"),
        Column("purchased", pl.Boolean(), "false"),
    ),
    "users": (Column("user_id", _ID, needed="leave the table out"),),
    "truth": (
        Column("request_id", _ID, needed="leave the table out"),
        Column("item_id", _ID, needed="leave the table out"),
        Column("click_probability", pl.Float64(), needed="leave the table out"),
    ),
}

REQUIRED_TABLES = ("items", "searches", "impressions")

KEYS: dict[str, tuple[str, ...]] = {
    "items": ("item_id",),
    "searches": ("search_id",),
    "impressions": ("request_id", "item_id"),
    "events": ("user_id", "item_id", "time"),
    "users": ("user_id",),
    "truth": ("request_id", "item_id"),
}

PICTURES: dict[str, str] = {"items": "image", "searches": "query_image"}
"""The picture column of each table that has one."""

FILES: dict[str, str] = {
    "items": "items.parquet",
    "searches": "searches.parquet",
    "impressions": "impressions.parquet",
    "events": "events.parquet",
    "users": "users.parquet",
    "truth": "truth/truth.parquet",
}
"""Where each table lies, relative to the shop's folder."""

MANIFEST = "manifest.json"
"""The manifest's name in the shop's folder."""

IDS = "ids"
"""Where the user's own ids lie, a file a kind; they are derived, and no part of the digest."""
TRUE_BOXES = "truth/boxes.parquet"
"""Of a simulated shop, where the product is on each picture that was drawn; for measuring only, and no part of the digest."""
BOX_COLUMNS = {
    "table": pl.String(),
    "id": pl.Int64(),
    **dict.fromkeys(("x0", "y0", "x1", "y1"), pl.Int32()),
}
"""Of `TRUE_BOXES`: `items` or `searches`, the row's key, and left, top, right and bottom in pixels of its picture; the last two lie just outside."""
BROKEN_PICTURES = "broken_pictures.csv"
"""Every picture that an import could not use; no part of the digest either."""

SHOP = OutputKind(
    "a shop",
    MANIFEST,
    json_with("schema_version", "cut_time", "test_time"),
    (*FILES.values(), f"{IDS}/*.parquet", TRUE_BOXES, BROKEN_PICTURES),
)


def columns_of(table: str) -> dict[str, pl.DataType]:
    """The declared columns of a table as a polars schema, in order."""
    return {column.name: column.dtype for column in TABLES[table]}


def empty_table(table: str) -> pl.DataFrame:
    """A table with its declared columns and no rows (MovieLens has no searches)."""
    return pl.DataFrame(schema=columns_of(table))
