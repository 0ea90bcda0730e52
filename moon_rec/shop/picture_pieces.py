"""A table's pictures a few at a time, and which rows have one: in the memory of a row group, whatever the size of the shop.

Notable choices
- Parquet gives no row's picture without reading its row group, and polars reads many groups ahead: counting the rows with a picture took all pictures into memory (+446 MiB for
  384 MiB of them, streaming). So pictures are read here by pyarrow, a row group at a time, and what is asked most of them (is there one, is it another's) is found
  in one pass and kept.
- A reader for each group: one for all of them keeps what it read until its end (pyarrow 25).
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.shop.schema import KEYS, PICTURES

PIECE = 64
"""Rows, with their pictures, handed out at once."""


def batches_of(
    file: pq.ParquetFile, rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """All rows of an open file in order, `rows` at most at a time, in the memory of a row group."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(rows, [group], columns)


def picture_pieces(path: Path, table: str) -> Iterator[pl.DataFrame]:
    """The key and the pictures of a table's rows (`items`: item_id, image), in the file's order, `PIECE` rows at a time."""
    columns = [KEYS[table][0], PICTURES[table]]
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        for batch in batches_of(file, PIECE, present):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            if len(present) < len(columns):
                frame = frame.with_columns(pl.lit(None, pl.Binary).alias(columns[1]))
            yield frame.select(pl.col(columns[0]).cast(pl.Int64), pl.col(columns[1]))
    pa.default_memory_pool().release_unused()


def pictured(path: Path, table: str) -> pl.DataFrame:
    """Of every row of a table, in the file's order: its key, `has_picture`, and `picture_hash`, 64 bits of the picture's bytes, null where there are none."""
    picture = pl.col(PICTURES[table])
    has = picture.is_not_null()
    pieces = [
        piece.select(
            KEYS[table][0],
            has_picture=has,
            picture_hash=pl.when(picture.bin.size() > 0).then(picture.hash(seed=0)),
        )
        for piece in picture_pieces(path, table)
    ]
    kinds = {KEYS[table][0]: pl.Int64, "has_picture": pl.Boolean, "picture_hash": pl.UInt64}
    return pl.concat([pl.DataFrame(schema=kinds), *pieces])
