"""The tables of a shop as one table of columns: name, type, nullable or not.

Notable choices
- Times are `Datetime("us")` without zone, read as UTC; ids are `Int64`.
- Every table may carry further columns (context, profiles): they are kept and never checked.
- `truth` lies apart, in `truth/`, so that nothing which globs the folder for training tables can meet it.
"""

from dataclasses import dataclass

import polars as pl

SCHEMA_VERSION = 1
"""Raised when a table's meaning changes; a shop of another version is refused, not guessed at."""

TIME = pl.Datetime("us")
ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))


@dataclass(frozen=True)
class Column:
    """One declared column of a table."""

    name: str
    dtype: pl.DataType
    nullable: bool = False


TABLES: dict[str, tuple[Column, ...]] = {
    "items": (
        Column("item_id", pl.Int64()),
        Column("spu_id", pl.Int64()),
        Column("title", pl.String()),
        Column("category", pl.String()),
        Column("brand", pl.String(), nullable=True),
        Column("attributes", ATTRIBUTES),
        Column("description", pl.String(), nullable=True),
        Column("price", pl.Float64(), nullable=True),
        Column("image", pl.Binary(), nullable=True),
        Column("listed_at", TIME),
    ),
    "searches": (
        Column("search_id", pl.Int64()),
        Column("user_id", pl.Int64()),
        Column("time", TIME),
        Column("query_text", pl.String(), nullable=True),
        Column("query_image", pl.Binary(), nullable=True),
    ),
    "impressions": (
        Column("request_id", pl.Int64()),
        Column("search_id", pl.Int64(), nullable=True),
        Column("user_id", pl.Int64()),
        Column("item_id", pl.Int64()),
        Column("time", TIME),
        Column("position", pl.Int32()),
        Column("clicked", pl.Boolean()),
        Column("carted", pl.Boolean()),
        Column("purchased", pl.Boolean()),
    ),
    "users": (Column("user_id", pl.Int64()),),
    "truth": (
        Column("request_id", pl.Int64()),
        Column("item_id", pl.Int64()),
        Column("click_probability", pl.Float64()),
    ),
}

REQUIRED_TABLES = ("items", "searches", "impressions")

KEYS: dict[str, tuple[str, ...]] = {
    "items": ("item_id",),
    "searches": ("search_id",),
    "impressions": ("request_id", "item_id"),
    "users": ("user_id",),
    "truth": ("request_id", "item_id"),
}

PICTURES: dict[str, str] = {"items": "image", "searches": "query_image"}
"""The picture column of each table that has one."""

FILES: dict[str, str] = {
    "items": "items.parquet",
    "searches": "searches.parquet",
    "impressions": "impressions.parquet",
    "users": "users.parquet",
    "truth": "truth/truth.parquet",
}
"""Where each table lies, relative to the shop's folder."""

MANIFEST = "manifest.json"
"""The manifest's name in the shop's folder."""


def columns_of(table: str) -> dict[str, pl.DataType]:
    """The declared columns of a table as a polars schema, in order."""
    return {column.name: column.dtype for column in TABLES[table]}


def empty_table(table: str) -> pl.DataFrame:
    """A table with its declared columns and no rows (MovieLens has no searches)."""
    return pl.DataFrame(schema=columns_of(table))
