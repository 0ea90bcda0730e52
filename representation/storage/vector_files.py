"""Files that hold vectors made elsewhere: Parquet, npy, safetensors, CSV and TSV (`delimited_vectors`), read a chunk at a time.

Notable choices
- Parquet: a column of ids, and either one column of lists (or arrays) of numbers or float columns with a running number; see `vector_columns`.
- npy holds no ids and safetensors may: they come from a second file (npy, or a Parquet column), row by row, or from a tensor `ids`.
  Of an npy file whose row n is that of id n, `ROWS` says so.
- A null vector, a null within one and a row of nulls read as NaN, so that the one check of what is brought sees them all.
- Whole numbers (int8 from another store) mean nothing without the scale that made them: it must be given.
- Ids are given as they are written, numbers or texts: who opens the file reads them (`moon_rec.shop.own_ids`). No pickle is read, so no array of objects.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from moon_rec.errors import TableError, first_line
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.readers.interactions.files import is_delimited
from representation.storage.delimited_vectors import DelimitedVectors, delimited_ids
from representation.storage.vector_columns import (
    element,
    id_column,
    is_list,
    names_of,
    told,
    vector_columns,
)

CHUNK = 16_384
"""Rows read at once."""
ROWS = Path("rows")
"""In place of a file of ids: each row's number, from 0."""
SAFE_DTYPES = ("F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")


class VectorFile(Protocol):
    """Vectors in a file, rows in the file's order.

    Attributes:
        dim: width of a vector.
        key: the column of the ids, empty where they have no name.
        ids_path: the file of the ids, for messages.
        taken: what the vectors are, in words.
        ids_are_text: whether ids are texts for want of types (delimited text), whatever they say.
    """

    dim: int
    key: str
    ids_path: Path
    taken: str
    ids_are_text: bool

    def written_ids(self) -> pl.Series:
        """`(rows,)` as they are written, of any type that ids can be read from or not."""
        ...

    def chunks(self) -> Iterator[np.ndarray]:
        """Float32 or float64 `(any, dim)`, all rows in order, NaN where there is nothing."""
        ...


