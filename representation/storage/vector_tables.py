"""Vectors in columns of a table: Parquet, and delimited text by the rules of the log importer (`moon_rec.shop.readers.interactions.files`), a chunk at a time.

Notable choices
- A column of ids, and either one column of lists (or arrays) of numbers or columns with a running number; see `vector_columns`. In delimited text a list is
  text (`[0.1, 0.2]`, `0.1 0.2`, `0.1;0.2`).
- A null vector, a null within one and a row of nulls read as NaN, so that the one check of what is brought sees them all.
- Every field of delimited text is text, ids too: "00017" stays one where the shop keeps the user's own ids. A number is what the importer takes for one; its
  words for nothing (an empty field, NA, null, NaN) are a missing number.
- Numbers without a decimal point in all of the first rows of delimited text are whole numbers, and need the scale that made them, as in every form.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import ShopError, TableError, first_line
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.readers.interactions.files import Source, open_source
from moon_rec.shop.readers.interactions.typed import NOTHING, value_reading
from moon_rec.values import first_broken, shown
from representation.storage.vector_columns import (
    VECTOR_TEXT,
    element,
    id_column,
    is_list,
    told,
    vector_columns,
)
from representation.storage.vector_file import GivenIds, VectorFile

ROWS_LOOKED_AT = 1_000
"""Of delimited text: for what a column holds, and whether its numbers are whole."""
WHOLE = r"^[-+]?\d+$"
HEADER = "give the columns names, such as item_id,v0,v1,v2"


class TableVectors(VectorFile):
    """The vectors of a table.

    Args:
        ids: of the rows, where another file has them.
        asked: the column of ids; found by its name where it is not given.
        columns: those of the vectors; found where there is no doubt.

    Raises:
        TableError: a table in which ids or vectors are not found.
    """

    def __init__(
        self,
        table: "Table",
        ids: GivenIds | None,
        asked: str | None,
        columns: Sequence[str],
        scale: float | None,
        chunk: int,
    ) -> None:
        path, schema = table.path, table.schema
        self._table = table
        self._own = None if ids is not None else id_column(path, schema, asked)
        own = self._own or (asked if asked in schema.names else None)
        self._columns = vector_columns(path, schema, table.first_text, own, columns)
        self.taken = told(self._columns, schema, own)
        super().__init__(path, scale, table.is_whole(self._columns), chunk)
        self._is_list = is_list(schema.field(self._columns[0]).type)
        self.dim = self._first_length() if self._is_list else len(self._columns)
        if ids is not None:
            self._take_ids(ids, table.num_rows())
        else:
            self.key, self.ids_path, self.ids_are_text = str(self._own), path, table.is_text

    def written_ids(self) -> pl.Series:
        return super().written_ids() if self._own is None else self._table.column(self._own)

    def _numbers(self) -> Iterator[np.ndarray]:
        row = 0
        for frame in self._table.batches(self._columns, self._chunk):
            if self._is_list:
                yield self._of_lists(frame.to_series(), row)
            else:
                yield _floats(frame).to_numpy(order="c")
            row += frame.height

    def _of_lists(self, lists: pl.Series, row: int) -> np.ndarray:
        is_known = lists.is_not_null()
        known = lists.drop_nulls()
        unlike = (known.list.len() != self.dim).arg_true()
        if unlike.len():
            length, place = known[unlike[0]].len(), is_known.arg_true()[unlike[0]]
            raise TableError(
                f"{self._path} row {row + place}: a vector of {length} numbers, the others have {self.dim}; write each vector whole"
            )
        vectors = np.full((lists.len(), self.dim), np.nan)
        if known.len():
            numbers = _floats(known.explode().to_frame())
            vectors[is_known.to_numpy()] = numbers.to_numpy().reshape(-1, self.dim)
        return vectors

    def _first_length(self) -> int:
        """Numbers in the first vector."""
        for frame in self._table.batches(self._columns, self._chunk):
            lengths = frame.to_series().list.len().drop_nulls()
            if lengths.len() and lengths.max():
                return int(lengths.filter(lengths > 0)[0])
        raise TableError(f"{self._path}: column {self._columns[0]!r} holds no vector")


class ParquetTable:
    """A Parquet file."""

    is_text = False

    def __init__(self, path: Path) -> None:
        """
        Raises:
            TableError: it is none, or would decode to far more than it holds.
        """
        refuse_bombs(path, TableError)
        self.path = path
        with _damage_named(path):
            self._file = pq.ParquetFile(path)
            self.schema = self._file.schema_arrow

    def num_rows(self) -> int:
        """Rows with anything in them."""
        return self._file.metadata.num_rows

    def column(self, name: str) -> pl.Series:
        """A column as it is written."""
        with _damage_named(self.path):
            table = pq.read_table(self.path, columns=[name])
            table.validate(full=True)
            values = pl.from_arrow(table.column(0))
        assert isinstance(values, pl.Series)
        return values.alias(name)

    def first_text(self, name: str) -> str | None:
        """The first text of a column; None where there is none."""
        for batch in self._file.iter_batches(1024, columns=[name]):
            values = batch.column(0).drop_null()
            if len(values):
                return str(values[0].as_py())
        return None

    def is_whole(self, columns: Sequence[str]) -> bool:
        """Whether the vectors of these columns are whole numbers."""
        return not pa.types.is_floating(element(self.schema.field(columns[0]).type))

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        """All rows of these columns, in order, some `rows` at a time, as numbers or lists of numbers."""
        # a reader for each row group: one for all keeps memory for every row until its end (pyarrow 25)
        for group in range(self._file.num_row_groups):
            batches = self._file.iter_batches(rows, [group], list(columns))
            while True:
                with _damage_named(self.path):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    batch.validate(full=True)
                    frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                frame = frame.select(columns)
                kind = frame.dtypes[0]
                yield frame.cast(pl.List(kind.inner)) if isinstance(kind, pl.Array) else frame


class DelimitedTable:
    """Delimited text; blank lines are no rows."""

    is_text = True

    def __init__(self, path: Path) -> None:
        """
        Raises:
            TableError: no rows, no header, no text, or rows of unlike fields among the first.
        """
        self.path = path
        with _as_table_errors():
            self._source: Source = open_source([path], header_mend=HEADER)
        self._rows = self._source.frame.filter(~pl.all_horizontal(pl.all().is_null()))
        self._head = self._collected(self._rows.head(ROWS_LOOKED_AT))
        self.schema = pa.schema([(one.name, _kind(one)) for one in self._head])

    def num_rows(self) -> int:
        return int(self._collected(self._rows.select(pl.len())).item())

    def column(self, name: str) -> pl.Series:
        return self._collected(self._rows.select(name)).to_series()

    def first_text(self, name: str) -> str | None:
        return next(iter(self._head[name].drop_nulls()), None)

    def is_whole(self, columns: Sequence[str]) -> bool:
        parts = [self._head.select(_parts(name)).to_series() for name in columns]
        return all(bool(one.explode().drop_nulls().str.contains(WHOLE).all()) for one in parts)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pl.DataFrame]:
        read = self._lists if is_list(self.schema.field(columns[0]).type) else self._columns
        row = 0
        with _as_table_errors():
            for batch in self._source.batches(self._rows.select(columns), rows):
                yield read(batch, row)
                row += batch.height

    def _columns(self, batch: pl.DataFrame, row: int) -> pl.DataFrame:
        return batch.select(self._number(batch, name, row) for name in batch.columns)

    def _lists(self, batch: pl.DataFrame, row: int) -> pl.DataFrame:
        (name,) = batch.columns
        parts = batch.with_row_index("row", offset=row).select("row", _parts(name).alias(name))
        flat = parts.drop_nulls(name).explode(name)
        self._number(flat, name, None)
        return parts.select(pl.col(name).list.eval(_nothing(pl.element()).cast(pl.Float64)))

    def _number(self, texts: pl.DataFrame, name: str, row: int | None) -> pl.Expr:
        """How a column of numbers is read, its first broken text refused; `row` is the first one's, None where a column says each."""
        how = value_reading(name, pl.String(), pl.Float64())
        for rule in how.broken:
            place, value, count = first_broken(texts, rule)
            if count:
                where = texts["row"][place] if row is None else row + place
                raise TableError(
                    f"{self.path}: {name} row {where}: {shown(value)} {rule.rule}; {rule.mend_of(value)}"
                )
        assert how.value is not None
        return how.value.alias(name)

    def _collected(self, frame: pl.LazyFrame) -> pl.DataFrame:
        with _as_table_errors():
            return self._source.collect(frame)


