"""What a Parquet file decodes to, bounded before it is decoded: a few kilobytes may say a thousand million rows, or one long text in each of them.

Notable choices
- A file may decode to `FREE_BYTES` whatever its size; beyond that to `MOST_TIMES` its own bytes. Tables of real shops decode to some three to twenty times theirs.
- Rows and declared bytes are in the footer, which is all that is read of most files. A dictionary is not counted there: each row may name its longest entry.
  Where that could matter, texts and pictures are read once as dictionary and places, which costs their own size, and counted.
- A page that lies about its size is bounded by the format itself: 2 GiB, by a signed number of 32 bits.
"""

from collections.abc import Sequence
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
                    suspects.append((group, name, chunk.num_values * chunk.total_uncompressed_size))
        if found > most or about.num_rows > max(in_groups, 0):
            return f"{size:,} bytes would be {about.num_rows:,} rows of {found:,} bytes"
        if deep and sum(could_be for _, _, could_be in suspects) > most:
            found += _in_dictionaries(path, suspects, most)
        if found > most:
            return f"{size:,} bytes would be texts of more than {most:,} bytes"
    return ""


def _in_dictionaries(path: Path, suspects: list[tuple[int, str, int]], most: int) -> int:
    """Bytes of the named chunks, decoded; stops counting beyond `most`."""
    names = sorted({name for _, name, _ in suspects})
    found = 0
    with pq.ParquetFile(path, read_dictionary=names) as file:
        for group, name, _ in suspects:
            for batch in file.iter_batches(_ROWS, [group], [name]):
                found += sum(_decoded(column, most) for column in batch.columns)
                if found > most:
                    return found
    return found


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
