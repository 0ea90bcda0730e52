"""What every file of vectors made elsewhere gives, whatever its form, and the checks that all forms share."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.errors import TableError


@dataclass(frozen=True)
class GivenIds:
    """Ids `(rows,)` as they are written, their file, and the name of their column, empty where there is none.

    Attributes:
        are_text: whether they are texts for want of types (delimited text), whatever they say.
    """

    values: pl.Series
    path: Path
    key: str = ""
    are_text: bool = False


class VectorFile:
    """Vectors in a file, rows in the file's order.

    Attributes:
        dim: width of a vector.
        key: the column of the ids, empty where they have no name.
        ids_path: the file of the ids, for messages.
        ids_are_text: as of `GivenIds`.
        taken: what the vectors are, in words.
    """

    dim: int
    taken: str
    key: str
    ids_path: Path
    ids_are_text: bool

    def __init__(self, path: Path, scale: float | None, is_whole: bool, chunk: int) -> None:
        """
        Args:
            scale: what whole numbers are multiplied by.
            is_whole: whether the file holds whole numbers.
            chunk: rows read at once.

        Raises:
            TableError: whole numbers without a scale, or a scale that is none.
        """
        self._path, self._scale, self._chunk = path, scale, chunk
        self._ids: GivenIds | None = None
        if is_whole and scale is None:
            raise TableError(
                f"{path} holds whole numbers; give the --scale that turns them into the vectors' values"
            )
        if scale is not None and not (np.isfinite(scale) and scale > 0):
            raise TableError(f"scale is {scale}: wanted a number above 0")

    def written_ids(self) -> pl.Series:
        """`(rows,)` as they are written, of any type that ids can be read from or not."""
        assert self._ids is not None
        return self._ids.values

    def chunks(self) -> Iterator[np.ndarray]:
        """Float32 or float64 `(any, dim)`, all rows in order, NaN where there is nothing."""
        for vectors in self._numbers():
            yield vectors if self._scale is None else vectors * vectors.dtype.type(self._scale)

    def _numbers(self) -> Iterator[np.ndarray]:
        """As `chunks`, before the scale."""
        raise NotImplementedError

    def _take_ids(self, ids: GivenIds, rows: int) -> None:
        if len(ids.values) != rows:
            raise TableError(
                f"{self._path} has {rows:,} vectors and there are {len(ids.values):,} ids; give as many"
            )
        self._ids, self.key = ids, ids.key
        self.ids_path, self.ids_are_text = ids.path, ids.are_text