Table = ParquetTable | DelimitedTable
"""A file of rows and columns."""


def _floats(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.cast(pl.Float64).fill_null(float("nan"))


def _kind(texts: pl.Series) -> pa.DataType:
    """What a column of texts holds, by its first value: numbers, lists of numbers, else text."""
    known = texts.drop_nulls().str.strip_chars()
    first = next((one for one in known if one not in NOTHING), None)
    if first is None:
        return pa.string()
    if pl.Series([first]).cast(pl.Float64, strict=False)[0] is not None:
        return pa.float64()
    return pa.list_(pa.float64()) if VECTOR_TEXT.fullmatch(first) else pa.string()


def _parts(name: str) -> pl.Expr:
    """The numbers of a vector written as text, as texts; null where there is none."""
    text = pl.col(name).str.strip_chars(" \t\r\n[](){}").str.replace_all(r"\s*[,;]\s*|\s+", " ")
    return _nothing(text).str.split(" ")


def _nothing(text: pl.Expr) -> pl.Expr:
    """The text; null where it is a word for nothing."""
    return pl.when(~text.is_in(NOTHING)).then(text)


@contextlib.contextmanager
def _as_table_errors() -> Iterator[None]:
    try:
        yield
    except ShopError as error:
        raise TableError(str(error)) from None


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What pyarrow finds damaged only while it reads, as an error of ours."""
    try:
        yield
    except UNREADABLE as error:
        if isinstance(error, TableError):
            raise
        raise TableError(
            f"{path} cannot be read as Parquet: {first_line(error)}; write it again"
        ) from None
