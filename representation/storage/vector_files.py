"""Files that hold vectors made elsewhere: Parquet, CSV and TSV (`vector_tables`), npy, safetensors, read a chunk at a time.

Notable choices
- npy holds no ids and safetensors may: they come from a second file (npy, or a column of a table), row by row, or from a tensor `ids`.
  Of an npy file whose row n is that of id n, `ROWS` says so.
- Whole numbers (int8 from another store) mean nothing without the scale that made them: it must be given.
- Ids are given as they are written, numbers or texts: who opens the file reads them (`moon_rec.shop.own_ids`). No pickle is read, so no array of objects.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.errors import TableError, first_line
from moon_rec.shop.readers.interactions.files import is_delimited
from representation.storage.vector_columns import id_column as column_of_ids
from representation.storage.vector_columns import names_of
from representation.storage.vector_file import GivenIds, VectorFile
from representation.storage.vector_tables import DelimitedTable, ParquetTable, Table, TableVectors

CHUNK = 16_384
"""Rows read at once."""
ROWS = Path("rows")
"""In place of a file of ids: each row's number, from 0."""
SAFE_DTYPES = ("F64", "F32", "F16", "BF16", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64")


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
    if (table := _table(path)) is not None:
        return TableVectors(table, given, id_column, vector_columns, scale, CHUNK)
    if path.suffix == ".npy":
        return _Npy(path, given, scale, is_numbered=ids == ROWS)
    if path.suffix == ".safetensors":
        return _Safetensors(path, given, tensor, scale)
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


class _Npy(VectorFile):
    def __init__(
        self, path: Path, ids: GivenIds | None, scale: float | None, is_numbered: bool
    ) -> None:
        self._vectors = _load_npy(path)
        _check_matrix(path, self._vectors.shape)
        kind = self._vectors.dtype
        if kind.kind not in "fiu":
            raise TableError(f"{path}: vectors must be numbers, got {kind}; write them as float32")
        super().__init__(path, scale, kind.kind != "f", CHUNK)
        if is_numbered:
            ids = GivenIds(pl.Series("row", np.arange(len(self._vectors))), path)
        if ids is None:
            raise TableError(
                f"{path} holds no ids; give them with --ids, an npy or Parquet file, or `rows` where row n is that of id n"
            )
        self._take_ids(ids, len(self._vectors))
        self.dim, self.taken = self._vectors.shape[1], f"an array of {kind}"

    def _numbers(self) -> Iterator[np.ndarray]:
        is_wide = self._vectors.dtype == np.float64 and self._scale is None
        for start in range(0, len(self._vectors), self._chunk):
            part = np.asarray(self._vectors[start : start + self._chunk])
            yield part if is_wide else part.astype(np.float32)


class _Safetensors(VectorFile):
    def __init__(self, path: Path, ids: GivenIds | None, tensor: str, scale: float | None) -> None:
        from safetensors import SafetensorError, safe_open  # torch, for bfloat16

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
        self._shape = tuple(self._slice.get_shape())
        _check_matrix(path, self._shape)
        super().__init__(path, scale, self._slice.get_dtype()[0] in "IU", CHUNK)
        if ids is None:
            if "ids" not in names:
                raise TableError(
                    f"{path} has no tensor 'ids'; give the ids with --ids, an npy or Parquet file"
                )
            ids = GivenIds(_series(path, self._file.get_tensor("ids").numpy()), path)
        self._take_ids(ids, self._shape[0])
        left_out = [name for name in names if name not in (tensor, "ids")]
        self.dim = self._shape[1]
        self.taken = f"tensor {tensor}" + (f"; left out: {names_of(left_out)}" if left_out else "")

    def _numbers(self) -> Iterator[np.ndarray]:
        import torch

        for start in range(0, self._shape[0], self._chunk):
            part = self._slice[start : start + self._chunk]
            yield (part if part.dtype == torch.float64 else part.to(torch.float32)).numpy()


def _table(path: Path) -> Table | None:
    """A file of rows and columns by its ending; None of another."""
    if path.suffix == ".parquet":
        return ParquetTable(path)
    return DelimitedTable(path) if is_delimited(str(path)) else None


def _read_ids(path: Path, column: str | None) -> GivenIds:
    if not path.is_file():
        raise TableError(f"no file of ids at {path}")
    if path.suffix == ".npy":
        return GivenIds(_series(path, np.asarray(_load_npy(path))), path)
    table = _table(path)
    if table is None:
        raise TableError(f"ids at {path}: wanted .npy, .parquet, .csv or .tsv")
    name = column_of_ids(path, table.schema, column)
    return GivenIds(table.column(name), path, name, table.is_text)


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


def _check_matrix(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[1] == 0:
        raise TableError(
            f"{path}: vectors must be (rows, dim), got {tuple(shape)}; write a row for each id"
        )
