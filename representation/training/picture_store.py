"""Pictures of a table's rows, decoded once to one square size and kept as uint8.

Notable choices:
- Up to `MOST_BYTES_KEPT` they are kept in memory, where only rows that were asked for are ever touched; beyond that in a scratch file, which is mapped: the
  system keeps in memory what there is room for. The file lies in the folder for temporary files (`TMPDIR`) and has no name there, so it is gone with the process,
  however that ends. Where it would pass `scratch_bytes`, or the disk is full, pictures are decoded anew each time, and it is said.
- The processes of one machine share a scratch file, whatever its size: each picture is decoded by one of them, and lies in memory once.
- A process that makes many stores of the same pictures, as a study's does, decodes each once: `share_squares`.
- `decode_ahead` uses all cores: decoders let other threads of Python run.
- For a GPU (`take_to`) bytes are gathered into pinned memory and travel while the last step runs; what is made of them is made there.
"""

import hashlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from moon_rec.errors import EncoderError
from moon_rec.progress import progress, say
from moon_rec.shop.pictures import decode
from representation.core_region.box import Box
from representation.core_region.crops import CoreRegion, cut_at
from representation.model.pixels import square
from representation.trainable import Cut
from representation.training.distributed import wait, world_size
from representation.training.local_file import local_rank, local_size, shared_file

MOST_BYTES_KEPT = 1 << 30
MOST_SCRATCH_BYTES = 64 << 30
ROWS_AT_ONCE = 64
MOST_SHARED_BYTES = 1 << 28
_shared: dict[tuple[bytes, int], np.ndarray] = {}
"""Squares by a digest of the file's bytes, and their size."""
_shared_room = 0
"""How many more bytes may be shared."""


def share_squares(most_bytes: int = MOST_SHARED_BYTES) -> None:
    """Let the stores of this process share what they make squares of from now on, up to so many bytes; what came first stays."""
    global _shared_room
    _shared_room = max(most_bytes - sum(one.nbytes for one in _shared.values()), 0)


