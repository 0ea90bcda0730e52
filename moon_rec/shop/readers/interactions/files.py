"""Tables as their owners keep them: CSV, TSV, JSON lines, Parquet, Arrow, Lance or DuckDB, packed or not, one file or many.

Notable choices
- Everything is a polars LazyFrame, read as a stream. Of delimited text every column is text here, whatever it looks like: an
  id "00017" stays one, and what is a number or a time is decided by `typed.py`, value by value.
- A file's form is told by its name; the delimiter by the first line. A `.txt` or a file without ending is delimited text.
- Quotes are those of CSV. Where tabs delimit they are plain characters unless a field of the first lines is quoted whole:
  titles in publishers' TSV files begin with quotes that never end. Texts that are not UTF-8 are decoded in memory.
"""

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from moon_rec.errors import ShopError, first_line
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.readers.interactions.lines import (
    delimiter_of,
    fields_of,
    first_lines,
    is_number,
    ragged_line,
)
from moon_rec.shop.readers.interactions.parted import parted
from moon_rec.shop.readers.interactions.unpacking import PACKED, decoded
from moon_rec.values import shown

DELIMITED = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data", ".inter", ".item", ".user", "")
JSON_LINES = (".jsonl", ".ndjson", ".json")
ARROW = (".arrow", ".feather", ".ipc")
PARQUET = (".parquet", ".pq")
DUCKDB = (".duckdb", ".db")
ROWS_LOOKED_AT = 10_000
"""Of JSON lines, for the types of their columns."""
HEADER_MEND = (
    'name the columns in their order, such as --set log.names=["user","item","rating","time"]'
)


