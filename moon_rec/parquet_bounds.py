"""What a Parquet file decodes to, bounded before it is decoded: a few kilobytes may say a thousand million rows, or one long text in each of them.

Notable choices
- A file may decode to `FREE_BYTES` whatever its size; beyond that to `MOST_TIMES` its own bytes. Tables of real shops decode to some three to twenty times theirs.
- Rows and declared bytes are in the footer, which is all that is read of most files. A dictionary is not counted there: each row may name its longest entry,
  which is no longer than the dictionary's page, whose header says its bytes. Where that could still matter, texts and pictures are read once and counted, in
  memory of `_SMALL_BYTES` or of their dictionary.
- A page that lies about its size is bounded by the format itself: 2 GiB, by a signed number of 32 bits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moon_rec.errors import MoonRecError, first_line

FREE_BYTES = 1 << 30
MOST_TIMES = 1_000
MOST_COLUMNS = 100_000
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}
_ROWS = 65_536
_SMALL_BYTES = 1 << 26
_BUFFER_BYTES = 1 << 20
_HEADER_BYTES = 24
_NEXT_INTEGER = 0x15
"""Of Thrift's compact form: the next field, and it is a whole number of 32 bits."""
_DICTIONARY_PAGE = 2


@dataclass(frozen=True)
class _Suspect:
    """A chunk of texts or pictures with a dictionary: its rows' values, its own bytes, and the bytes that no entry of the dictionary is longer than."""

    group: int
    name: str
    values: int
    whole: int
    longest: int

    @property
    def could_be(self) -> int:
        return self.values * self.longest


def refuse_bombs(
    path: Path, error: type[MoonRecError] = MoonRecError, columns: Sequence[str] | None = None
) -> None:
    """Raise `error` where a Parquet file would decode to far more than it holds, or cannot be opened.

    Args:
        columns: the ones that will be read; None: all.
    """
    try:
        reason = bomb(path, columns)
    except Exception as fault:  # pyarrow has errors of many types for damaged footers
        raise error(
            f"{path} cannot be read as Parquet: {first_line(fault)}; write it again"
        ) from None
    if reason:
        raise error(f"{path}: {reason}; write it again, or take it from whoever made it")


def bomb(path: Path, columns: Sequence[str] | None = None, deep: bool = True) -> str:
    """Why a file would decode to far more than it holds; empty where it would not.

    Args:
        deep: count entries of dictionaries, too, where they could matter.
    """
    size = path.stat().st_size
    most = max(FREE_BYTES, MOST_TIMES * size)
    with pq.ParquetFile(path) as file:
        about = file.metadata
        if about.num_columns > MOST_COLUMNS:
            return (
                f"its footer says {about.num_columns:,} columns, at most {MOST_COLUMNS:,} are read"
            )
        found, in_groups, suspects = 0, 0, []
        for group in range(about.num_row_groups):
            rows = about.row_group(group)
            in_groups += rows.num_rows
            for number in range(rows.num_columns):
                chunk = rows.column(number)
                name = chunk.path_in_schema
                if columns is not None and name.split(".")[0] not in columns:
                    continue
                if min(rows.num_rows, chunk.num_values, chunk.total_uncompressed_size) < 0:
                    return f"its footer says fewer than no rows or bytes of column {name}"
                width = _WIDTHS.get(chunk.physical_type, 8)
                found += max(chunk.num_values * width, chunk.total_uncompressed_size)
                has_dictionary = any("DICTIONARY" in how for how in chunk.encodings)
                if chunk.physical_type.endswith("BYTE_ARRAY") and has_dictionary:
                    longest = _dictionary_bytes(path, chunk)
                    whole = chunk.total_uncompressed_size
                    suspects.append(_Suspect(group, name, chunk.num_values, whole, longest))
        if found > most or about.num_rows > max(in_groups, 0):
            return f"{size:,} bytes would be {about.num_rows:,} rows of {found:,} bytes"
        if deep and sum(one.could_be for one in suspects) > most:
            found += _in_dictionaries(path, suspects, most)
        if found > most:
            return f"{size:,} bytes would be texts of more than {most:,} bytes"
    return ""


def _dictionary_bytes(path: Path, chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes of a chunk's dictionary once unpacked, by its page's header; of the whole chunk where that cannot be read.

    The header is Thrift's compact form: a byte of type and number before each field, whole numbers as zigzag varints; the first two are the page's kind and
    its unpacked size (parquet.thrift, `PageHeader`). No page unpacks to more than it says: readers refuse it.
    """
    whole = chunk.total_uncompressed_size
    if not chunk.has_dictionary_page or chunk.dictionary_page_offset is None:
        return whole
    with open(path, "rb") as file:
        file.seek(chunk.dictionary_page_offset)
        header = file.read(_HEADER_BYTES)
    kind, after = _field(header, 0)
    size, _ = _field(header, after)
    return size if kind == _DICTIONARY_PAGE and size is not None and 0 <= size <= whole else whole


def _field(header: bytes, place: int) -> tuple[int | None, int]:
    """The whole number of 32 bits in the next field of a Thrift structure, and the place behind it; None where there is another field."""
    if place >= len(header) or header[place] != _NEXT_INTEGER:
        return None, place
    value, shift = 0, 0
    for last in range(place + 1, len(header)):
        value |= (header[last] & 0x7F) << shift
        shift += 7
        if header[last] < 0x80:
            return (value >> 1) ^ -(value & 1), last + 1
    return None, place


def _in_dictionaries(path: Path, suspects: Sequence[_Suspect], most: int) -> int:
    """Bytes of the chunks, decoded; stops counting beyond `most`."""
    found = 0
    for one in suspects:
        for batch in _batches(path, one):
            found += sum(_decoded(column, most) for column in batch.columns)
            if found > most:
                return found
    return found


def _batches(path: Path, one: _Suspect) -> Iterator[pa.RecordBatch]:
    """A chunk's rows, a few at a time: as dictionary and places where all of that is small, else as they are, as many as surely fit.

    PyArrow keeps what a chunk holds beside its dictionary in memory, too, when it reads it as one: of pictures that is all of them. A list of any length may stand
    in one row, so nested columns are read as dictionaries whatever their size.
    """
    if one.whole <= _SMALL_BYTES or "." in one.name:
        with pq.ParquetFile(path, read_dictionary=[one.name]) as file:
            yield from file.iter_batches(_ROWS, [one.group], [one.name])
        return
    rows = max(_SMALL_BYTES // max(one.longest, 1), 1)
    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        yield from file.iter_batches(min(rows, _ROWS), [one.group], [one.name])


def _decoded(column: pa.Array, most: int) -> int:
    """Bytes of the texts in a column of any nesting."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.call_function("binary_length", [column.dictionary]).cast(pa.int64())
        return pc.call_function("sum", [lengths.take(column.indices)]).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(_decoded(one, most) for one in column.flatten())
    if pa.types.is_nested(kind):
        return _decoded(column.flatten(), most)
    return column.nbytes
