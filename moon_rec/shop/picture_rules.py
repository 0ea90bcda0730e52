"""Every picture of a table decoded, a small batch in memory at a time; broken ones by the kind of their fault."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.progress import progress
from moon_rec.shop.picture_pieces import batches_of
from moon_rec.shop.pictures import PictureError, decode
from moon_rec.shop.problem import Problem
from moon_rec.shop.readings import TableReader
from moon_rec.shop.schema import FILES, KEYS, PICTURES

PICTURE_BATCH = 256
NUM_NAMED = 10
"""Broken pictures of a kind that are named in the line; all are in the file of faults."""


@dataclass(frozen=True)
class _Broken:
    row: int
    number: object
    size: int
    error: PictureError


def picture_problems(reader: TableReader, folder: Path) -> list[Problem]:
    """One problem for each kind of fault, with the first picture that has it and the ids of the others."""
    column, key = PICTURES[reader.table], KEYS[reader.table][0]
    path = folder / FILES[reader.table]
    there = pq.read_schema(path).names
    how = reader.readings.get(column)
    if column not in there or how is None or how.value is None:
        return []
    wanted = [key, column] if key in there else [column]
    found: dict[str, list[_Broken]] = {}
    row = 0
    with (
        pq.ParquetFile(path, buffer_size=1 << 20) as file,
        progress(f"pictures of {reader.table}", file.metadata.num_rows) as bar,
    ):
        for batch in batches_of(file, PICTURE_BATCH, wanted):
            ids = batch[key].to_pylist() if key in wanted else [None] * batch.num_rows
            for number, data in zip(ids, batch[column].to_pylist(), strict=True):
                error = None if data is None else _fault(data)
                if error is not None:
                    broken = _Broken(row, number, len(data or b""), error)
                    found.setdefault(error.kind, []).append(broken)
                row += 1
            bar.advance(batch.num_rows)
    return [_problem(reader, broken) for broken in found.values()]


def _fault(data: bytes) -> PictureError | None:
    try:
        decode(data)
    except PictureError as error:
        return error
    return None


def _problem(reader: TableReader, broken: list[_Broken]) -> Problem:
    column, key, first = PICTURES[reader.table], KEYS[reader.table][0], broken[0]
    others = [str(each.number) for each in broken[1:NUM_NAMED]]
    also = f", and so of {', '.join(others)}" if others else ""
    more = " and more" if len(broken) > NUM_NAMED else ""
    rows = {
        "row": [each.row for each in broken],
        "value": [f"{each.size:,} bytes" for each in broken],
    }
    return Problem(
        reader.table,
        f"of {key} {first.number}: {first.error.fault}{also}{more}",
        first.error.mend,
        column,
        first.row,
        reader.raw.slice(first.row, 1).select(column).collect().item(),
        len(broken),
        pl.LazyFrame(rows),
    )
