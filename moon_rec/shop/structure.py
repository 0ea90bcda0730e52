"""What can be checked without reading rows: the tables are there, with their columns, of their types, not empty.

Only Parquet headers are read, so `Shop.open` affords it every time.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.shop.integrity import UNREADABLE, reason_of
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import FILES, REQUIRED_TABLES, TABLES

MAY_BE_EMPTY = ("searches",)
"""A shop without searches is a shop; one without items or impressions is not."""


def structure_problems(folder: Path) -> list[Problem]:
    """Missing, unreadable and empty tables, missing columns, wrong types: in the order of the schema."""
    problems: list[Problem] = []
    for table in TABLES:
        path = folder / FILES[table]
        if path.is_file():
            problems += _table_problems(table, path)
        elif table in REQUIRED_TABLES:
            mend = "write it with ShopWriter"
            mend += ", empty if the shop has no searches" if table in MAY_BE_EMPTY else ""
            problems.append(Problem(table, f"is missing: there is no {FILES[table]}", mend))
    return problems


def _table_problems(table: str, path: Path) -> Iterator[Problem]:
    try:
        num_rows = pq.read_metadata(path).num_rows
        found = pl.read_parquet_schema(path)
    except UNREADABLE as error:
        yield Problem(table, f"cannot be read as Parquet: {reason_of(error)}", "write it again")
        return
    for column in TABLES[table]:
        if column.name not in found:
            yield Problem(
                table,
                f"column is missing: the table has {', '.join(found)}",
                f"add it as {column.dtype}" + (", null where unknown" if column.nullable else ""),
                column=column.name,
            )
        elif found[column.name] != column.dtype:
            yield Problem(
                table,
                f"has type {found[column.name]}, wanted {column.dtype}",
                "cast it (`shop import tables` casts what fits)",
                column=column.name,
            )
    if num_rows == 0 and table not in MAY_BE_EMPTY:
        yield Problem(
            table, "is empty", "write its rows" + ", or remove it" * (table in ("users", "truth"))
        )
