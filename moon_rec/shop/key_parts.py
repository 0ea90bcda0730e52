"""The rows of a table in parts by a key, so that a group-by over all keys needs the memory of one part."""

from collections.abc import Iterator

import polars as pl

ROWS_A_PART = 2_000_000


def parts_by(frame: pl.LazyFrame, key: str) -> Iterator[pl.LazyFrame]:
    """Frames of some `ROWS_A_PART` rows; the rows of one key are in one of them, rows without it in none."""
    num_parts = 1 + frame.select(pl.len()).collect(engine="streaming").item() // ROWS_A_PART
    if num_parts == 1:
        yield frame.drop_nulls(key)
        return
    for part in range(num_parts):
        yield frame.drop_nulls(key).filter(pl.col(key).hash(0) % num_parts == part)
