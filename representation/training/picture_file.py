"""The encoded pictures of some rows of a shop, in a file of their own from which each is read when it is needed.

A shop's pictures are most of its bytes, and a training needs them in any order, which its Parquet files give only a row group at a time. So those that it needs are
copied once, a row group at a time, into a scratch file in the folder for temporary files (`TMPDIR`); memory holds where each lies. Notable choices:
- The file loses its name as soon as all who read it have opened it, so it is gone with the processes, however they end.
- The processes of one machine share one file, so each holds no copy of its own: the first of them writes.
"""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.shop import Shop
from representation.training.local_file import shared_file

NONE = -1


class PictureFile(Sequence[bytes | None]):
    """Encoded pictures by row, None where there is none; use `of`.

    Args:
        file: holds the pictures, one after the other in any order.
        starts, sizes: `(rows,)` int64, where each lies; a size of `NONE`: there is none.
    """

    def __init__(self, file: BinaryIO, starts: np.ndarray, sizes: np.ndarray) -> None:
        self._file, self._starts, self._sizes = file, starts, sizes
        weakref.finalize(self, file.close)

    @classmethod
    def of(cls, shop: Shop, table: str, ids: np.ndarray) -> "PictureFile":
        """The pictures of `ids` (rising) in `items` or `searches`. All processes call.

        Raises:
            EncoderError: no room for the file.
        """
        return cls.of_pieces(lambda: shop.pictures(table), ids, table)

    @classmethod
    def of_pieces(
        cls, pieces: Callable[[], Iterable[pl.DataFrame]], ids: np.ndarray, what: str
    ) -> "PictureFile":
        """The pictures of `ids` (rising) among pieces of two columns, key and picture; `what` they are of, for errors. All processes call.

        Raises:
            EncoderError: no room for the file.
        """
        file, (starts, sizes) = shared_file(lambda: _copy(pieces(), ids, what), "rb")
        return cls(file, starts, sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, row: int) -> bytes | None:  # type: ignore[override]
        size = int(self._sizes[row])
        if size == NONE:
            return None
        return os.pread(self._file.fileno(), size, int(self._starts[row]))


def _copy(
    pieces: Iterable[pl.DataFrame], ids: np.ndarray, what: str
) -> tuple[Path, tuple[np.ndarray, np.ndarray]]:
    """A file of the pictures, and where each lies."""
    starts, sizes = np.zeros(len(ids), np.int64), np.full(len(ids), NONE, np.int64)
    at = 0
    descriptor, name = tempfile.mkstemp(prefix="moon-rec-pictures-")
    try:
        with open(descriptor, "wb") as file:
            for piece in pieces:
                for key, data in piece.iter_rows():
                    row = int(np.searchsorted(ids, key))
                    if data is None or row == len(ids) or ids[row] != key:
                        continue
                    file.write(data)
                    starts[row], sizes[row] = at, len(data)
                    at += len(data)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise EncoderError(
                f"pictures of {what} cannot be copied to {name}: {error.strerror}; name a folder with more room in TMPDIR"
            ) from None
        raise
    return Path(name), (starts, sizes)
