"""Tables that came from anywhere, each declared column read by the rules of `moon_rec.values`.

A shop's own tables have the declared types, so of them only blank texts are read as something else; tables to import may have any.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from moon_rec.shop.schema import FILES, TABLES, columns_of
from moon_rec.values import Meanings, Reading, reading


def readings_of(
    table: str, schema: Mapping[str, pl.DataType], meanings: Mapping[str, Meanings] | None = None
) -> dict[str, Reading]:
    """How the declared columns that are in `schema` are read; `meanings` by the column's name."""
    meanings = meanings or {}
    return {
        column.name: reading(
            column.name,
            schema[column.name],
            column.dtype,
            meanings.get(column.name),
            column.blank,
        )
        for column in TABLES[table]
        if column.name in schema
    }


def texts_read(table: str) -> list[pl.Expr]:
    """What a shop's own table reads as something else than its file holds: texts, of which blank ones are none."""
    return [
        found.value.alias(name)
        for name, found in readings_of(table, columns_of(table)).items()
        if found.told and found.value is not None
    ]


@dataclass(frozen=True, repr=False)
class TableReader:
    """One table of a folder.

    Attributes:
        raw: the file's rows as they are; of a table to import, with null for a nullable column that it lacks.
        readings: of the declared columns that it has.
    """

    table: str
    raw: pl.LazyFrame
    readings: dict[str, Reading]

    @classmethod
    def open(
        cls, table: str, folder: Path, meanings: Mapping[str, Meanings] | None = None
    ) -> "TableReader":
        """Open a table's file.

        Args:
            meanings: of the columns of a table to import; None for one of a shop, whose columns of another type than declared are left out.
        """
        raw = pl.scan_parquet(folder / FILES[table])
        schema = dict(raw.collect_schema())
        if meanings is None:
            declared = columns_of(table)
            schema = {name: kind for name, kind in schema.items() if declared.get(name) == kind}
            return cls(table, raw, readings_of(table, schema))
        absent = {
            column.name: pl.lit(None, column.dtype)
            for column in TABLES[table]
            if column.nullable and column.name not in schema
        }
        raw = raw.with_columns(**absent)
        return cls(table, raw, readings_of(table, dict(raw.collect_schema()), meanings))

    @property
    def frame(self) -> pl.LazyFrame:
        """The table as ours, its further columns kept; without the declared columns that cannot be read."""
        values = {name: found.value for name, found in self.readings.items()}
        there = self.raw.collect_schema().names()
        lost = [
            name for name in there if name in columns_of(self.table) and values.get(name) is None
        ]
        read = [value.alias(name) for name, value in values.items() if value is not None]
        return self.raw.with_columns(read).drop(lost)
