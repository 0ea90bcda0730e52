"""Rows of a published file, one at a time, whatever it is written in: JSON Lines, JSON, CSV, TSV or Parquet (gzipped or not, but for Parquet).

Every row comes with the place where it stands, for an error that names it; a column that is not there is told with those that are.
"""

import contextlib
import csv
import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from moon_rec.errors import ShopError, first_line
from moon_rec.packed import refuse_packed_bomb
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.strict_json import parse_json

Row = Mapping[str, Any]
PARQUET_ROWS = 1024
"""Parquet rows held at once: a row may hold a picture."""
MOST_JSON_BYTES = 1 << 30
UNREADABLE_ROWS = (csv.Error, zlib.error, EOFError, *UNREADABLE)
LINE_FORMS = (".jsonl", ".ndjson")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def find_files(folder: Path, pattern: str, option: str) -> list[Path]:
    """Files of the folder that a name or pattern such as `data/*.parquet` names, sorted.

    Raises:
        ShopError: the folder, or every such file, is absent.
    """
    if not folder.is_dir():
        raise ShopError(f"{folder} is not a folder: name the one with the published set's files")
    try:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
    except (NotImplementedError, ValueError, IndexError, OSError) as error:
        raise ShopError(
            f"{option} is {pattern!r:.80}, no name or pattern in the folder: {first_line(error)}"
        ) from None
    if not found:
        there = sorted(path.name for path in folder.iterdir())[:8]
        raise ShopError(
            f"{folder} has no {pattern}: it has {', '.join(there) or 'nothing'}; name the file with {option} in layout.toml"
        )
    return found


def read_rows(
    paths: Iterable[Path], needed: Iterable[str] = (), wanted: Iterable[str] = ()
) -> Iterator[tuple[str, Row]]:
    """(where, row) of every row of the files.

    Args:
        needed: columns without which a row cannot be read.
        wanted: columns that may be absent.

    Raises:
        ShopError: a file that is not what its ending says, or a needed column that a row has not.
    """
    needed = list(dict.fromkeys(needed))
    columns = list(dict.fromkeys([*needed, *wanted]))
    for path in paths:
        with _damage_named(path):
            for where, row in _rows(path, columns):
                for name in needed:
                    if name not in row:
                        raise ShopError(
                            f"{where} has no column {name!r}: it has {', '.join(row)}; name the right one in layout.toml"
                        )
                yield where, row


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object.

    Raises:
        ShopError: it does not.
    """
    with _damage_named(path):
        value = _whole(path)
    if not isinstance(value, dict):
        raise ShopError(f"{path} holds a {type(value).__name__}; wanted one JSON object, by id")
    return value


def text_of(value: Any) -> str:
    """A cell as text: null, NaN and empty are nothing."""
    if value is None or value != value:
        return ""
    return str(value).strip()


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What is found only while a file is read, as an error that names it."""
    try:
        yield
    except ShopError:
        raise
    except UNREADABLE_ROWS as error:
        line = first_line(error)
        raise ShopError(f"{path} cannot be read: {line}; download the file again") from None


def _rows(path: Path, columns: list[str]) -> Iterator[tuple[str, Row]]:
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending == ".parquet":
        yield from _parquet(path, columns)
    elif ending in LINE_FORMS:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path} line {number}", _object(parse_json(line), path, number)
    elif ending == ".json":
        value = _whole(path)
        if not isinstance(value, list):
            raise ShopError(f"{path} holds a {type(value).__name__}; wanted a list of rows")
        for number, row in enumerate(value, 1):
            yield f"{path} row {number}", _object(row, path, number)
    elif ending in DELIMITERS:
        csv.field_size_limit(sys.maxsize)  # a cell may hold a picture
        with _open(path) as file:
            for row in (reader := csv.DictReader(file, delimiter=DELIMITERS[ending])):
                if None in row or None in row.values():
                    names = reader.fieldnames or []
                    raise ShopError(
                        f"{path} line {reader.line_num} has not the {len(names)} columns {', '.join(names)} of its head"
                    )
                yield f"{path} line {reader.line_num}", row
    else:
        known = ", ".join((*LINE_FORMS, ".json", *DELIMITERS, ".parquet"))
        raise ShopError(f"{path} ends in {ending or 'nothing'}; readable are {known}")


def _parquet(path: Path, columns: list[str]) -> Iterator[tuple[str, Row]]:
    refuse_bombs(path, ShopError, columns)
    with pq.ParquetFile(path) as file:
        there = [name for name in columns if name in file.schema_arrow.names]
        if not there:  # the caller names the first that is missing
            yield f"{path} row 1", dict.fromkeys(file.schema_arrow.names)
            return
        missing = {name: None for name in file.schema_arrow.names if name not in columns}
        number = 0
        for batch in file.iter_batches(PARQUET_ROWS, columns=there):
            for row in batch.to_pylist():
                number += 1
                yield f"{path} row {number}", {**row, **missing} if number == 1 else row


def _object(value: Any, path: Path, number: int) -> Row:
    if not isinstance(value, dict):
        raise ShopError(f"{path} row {number} is a {type(value).__name__}; wanted an object")
    return value


def _whole(path: Path) -> Any:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise ShopError(
            f"{path} is one JSON value of over {MOST_JSON_BYTES:,} bytes; write it as .jsonl"
        )
    with _open(path) as file:
        text = file.read(MOST_JSON_BYTES + 1)
    if len(text) > MOST_JSON_BYTES:
        raise ShopError(f"{path} unpacks to over {MOST_JSON_BYTES:,} bytes; write it as .jsonl")
    return parse_json(text)


def _open(path: Path) -> IO[str]:
    refuse_packed_bomb(path, ShopError)
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
