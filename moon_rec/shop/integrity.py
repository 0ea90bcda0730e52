"""Whether a shop's files are those that its manifest promises, and whether they can be read at all.

Notable choices
- Three depths. `Shop.open` compares sizes and row counts, which costs nothing. The first read of a table compares its
  digest, once a process (`moon_rec.files.digest_file`): rows that changed are never trained on in silence. `shop check`
  compares all.
- An intended change is accepted by `shop check --renew`, which checks every other rule and then records the files as
  they are. A manifest written by hand that records nothing promises nothing.
- A file that nobody vouches for (of a hand-written manifest, or changed) is decoded once by pyarrow, with its texts and
  offsets checked, before anything reads it with polars, which panics on some damages.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import first_line
from moon_rec.files import digest_file
from moon_rec.parquet_bounds import bomb
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.picture_pieces import batches_of
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import FILES, MANIFEST

UNREADABLE = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    pl.exceptions.PanicException,
    OSError,
    ValueError,
    OverflowError,
    MemoryError,
)
"""What pyarrow and polars raise on damaged Parquet; the panic is no `Exception`."""

BATCH_ROWS = 4_096
TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_214_400
"""Of the years 1 and 9999 (its last day), from 1970."""


def promise_problems(
    folder: Path, manifest: Manifest, tables: tuple[str, ...] = tuple(FILES), deep: bool = True
) -> Iterator[Problem]:
    """Tables whose files are not as the manifest records them, each with what differs and how to mend it.

    Args:
        deep: compare digests, too, which reads the files.
    """
    for table in tables:
        file = folder / FILES[table]
        difference = _difference(file, manifest, table, deep)
        if difference is not None:
            yield Problem(
                table,
                f"is not the file that {MANIFEST} records: {difference}",
                f"put the old file back or import again; if the change is meant, accept it with "
                f"`python -m moon_rec shop check {folder} --renew`",
            )


def unread_problems(folder: Path, table: str, is_shop: bool = True) -> Iterator[Problem]:
    """A table that cannot be decoded to its end.

    Args:
        is_shop: whether times must be ones that a calendar can write; of tables to import the row that has another is named later.
    """
    reason = unreadable(folder / FILES[table], is_shop)
    if reason is not None:
        rule = f"cannot be read to its end: {reason}"
        yield Problem(table, rule, "put an undamaged file back, or write it again")


def _difference(file: Path, manifest: Manifest, table: str, deep: bool) -> str | None:
    rows, size = manifest.rows.get(table), manifest.sizes.get(table)
    digest = manifest.fingerprints.get(table)
    if not file.is_file():
        promised = not (rows is None and size is None and digest is None)
        return f"it is gone, recorded {rows} rows" if promised else None
    found = None if rows is None else _num_rows(file)
    if found is not None and found != rows:
        return f"{found:,} rows, recorded {rows:,}"
    if size is not None and file.stat().st_size != size:
        return f"{file.stat().st_size:,} bytes, recorded {size:,}"
    if deep and digest is not None and digest_file(file) != digest:
        return f"SHA-256 {digest_file(file)}, recorded {digest}"
    return None


def _num_rows(file: Path) -> int | None:
    """None where the header cannot be read: that is told by who reads the table."""
    try:
        return pq.read_metadata(file).num_rows
    except UNREADABLE:
        return None


def unreadable(path: Path, has_times: bool = True) -> str | None:
    """Why a Parquet file cannot be decoded to its end, in one line; None where it can."""
    try:
        reason = bomb(path)
        if reason:
            return reason
        with pq.ParquetFile(path, buffer_size=1 << 20) as file:
            for batch in batches_of(file, BATCH_ROWS):
                batch.validate(full=True)
                if has_times:
                    _check_times(batch)
    except UNREADABLE as error:
        return first_line(error)
    return None


def _check_times(batch: pa.RecordBatch) -> None:
    """Raise ValueError at a time that no calendar can write, on which polars panics."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_timestamp(column.type):
            continue
        moments = column.drop_null().cast(pa.int64()).to_numpy(zero_copy_only=False)
        seconds = moments // TICKS[column.type.unit]
        if ((seconds < FIRST_SECOND) | (seconds > LAST_SECOND)).any():
            raise ValueError(f"column {name} holds a time outside the years 1 to 9999")