@dataclass(frozen=True)
class Source:
    """One table of the user's: its files and how they are read.

    Attributes:
        paths: the files, in the order in which their rows are read.
        frame: all rows.
        is_text: whether values are still text (delimited files).
        form: "CSV", "Parquet" ..., for messages.
        names: a header for files without one, empty where they have theirs.
        separator, encoding: as its owner says; None: as found, and UTF-8.
        rows: where lists are unfolded, the row of all files together that each row comes from.
    """

    paths: tuple[Path, ...]
    frame: pl.LazyFrame
    is_text: bool
    form: str
    delimiter: str = ""
    names: tuple[str, ...] = ()
    separator: str | None = None
    encoding: str | None = None
    rows: pl.LazyFrame | None = None

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """Names and types, in order."""
        return dict(self.frame.collect_schema())

    @property
    def name(self) -> str:
        """The file, or the first of them and how many, for messages."""
        others = f" (and {len(self.paths) - 1} more)" if len(self.paths) > 1 else ""
        return f"{next(iter(self.paths))}{others}"

    def collect(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """What a query over the rows gives, read as a stream.

        Raises:
            ShopError: rows that polars cannot read.
        """
        try:
            return frame.collect(engine="streaming")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise unreadable(self, error) from None

    def batches(self, frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
        """What a query over the rows gives, in their order, some `rows` at a time.

        Raises:
            ShopError: rows that polars cannot read.
        """
        try:
            yield from frame.collect_batches(chunk_size=rows, maintain_order=True)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise unreadable(self, error) from None

    def place(self, row: int) -> tuple[Path, int]:
        """The file of a row of all files together, and its row there, from 0."""
        if self.rows is not None:
            row = self.rows.slice(row, 1).collect().item()
        for path in self.paths[:-1]:
            opened = _open([path], self.names, self.separator, self.encoding)
            number = opened.frame.select(pl.len()).collect(engine="streaming").item()
            if row < number:
                return path, row
            row -= number
        return self.paths[-1], row


def open_source(
    paths: Sequence[str | Path],
    names: Sequence[str] = (),
    separator: str | None = None,
    encoding: str | None = None,
    header_mend: str = HEADER_MEND,
) -> Source:
    """Open a table.

    Args:
        paths: files of one form, or folders of such files (read in the order of their names). A table of a DuckDB file is named behind a
            colon: `logs.duckdb:clicks`.
        names: the columns of delimited files that have no header.
        separator: between their fields; None: as the first line has it.
        encoding: of their texts; None: UTF-8.
        header_mend: how to mend delimited text without a header.

    Raises:
        ShopError: no such file, no rows, forms that differ, columns that differ, no header, or a file that cannot be read.
    """
    found = [file for path in paths for file in _files(str(path))]
    if not found:
        raise ShopError("no file of a log is named: wanted one such as clicks.csv")
    try:
        source = _open(found, tuple(names), separator, encoding)
        columns = source.columns
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        pa.ArrowException,
        OSError,
    ) as error:
        raise ShopError(
            f"{found[0]} cannot be read: {first_line(error)}; write it again, or in another form"
        ) from None
    if not columns:
        raise ShopError(f"{found[0]} has no columns: name another file")
    if source.is_text and not names:
        _check_header(source, header_mend)
    return source


def unreadable(source: Source, error: BaseException) -> ShopError:
    """What to tell of rows that polars cannot read: of delimited text, the first line with another number of fields."""
    for path in source.paths if source.is_text and len(source.delimiter) == 1 else ():
        broken = ragged_line(path, source.delimiter, len(source.columns))
        if broken is not None:
            number, fields, text = broken
            return ShopError(
                f"{path}: line {number} has {fields} fields, the header has {len(source.columns)}: {shown(text)}; "
                "put fields with the delimiter in them into quotes, or take the line out"
            )
    return ShopError(
        f"{source.name} cannot be read as {source.form}: {first_line(error)}; write it again"
    )


def _files(name: str) -> Iterator[str]:
    path = Path(name)
    if path.is_dir() and path.suffix != ".lance":
        files = sorted(
            file
            for file in path.iterdir()
            if file.is_file() and not file.name.startswith((".", "_"))
        )
        if not files:
            raise ShopError(
                f"{path} is a folder without files: name a file, or a folder of files of one form"
            )
        yield from map(str, files)
        return
    if not path.exists() and not Path(_database(name)[0]).exists():
        raise ShopError(f"no file at {name}: name a file that is there")
    yield name


def _database(name: str) -> tuple[str, str]:
    """File and table of `logs.duckdb:clicks`."""
    file, colon, table = name.rpartition(":")
    return (file, table) if colon and Path(file).suffix in DUCKDB else (name, "")


def _form(name: str) -> tuple[str, bool]:
    """A file's ending that says its form, and whether it is packed."""
    path = Path(_database(name)[0])
    endings = [ending.lower() for ending in path.suffixes]
    packed = bool(endings) and endings[-1] in PACKED
    kept = endings[:-1] if packed else endings
    return (kept[-1] if kept else ""), packed


def _open(
    files: Sequence[str | Path],
    names: tuple[str, ...],
    separator: str | None = None,
    encoding: str | None = None,
) -> Source:
    texts = [str(file) for file in files]
    forms = {_form(text)[0] for text in texts}
    if len({_kind(form, texts[0]) for form in forms}) > 1:
        raise ShopError(
            f"{texts[0]} and others have the endings {', '.join(sorted(forms))}: give files of one form a table"
        )
    ending = _form(texts[0])[0]
    paths = tuple(Path(_database(text)[0]) for text in texts)
    kind = _kind(ending, texts[0])
    if kind == "delimited text":
        return _delimited(paths, names, separator, encoding)
    if names:
        raise ShopError(f"{texts[0]} has names of its own: leave out the names of its columns")
    for name, value in (("separator", separator), ("encoding", encoding)):
        if value is not None:
            raise ShopError(
                f"{name} = {value!r} changes nothing: {texts[0]} is {kind}; leave it out"
            )
    if kind == "JSON lines":
        frame = pl.scan_ndjson(list(paths), infer_schema_length=ROWS_LOOKED_AT)
    elif kind == "Arrow":
        frame = pl.concat([pl.scan_ipc(path) for path in paths])
    elif kind == "Parquet":
        for path in paths:
            refuse_bombs(path, ShopError)
        frame = pl.scan_parquet(list(paths))
    elif kind == "Lance":
        frame = _lance(paths[0])
    else:
        frame = _duckdb(*_database(texts[0]))
    return Source(paths, frame, is_text=False, form=kind)


def is_delimited(name: str) -> bool:
    """Whether a file's ending is one of delimited text, packed or not; a name without an ending says nothing."""
    ending = _form(name)[0]
    return bool(ending) and ending in DELIMITED


def _kind(ending: str, name: str) -> str:
    for kind, endings in {
        "delimited text": DELIMITED,
        "JSON lines": JSON_LINES,
        "Arrow": ARROW,
        "Parquet": PARQUET,
        "Lance": (".lance",),
        "DuckDB": DUCKDB,
    }.items():
        if ending in endings:
            return kind
    if ending.lstrip(".").isdigit():  # part-00000, log.2024
        return "delimited text"
    raise ShopError(
        f"{name}: the ending {ending!r} is not known; wanted .csv, .tsv, .jsonl, .parquet, .arrow, .lance or .duckdb, packed with .gz or .zst or not"
    )


def _delimited(
    paths: tuple[Path, ...], names: tuple[str, ...], separator: str | None, encoding: str | None
) -> Source:
    lines = first_lines(paths[0], encoding=encoding)
    if not lines:
        raise ShopError(f"{paths[0]} is empty: name a file with rows")
    delimiter = separator or delimiter_of(lines)
    for path in paths[1:]:
        other = first_lines(path, encoding=encoding)
        if not names and other and other[0] != lines[0]:
            raise ShopError(
                f"{path} begins with {shown(other[0])}, {paths[0]} with {shown(lines[0])}: files of one table have one header"
            )
    quoted = len(delimiter) == 1 and (
        delimiter != "\t"
        or any(
            len(field) > 1 and field[0] == field[-1] == '"'
            for line in lines
            for field in line.split("\t")
        )
    )
    header = fields_of(lines[0], delimiter, quoted)
    if names and len(header) != len(names):
        raise ShopError(
            f"{paths[0]} has {len(header)} columns, {len(names)} names are given: give each a name"
        )
    if len(delimiter) > 1:
        frame = parted(paths, delimiter, names or tuple(header), bool(names), encoding)
    else:
        frame = pl.scan_csv(
            list(paths) if encoding is None else [decoded(path, encoding) for path in paths],
            separator=delimiter,
            has_header=not names,
            new_columns=list(names) or None,
            infer_schema=False,
            quote_char='"' if quoted else None,
        )
    return Source(paths, frame, True, "CSV", delimiter, names, separator, encoding)


def _lance(path: Path) -> pl.LazyFrame:
    if importlib.util.find_spec("lance") is None:
        raise ShopError(
            f"{path}: reading Lance needs its package: pip install pylance, or write Parquet"
        )
    return pl.scan_lance(path)


def _duckdb(file: str, table: str) -> pl.LazyFrame:
    if importlib.util.find_spec("duckdb") is None:
        raise ShopError(
            f"{file}: reading DuckDB needs its package: pip install duckdb, or write Parquet"
        )
    import duckdb  # type: ignore[import-not-found]

    try:
        with contextlib.closing(duckdb.connect(file, read_only=True)) as base:
            tables = [name for (name, *_) in base.execute("show tables").fetchall()]
            chosen = table or (tables[0] if len(tables) == 1 else "")
            if chosen not in tables:
                raise ShopError(
                    f"{file} holds the tables {', '.join(tables)}: name one behind a colon, such as {file}:{tables[0] if tables else 'clicks'}"
                )
            return base.table(chosen).pl().lazy()
    except duckdb.Error as error:
        raise ShopError(f"{file} cannot be read as DuckDB: {first_line(error)}") from None


def _check_header(source: Source, mend: str) -> None:
    """Refuse a first line of values: it would be lost as a header."""
    names = list(source.columns)
    numbers = [name for name in names if is_number(name)]
    if len(numbers) * 2 >= len(names):
        raise ShopError(
            f"{source.paths[0]}: the first line ({shown(', '.join(names))}) looks like values, not names: {mend}"
        )