class PictureStore:
    """Encoded pictures by row, decoded to one square size."""

    def __init__(
        self,
        pictures: Sequence[bytes | None],
        names: Sequence[str],
        image_size: int,
        keep: bool = True,
        scratch_bytes: int = MOST_SCRATCH_BYTES,
        cut: Cut = square,
        boxes: Sequence[Box | None] | None = None,
    ) -> None:
        """
        Args:
            pictures: a JPEG or PNG file's bytes, or None, for each row.
            names: what an error calls each row's picture.
            keep: keep what was decoded; False for a single pass.
            scratch_bytes: most bytes that a scratch file may take; 0: none is made. Several processes must all make a store that keeps.
            cut: makes the square of a picture, or, as `CoreRegion`, the picture's and its core region's.
            boxes: where the product is on each row's picture, as far as known; read by a `CoreRegion` alone.
        """
        self._pictures, self._names, self._size = pictures, names, image_size
        self._cut, self._boxes = cut, boxes
        self._is_kept = np.zeros(len(pictures), dtype=bool)
        squares = (2,) if isinstance(cut, CoreRegion) else ()
        self._shape = (*squares, image_size, image_size, 3)
        shape = (len(pictures), *self._shape)
        num_bytes = int(np.prod(shape))
        self._kept: np.ndarray | None = None
        self._scratch: BinaryIO | None = None
        self._is_full = False
        self.is_shared = False
        if keep and world_size() > 1 and 0 < num_bytes <= scratch_bytes:
            self._share_scratch(shape, num_bytes)
        elif keep and num_bytes <= MOST_BYTES_KEPT:
            self._kept = np.empty(shape, dtype=np.uint8)
        elif keep:
            self._make_scratch(shape, num_bytes, scratch_bytes)

    def take_to(self, rows: Sequence[int] | np.ndarray, device: torch.device) -> Tensor:
        """`take` as a tensor on `device`, whose bytes may still be on their way there on the current stream.

        Raises:
            As `take`.
        """
        shape = (len(rows), *self._shape)
        found = torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
        self.take(rows, found.numpy())
        return found.to(device, non_blocking=True)

    def take(self, rows: Sequence[int] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Pictures of `rows`, `(rows, image_size, image_size, 3)` uint8; with a core region beside each, `(rows, 2, image_size, image_size, 3)`.

        Args:
            out: to write them into; None: a new array.

        Raises:
            ShopError: bytes that are no picture.
            EncoderError: a row without a picture.
        """
        chosen = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(chosen), *self._shape), np.uint8) if out is None else out
        if self._kept is None:
            return self._decoded(chosen, found)
        self._keep(np.unique(chosen[~self._is_kept[chosen]]))
        np.take(self._kept, chosen, axis=0, out=found, mode="clip")
        missing = ~self._is_kept[chosen]
        if missing.any():  # the disk is full
            found[missing] = self._decoded(chosen[missing])
        return found

    def decode_ahead(self, rows: np.ndarray, description: str) -> None:
        """Decode and keep the pictures of `rows` that were not yet, on all cores; nothing where none are kept. With progress.

        Raises:
            As `take`.
        """
        if self._kept is None or self._is_full:
            return
        wanted = np.unique(rows)
        wanted = wanted[~self._is_kept[wanted]]
        if self.is_shared:
            wait()  # until all have seen the same
            wanted = wanted[local_rank() :: local_size()]
        self._decode(wanted, description)
        if self.is_shared:
            wait()

    def _decode(self, wanted: np.ndarray, description: str) -> None:
        parts = [
            wanted[first : first + ROWS_AT_ONCE] for first in range(0, len(wanted), ROWS_AT_ONCE)
        ]
        if not parts:
            return
        workers = ThreadPoolExecutor(max_workers=max(1, (os.cpu_count() or 1) // local_size()))
        try:
            with progress(f"decode {description}", len(wanted)) as bar:
                for part, _ in zip(parts, workers.map(self._keep, parts), strict=True):
                    bar.advance(len(part))
        finally:
            workers.shutdown(cancel_futures=True)

    def _make_scratch(self, shape: tuple[int, ...], num_bytes: int, most: int) -> None:
        size = f"{shape[0]:,} pictures of {self._size} x {self._size} take {num_bytes / 1e9:.1f} GB decoded"
        if num_bytes > most:
            say(f"{size}, more than the {most / 1e9:.1f} GB of scratch: decoded anew each time")
            return
        say(f"{size}: kept in a scratch file in {tempfile.gettempdir()}")
        self._scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the store
        weakref.finalize(self, self._scratch.close)
        self._scratch.truncate(num_bytes)
        self._kept = np.memmap(self._scratch, dtype=np.uint8, mode="r", shape=shape)

    def _share_scratch(self, shape: tuple[int, ...], num_bytes: int) -> None:
        """Pictures, and behind them a byte for each that says whether it is there."""

        def make() -> tuple[Path, None]:
            descriptor, name = tempfile.mkstemp(prefix="moon-rec-decoded-")
            with open(descriptor, "wb", buffering=0) as file:
                try:
                    os.pwrite(file.fileno(), bytes(shape[0]), num_bytes)  # it has room, then
                except OSError as error:
                    os.unlink(name)
                    raise EncoderError(
                        f"decoded pictures cannot be kept in {name}: {error.strerror}; name a folder with more room in TMPDIR"
                    ) from None
            return Path(name), None

        self._scratch, _ = shared_file(make, "r+b")
        weakref.finalize(self, self._scratch.close)
        self._kept = np.memmap(self._scratch, dtype=np.uint8, mode="r", shape=shape)
        self._is_kept = np.memmap(
            self._scratch, dtype=bool, mode="r+", offset=num_bytes, shape=(shape[0],)
        )
        self.is_shared = True

    def _keep(self, rows: np.ndarray) -> None:
        assert self._kept is not None
        if self._is_full or not len(rows):
            return
        for row, picture in zip(rows, self._decoded(rows), strict=True):
            if self._scratch is None:
                self._kept[row] = picture
            elif not self._write(int(row), picture):
                return
            self._is_kept[row] = True

    def _write(self, row: int, picture: np.ndarray) -> bool:
        """Into the scratch file, by a call that can fail: to a mapping of a full disk the system answers with a signal that ends the process."""
        assert self._scratch is not None
        data = picture.tobytes()
        try:
            if os.pwrite(self._scratch.fileno(), data, row * len(data)) == len(data):
                return True
            reason = "no space left"
        except OSError as error:
            reason = str(error)
        self._is_full = True
        say(f"scratch file in {tempfile.gettempdir()}: {reason}; further pictures are decoded anew")
        return False

    def _decoded(self, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        decoded = np.empty((len(rows), *self._shape), dtype=np.uint8) if out is None else out
        for place, row in enumerate(map(int, rows)):
            data = self._pictures[row]
            if data is None:
                raise EncoderError(f"{self._names[row]} is null where a picture is needed")
            decoded[place] = self._square(data, row)
        return decoded

    def _square(self, data: bytes, row: int) -> np.ndarray:
        """A picture as a square, with a core region as two: one that is shared, where there is one."""
        global _shared_room
        name, box = self._names[row], None if self._boxes is None else self._boxes[row]
        if self._cut is not square or not (_shared or _shared_room):
            return cut_at(self._cut, decode(data, where=name), self._size, box, name)
        key = hashlib.blake2b(data, digest_size=16).digest(), self._size
        found = _shared.get(key)
        if found is None:
            found = square(decode(data, where=name), self._size)
            if found.nbytes <= _shared_room:
                _shared_room -= found.nbytes
                _shared[key] = found
        return found
