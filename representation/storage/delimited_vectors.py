"""Vectors in delimited text (CSV, TSV; packed or not), read by the rules of the log importer (`moon_rec.shop.readers.interactions.files`), a chunk at a time.

Notable choices
- A vector is a column of lists as text (`[0.1, 0.2]`, `0.1 0.2`, `0.1;0.2`) or columns with a running number (`v0 ... v63`); which, is found or asked for as in Parquet.
- Every field is text, ids too: "00017" stays one where the shop keeps the user's own ids. A number is what the importer takes for one; its words for nothing
  (an empty field, NA, null, NaN) are a missing number, which the check of what is brought sees in its row.
- Numbers without a decimal point in all of the first rows are whole numbers, and need the scale that made them, as in every form.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from moon_rec.errors import ShopError, TableError
from moon_rec.shop.readers.interactions.files import Source, open_source
from moon_rec.shop.readers.interactions.typed import NOTHING, value_reading
from moon_rec.values import Reading, first_broken, shown
from representation.storage.vector_columns import (
    VECTOR_TEXT,
    id_column,
    is_list,
    told,
    vector_columns,
)

ROWS_LOOKED_AT = 1_000
"""For what a column holds, and whether its numbers are whole."""
WHOLE = r"^[-+]?\d+$"
HEADER = "give the columns names, such as item_id,v0,v1,v2"


def open_delimited(path: Path) -> Source:
    """A file of delimited text.

    Raises:
        TableError: no rows, no header, no text, or rows of unlike fields among the first.
    """
    try:
        return open_source([path], header_mend=HEADER)
    except ShopError as error:
        raise TableError(str(error)) from None


def delimited_ids(path: Path, asked: str | None) -> pl.Series:
    """The column of ids of a file of delimited text, as it is written."""
    source = open_delimited(path)
    name = id_column(path, _schema(_head(source)), asked)
    return _collected(source, _rows(source).select(name)).to_series()


class DelimitedVectors:
    """The vectors of a file of delimited text (`VectorFile`).

    Args:
        ids: of the rows, where another file has them.
        asked: the column of ids; found by its name where it is not given.
        columns: those of the vectors; found where there is no doubt.
        scale: what whole numbers are multiplied by.

    Raises:
        TableError: a file that cannot be read, or in which ids or vectors are not found.
    """

    def __init__(
        self,
        path: Path,
        given: pl.Series | None,
        asked: str | None,
        columns: Sequence[str],
        scale: float | None,
        chunk: int,
    ):
        self._path, self._given, self._scale, self._chunk = path, given, scale, chunk
        self._source = open_delimited(path)
        head = _head(self._source)
        schema = _schema(head)
        self._ids = None if given is not None else id_column(path, schema, asked)
        own = self._ids or (asked if asked in schema.names else None)
        self.key, self.ids_path, self.ids_are_text = self._ids or "", path, True

        def first_text(name: str) -> str | None:
            return next(iter(head[name].drop_nulls()), None)

        self._columns = vector_columns(path, schema, first_text, own, columns)
        self.taken = told(self._columns, schema, own)
        self._is_list = is_list(schema.field(self._columns[0]).type)
        self.is_whole = all(_is_whole(head[name]) for name in self._columns)
        self.dim = self._first_length(head) if self._is_list else len(self._columns)

    def written_ids(self) -> pl.Series:
        """As texts."""
        if self._given is not None:
            return self._given
        assert self._ids is not None
        return _collected(self._source, _rows(self._source).select(self._ids)).to_series()

    def num_rows(self) -> int:
        """Rows of the file, blank lines left aside."""
        return int(_collected(self._source, _rows(self._source).select(pl.len())).item())

    def chunks(self) -> Iterator[np.ndarray]:
        """Float64 `(any, dim)`, NaN where there is nothing."""
        frame, row = _rows(self._source).select(self._columns), 0
        try:
            for batch in self._source.batches(frame, self._chunk):
                vectors = self._of_lists(batch, row) if self._is_list else self._of_columns(batch, row)  # fmt: skip
                row += batch.height
                yield vectors if self._scale is None else vectors * self._scale
        except ShopError as error:
            raise TableError(str(error)) from None

    def _of_columns(self, batch: pl.DataFrame, row: int) -> np.ndarray:
        how = {name: value_reading(name, pl.String(), pl.Float64()) for name in self._columns}
        for one in how.values():
            self._refuse(batch, one, row)
        values = batch.select(one.value.alias(name) for name, one in how.items() if one.value is not None)  # fmt: skip
        return values.fill_null(float("nan")).to_numpy()

    def _of_lists(self, batch: pl.DataFrame, row: int) -> np.ndarray:
        (name,) = self._columns
        parts = batch.with_row_index("row").select("row", part=_parts(name))
        known = parts.filter(pl.col("part").is_not_null())
        lengths = known["part"].list.len()
        if (unlike := (lengths != self.dim).arg_true()).len():
            where = row + known["row"][unlike[0]]
            raise TableError(
                f"{self._path} row {where}: a vector of {lengths[unlike[0]]} numbers, the others have {self.dim}; write each vector whole"
            )
        flat = known.explode("part").rename({"part": name})
        how = value_reading(name, pl.String(), pl.Float64())
        for rule in how.broken:
            place, value, _ = first_broken(flat, rule)
            if value is not None:
                where = row + flat["row"][place]
                raise TableError(f"{self._path}: {name} row {where}: {shown(value)} {rule.rule}; {rule.mend_of(value)}")  # fmt: skip
        assert how.value is not None
        vectors = np.full((batch.height, self.dim), np.nan)
        numbers = flat.select(how.value.fill_null(float("nan"))).to_series().to_numpy()
        vectors[known["row"].to_numpy()] = numbers.reshape(-1, self.dim)
        return vectors

    def _refuse(self, batch: pl.DataFrame, how: Reading, row: int) -> None:
        for rule in how.broken:
            place, value, count = first_broken(batch, rule)
            if count:
                name = rule.value.meta.output_name()
                raise TableError(f"{self._path}: {name} row {row + place}: {shown(value)} {rule.rule}; {rule.mend_of(value)}")  # fmt: skip

    def _first_length(self, head: pl.DataFrame) -> int:
        lengths = head.select(_parts(self._columns[0]).list.len()).to_series().drop_nulls()
        if not lengths.len():
            raise TableError(f"{self._path}: column {self._columns[0]!r} holds no vector")
        return int(lengths[0])


def _rows(source: Source) -> pl.LazyFrame:
    """All rows but blank lines."""
    return source.frame.filter(~pl.all_horizontal(pl.all().is_null()))


def _collected(source: Source, frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return source.collect(frame)
    except ShopError as error:
        raise TableError(str(error)) from None


def _head(source: Source) -> pl.DataFrame:
    return _collected(source, _rows(source).head(ROWS_LOOKED_AT))


def _schema(head: pl.DataFrame) -> pa.Schema:
    """What each column holds, by its first value: numbers, lists of numbers, else text."""
    return pa.schema([(name, _kind(head[name])) for name in head.columns])


def _kind(texts: pl.Series) -> pa.DataType:
    known = texts.drop_nulls().str.strip_chars()
    first = next((one for one in known if one not in NOTHING), None)
    if first is None:
        return pa.string()
    if pl.Series([first]).cast(pl.Float64, strict=False)[0] is not None:
        return pa.float64()
    return pa.list_(pa.float64()) if VECTOR_TEXT.fullmatch(first) else pa.string()


def _is_whole(texts: pl.Series) -> bool:
    parts = texts.to_frame().select(_parts(texts.name)).to_series().explode().drop_nulls()
    return bool(parts.str.contains(WHOLE).all())


def _parts(name: str) -> pl.Expr:
    """The numbers of a vector written as text, as texts; null where there is none."""
    text = pl.col(name).str.strip_chars(" \t\r\n[](){}").str.replace_all(r"\s*[,;]\s*|\s+", " ")
    return pl.when(~text.is_in(NOTHING)).then(text.str.split(" "))
