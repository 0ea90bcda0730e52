"""Delimited text whose separator has several characters, such as the `::` of MovieLens 1M: lines parted as they stand."""

import io
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.readers.interactions.unpacking import decoded
from moon_rec.values import shown


def parted(
    paths: tuple[Path, ...],
    separator: str,
    names: tuple[str, ...],
    has_rows_alone: bool,
    encoding: str | None,
) -> pl.LazyFrame:
    """Lines parted at the separator.

    Args:
        names: of the fields. has_rows_alone: the first line is no header. encoding: None: UTF-8.

    Raises:
        ShopError: a line has another number of fields.
    """
    tables = []
    for path in paths:
        text: Path | io.BytesIO = path if encoding is None else decoded(path, encoding)
        lines = pl.scan_lines(text).with_row_index("number", offset=1)
        lines = lines.filter(pl.col("line") != "").with_columns(
            pl.col("line").str.strip_chars_end("\r")
        )
        lines = lines if has_rows_alone else lines.slice(1)
        fields = pl.col("line").str.count_matches(separator, literal=True) + 1
        bad = lines.filter(fields != len(names)).with_columns(fields=fields).head(1).collect()
        if bad.height:
            number, line, found = bad.row(0)
            raise ShopError(
                f"{path}: line {number} has {found} fields, {len(names)} wanted: {shown(line)}; mend the line, or take it out"
            )
        parts = pl.col("line").str.splitn(separator, len(names)).struct.rename_fields(list(names))
        tables.append(lines.select(parts.alias("parts")).unnest("parts"))
    return pl.concat(tables)
