"""What can be checked without reading rows: the tables are there, with their columns, of their types, not empty.

Only Parquet headers are read, so `Shop.open` affords it every time.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.errors import first_line
from moon_rec.parquet_bounds import bomb
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import FILES, REQUIRED_TABLES, TABLES, Column

MAY_BE_EMPTY = ("searches",)
"""A shop without searches is a shop; one without items or impressions is not."""


def structure_problems(folder: Path, is_shop: bool = True) -> list[Problem]:
    """Missing, unreadable and empty tables, missing columns, wrong types: in the order of the schema.

    Args:
        is_shop: whether types must be the declared ones and nullable columns be there. Of tables to import values say what they are, and a nullable
            column that is missing is told.
    """
    problems: list[Problem] = []
    for table in TABLES:
        path = folder / FILES[table]
        if path.is_file():
            problems += _table_problems(table, path, is_shop)
        elif path.is_dir():
            mend = "write its parts as one Parquet file"
            problems.append(Problem(table, "is a folder, wanted a file", mend))
        elif table in REQUIRED_TABLES and (is_shop or table not in MAY_BE_EMPTY):
            mend = "write that table as Parquet there (docs/design.md)"
            mend += ", empty if the shop has no searches" if table in MAY_BE_EMPTY else ""
            problems.append(Problem(table, f"is missing: there is no {FILES[table]}", mend))
    return problems


def _table_problems(table: str, path: Path, is_shop: bool) -> Iterator[Problem]:
    try:
        reason = bomb(path, deep=False)
        num_rows = pq.read_metadata(path).num_rows
        found = pl.read_parquet_schema(path)
    except UNREADABLE as error:
        yield Problem(table, f"cannot be read as Parquet: {first_line(error)}", "write it again")
        return
    if reason:
        yield Problem(table, f"is not read: {reason}", "take the shop from whoever made it")
        return
    the_others = f": the table has {', '.join(found)}"
    for column in TABLES[table]:
        if column.name not in found:
            rule, mend = f"column is missing{the_others}", _added(column, list(found))
            if column.nullable and not is_shop:
                told = f"null in every row{_meant(column, list(found))}"
                yield Problem(table, "column is missing", told, column.name, is_told=True)
                continue
            yield Problem(table, rule, mend, column.name)
            the_others = ""  # said once
        elif is_shop and column.name in found and found[column.name] != column.dtype:
            yield Problem(
                table,
                f"has type {found[column.name]}, wanted {column.dtype}",
                "cast it, or have `shop import tables` read what fits",
                column=column.name,
            )
    if num_rows == 0 and table not in MAY_BE_EMPTY:
        yield Problem(
            table, "is empty", "write its rows" + ", or remove it" * (table not in REQUIRED_TABLES)
        )


def _added(column: Column, found: list[str]) -> str:
    """How to add a column, and what to put where the log has none."""
    meant = _meant(column, found)
    return f"add it as {column.dtype}{meant}; {column.stand_in}"


def _meant(column: Column, found: list[str]) -> str:
    """A column that may be the missing one under another name."""
    declared = {each.name for columns in TABLES.values() for each in columns}
    other = {name.casefold(): name for name in found if name not in declared}
    near = get_close_matches(column.name.casefold(), other, 1, 0.8)
    return f" (is it {other[near[0]]}?)" if near else ""