def open_vectors(
    path: Path | str,
    *,
    ids: Path | str | None = None,
    id_column: str | None = None,
    vector_columns: Sequence[str] = (),
    tensor: str = "vectors",
    scale: float | None = None,
) -> VectorFile:
    """Open a file by its ending.

    Args:
        ids: a file of the rows' ids, npy, Parquet or delimited text; `ROWS`: the rows' numbers, of an npy file.
        id_column: the column of ids, of Parquet or delimited text; `item_id`, `search_id` or `id` where not given.
        vector_columns: the column of lists, or the columns of numbers, of Parquet or delimited text; found where there is no doubt.
        tensor: the name of the vectors in a safetensors file.
        scale: what whole numbers are multiplied by.

    Raises:
        TableError: no such file, one of another kind, or one in which ids or vectors are not found.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"no file of vectors at {path}")
    ids = None if ids is None else Path(ids)
    _check_options(path, ids, id_column, vector_columns, tensor)
    if ids == ROWS and path.suffix != ".npy":
        raise TableError(f"--ids rows: {path} is no npy file; name the file of its ids")
    given = None if ids in (None, ROWS) else _read_ids(ids, id_column)
    if path.suffix == ".parquet":
        return _Parquet(path, given, id_column, tuple(vector_columns), scale)
    if path.suffix == ".npy":
        return _Npy(path, given, scale, is_numbered=ids == ROWS)
    if path.suffix == ".safetensors":
        return _Safetensors(path, given, tensor, scale)
    if is_delimited(str(path)):
        return _Delimited(path, given, id_column, tuple(vector_columns), scale)
    raise TableError(
        f"{path} ends in {path.suffix!r}: wanted .parquet, .npy, .safetensors, .csv or .tsv, the last two packed with .gz or .zst or not"
    )


def _check_options(
    path: Path, ids: Path | None, id_column: str | None, columns: Sequence[str], tensor: str
) -> None:
    """Refuse what says nothing about files of these kinds."""
    has_columns = [one.suffix == ".parquet" or is_delimited(str(one)) for one in (path, ids) if one is not None]  # fmt: skip
    if id_column is not None and not any(has_columns):
        raise TableError(
            f"--id-column {id_column}: neither vectors nor ids are Parquet or delimited text; leave it out"
        )
    if columns and not has_columns[0]:
        raise TableError(
            f"--columns {names_of(columns)}: {path} is no Parquet file and no delimited text; leave it out"
        )
    if tensor != "vectors" and path.suffix != ".safetensors":
        raise TableError(f"--tensor {tensor}: {path} is no safetensors file; leave it out")


@dataclass(frozen=True)
class _Ids:
    """Ids `(rows,)` as they are written, their file, and the name of their column, empty where there is none."""

    values: pl.Series
    path: Path
    key: str = ""
    are_text: bool = False


class _Delimited(DelimitedVectors):
    """With ids of a file of their own, where they are given."""

    def __init__(
        self,
        path: Path,
        ids: _Ids | None,
        asked: str | None,
        columns: tuple[str, ...],
        scale: float | None,
    ) -> None:
        super().__init__(path, None if ids is None else ids.values, asked, columns, scale, CHUNK)
        _check_scale(path, self.is_whole, scale)
        if ids is not None:
            _as_many(path, ids.values, self.num_rows())
            self.key, self.ids_path, self.ids_are_text = ids.key, ids.path, ids.are_text


class _Parquet:
    def __init__(
        self,
        path: Path,
        ids: _Ids | None,
        asked: str | None,
        columns: tuple[str, ...],
        scale: float | None,
    ) -> None:
        self._path, self._given, self._scale = path, ids, scale
        self._file = _parquet_file(path)
        schema = self._file.schema_arrow
        self._id_column = None if ids is not None else id_column(path, schema, asked)
        own = self._id_column or (asked if asked in schema.names else None)
        self.key = ids.key if ids is not None else self._id_column or ""
        self.ids_path = ids.path if ids is not None else path
        self.ids_are_text = ids is not None and ids.are_text
        self._columns = vector_columns(path, schema, partial(_first_text, self._file), own, columns)
        self.taken = told(self._columns, schema, own)
        kind = schema.field(self._columns[0]).type
        self._is_list = is_list(kind)
        _check_scale(path, not pa.types.is_floating(element(kind)), scale)
        self.dim = self._first_length() if self._is_list else len(self._columns)

    def written_ids(self) -> pl.Series:
        if self._id_column is None:
            assert self._given is not None
            return _as_many(self._path, self._given.values, self._file.metadata.num_rows)
        return _id_values(self._path, self._id_column)

    def chunks(self) -> Iterator[np.ndarray]:
        row = 0
        for batch in self._batches():
            if self._is_list:
                vectors = self._of_lists(batch.column(0), row)
            else:
                columns = [_floats(batch.column(name)) for name in self._columns]
                vectors = np.stack(columns, axis=1)
            row += batch.num_rows
            yield vectors if self._scale is None else vectors * self._scale

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """A reader for each row group: one for all keeps memory for every row until its end (pyarrow 25)."""
        for group in range(self._file.num_row_groups):
            batches = self._file.iter_batches(CHUNK, [group], list(self._columns))
            while True:
                with _damage_named(self._path):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    batch.validate(full=True)
                yield batch

    def _of_lists(self, lists: pa.Array, row: int) -> np.ndarray:
        vectors = np.full((len(lists), self.dim), np.nan, dtype=np.float64)
        real = lists.is_valid().to_numpy(zero_copy_only=False)
        lengths = _lengths(lists.drop_null())
        if (lengths != self.dim).any():
            at = int(np.flatnonzero(lengths != self.dim)[0])
            where = row + int(np.flatnonzero(real)[at])
            raise TableError(
                f"{self._path} row {where}: a vector of {lengths[at]} numbers, the others have {self.dim}"
            )
        vectors[real] = _floats(lists.drop_null().flatten()).reshape(-1, self.dim)
        return vectors

    def _first_length(self) -> int:
        """Numbers in the first vector."""
        for batch in self._batches():
            lengths = _lengths(batch.column(0).drop_null())
            if len(lengths) and lengths[0]:
                return int(lengths[0])
        raise TableError(f"{self._path}: column {self._columns[0]!r} holds no vector")


class _Npy:
    def __init__(
        self, path: Path, ids: _Ids | None, scale: float | None, is_numbered: bool
    ) -> None:
        self._scale = scale
        self._vectors = _load_npy(path)
        _check_matrix(path, self._vectors.shape)
        _check_scale(path, _is_whole(path, self._vectors.dtype), scale)
        if is_numbered:
            ids = _Ids(pl.Series("row", np.arange(len(self._vectors))), path)
        if ids is None:
            raise TableError(
                f"{path} holds no ids; give them with --ids, an npy or Parquet file, or `rows` where row n is that of id n"
            )
        self._ids = _as_many(path, ids.values, len(self._vectors))
        self.dim, self.key, self.ids_path = self._vectors.shape[1], ids.key, ids.path
        self.ids_are_text = ids.are_text
        self.taken = f"an array of {self._vectors.dtype}"

    def written_ids(self) -> pl.Series:
        return self._ids

    def chunks(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._vectors), CHUNK):
            yield _scaled(np.asarray(self._vectors[start : start + CHUNK]), self._scale)


class _Safetensors:
    def __init__(self, path: Path, ids: _Ids | None, tensor: str, scale: float | None) -> None:
        from safetensors import SafetensorError, safe_open  # torch, for bfloat16

        self._path, self._tensor, self._scale = path, tensor, scale
        try:
            self._file = safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise TableError(f"{path} is no safetensors file: {error}") from None
        names = list(self._file.keys())
        if tensor not in names:
            raise TableError(f"{path} has no tensor {tensor!r}; it has {names_of(names)}: --tensor")
        for name in {tensor, *({"ids"} & {*names} if ids is None else ())}:
            dtype = self._file.get_slice(name).get_dtype()
            if dtype not in SAFE_DTYPES or (name == "ids" and dtype == "BF16"):
                raise TableError(
                    f"{path}: tensor {name!r} is {dtype}, wanted floats or whole numbers; write it so"
                )
        self._slice = self._file.get_slice(tensor)
        shape = tuple(self._slice.get_shape())
        _check_matrix(path, shape)
        _check_scale(path, self._slice.get_dtype()[0] in "IU", scale)
        if ids is None:
            if "ids" not in names:
                raise TableError(
                    f"{path} has no tensor 'ids'; give the ids with --ids, an npy or Parquet file"
                )
            ids = _Ids(_series(path, self._file.get_tensor("ids").numpy()), path)
        self._ids = _as_many(path, ids.values, shape[0])
        self.dim, self.key, self.ids_path = shape[1], ids.key, ids.path
        self.ids_are_text = ids.are_text
        left_out = [name for name in names if name not in (tensor, "ids")]
        self.taken = f"tensor {tensor}" + (f"; left out: {names_of(left_out)}" if left_out else "")

    def written_ids(self) -> pl.Series:
        return self._ids

    def chunks(self) -> Iterator[np.ndarray]:
        import torch

        for start in range(0, len(self._ids), CHUNK):
            part = self._slice[start : start + CHUNK]
            wide = part if part.dtype == torch.float64 else part.to(torch.float32)
            yield wide.numpy() if self._scale is None else wide.numpy() * np.float32(self._scale)


def _read_ids(path: Path, column: str | None) -> _Ids:
    if not path.is_file():
        raise TableError(f"no file of ids at {path}")
    if path.suffix == ".npy":
        return _Ids(_series(path, np.asarray(_load_npy(path))), path)
    if path.suffix == ".parquet":
        key = id_column(path, _parquet_file(path).schema_arrow, column)
        return _Ids(_id_values(path, key), path, key)
    if is_delimited(str(path)):
        values = delimited_ids(path, column)
        return _Ids(values, path, values.name, are_text=True)
    raise TableError(f"ids at {path}: wanted .npy, .parquet, .csv or .tsv")


def _id_values(path: Path, column: str) -> pl.Series:
    with _damage_named(path):
        table = pq.read_table(path, columns=[column])
        table.validate(full=True)
        values = pl.from_arrow(table.column(0))
    assert isinstance(values, pl.Series)
    return values.alias(column)


def _series(path: Path, values: np.ndarray) -> pl.Series:
    if values.ndim != 1:
        raise TableError(f"{path}: ids must have one dimension, got shape {values.shape}")
    if values.dtype.kind not in "iufbU":
        raise TableError(
            f"{path}: ids are {values.dtype}, wanted whole numbers or texts; write them so"
        )
    if values.dtype.kind == "U":
        return pl.Series("ids", values.tolist(), pl.String)
    return pl.Series("ids", values.astype(values.dtype.newbyteorder("="), copy=False))


def _as_many(path: Path, ids: pl.Series, rows: int) -> pl.Series:
    if len(ids) != rows:
        raise TableError(
            f"{path} has {rows:,} vectors and there are {len(ids):,} ids; give as many"
        )
    return ids


def _first_text(file: pq.ParquetFile, name: str) -> str | None:
    for batch in file.iter_batches(1024, columns=[name]):
        values = batch.column(0).drop_null()
        if len(values):
            return str(values[0].as_py())
    return None


def _parquet_file(path: Path) -> pq.ParquetFile:
    refuse_bombs(path, TableError)
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = first_line(error)
        raise TableError(f"{path} cannot be read as Parquet: {reason}") from None


def _load_npy(path: Path) -> np.ndarray:
    try:
        try:
            found = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError:
            if _numbers_of(path):
                raise
            # what has no bytes cannot be mapped
            found = np.load(path, allow_pickle=False)
    except (
        Exception
    ) as error:  # its header is read by Python's own parser, which has errors of many types
        reason = first_line(error)
        raise TableError(
            f"{path} cannot be read as an array of numbers: {reason}; write it with np.save, as float32"
        ) from None
    if not isinstance(found, np.ndarray):
        raise TableError(f"{path} is an archive of arrays (npz); write the one with np.save")
    return found


def _numbers_of(path: Path) -> int:
    """How many numbers an array has by its header; nothing else is read."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0  # fmt: skip
        return math.prod(read(file)[0])


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


def _lengths(lists: pa.Array) -> np.ndarray:
    return pc.call_function("list_value_length", [lists]).to_numpy(zero_copy_only=False)


def _floats(values: pa.Array) -> np.ndarray:
    return values.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _check_matrix(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] == 0:
        raise TableError(
            f"{path}: vectors must be (rows, dim), got {tuple(shape)}; write a row for each id"
        )


def _is_whole(path: Path, dtype: np.dtype) -> bool:
    if dtype.kind not in "fiu":
        raise TableError(f"{path}: vectors must be numbers, got {dtype}; write them as float32")
    return dtype.kind != "f"


def _check_scale(path: Path, is_whole: bool, scale: float | None) -> None:
    if is_whole and scale is None:
        raise TableError(
            f"{path} holds whole numbers; give the --scale that turns them into the vectors' values"
        )
    if scale is not None and not (np.isfinite(scale) and scale > 0):
        raise TableError(f"scale is {scale}: wanted a number above 0")


def _scaled(vectors: np.ndarray, scale: float | None) -> np.ndarray:
    if scale is not None:
        return vectors.astype(np.float32) * np.float32(scale)
    return vectors if vectors.dtype == np.float64 else vectors.astype(np.float32)
