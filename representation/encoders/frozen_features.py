"""What a frozen tower makes of texts and pictures, computed once: in memory by content, on disk by the tower and the shop.

A tower that stays as it is gives the same numbers for the same row, so an epoch over known rows costs what the trained part costs. Notable choices:
- A row is known by the digest of what the tower is given: token ids, or the pixels of its square. Altered views, which are never seen twice, are not kept.
- A row goes through the tower alone, in float32, whether it is kept or not: what a processor makes of one row of a batch may differ in its last bits with the
  other rows, and a training would then depend on what happened to be kept. So the same bits come with and without what is kept.
- On disk a file holds digests and features; it is taken up if it is whole, added to, and written atomically. It is named `TOWER-SHOP` or `TOWER-SIDE-SHOP`; what lies beside it, of another
  tower, size of pictures or shop, is not taken up, which is said.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from moon_rec.files import atomic_file
from moon_rec.progress import progress, say

DIGEST_BYTES = 16
PIECE = 512
SECONDS_BETWEEN_WRITES = 120.0


class FrozenFeatures:
    """Features of one tower.

    Args:
        tower: features `(1, dim)` of one row: token ids, or a square `(side, side, 3)` uint8.
        dim: width of a row's features.
    """

    def __init__(self, tower: Callable[[np.ndarray], Tensor], dim: int) -> None:
        self._tower, self.dim = tower, dim
        self._places: dict[bytes, int] = {}
        self._values = np.empty((0, dim), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._places)

    def of(self, rows: Sequence[np.ndarray]) -> Tensor:
        """Features `(rows, dim)` float32 on the processor: kept ones, and others computed now."""
        found = np.empty((len(rows), self.dim), dtype=np.float32)
        for place, row in enumerate(rows):
            kept = self._places.get(_digest(row)) if self._places else None
            found[place] = self._values[kept] if kept is not None else self._alone(row)
        return torch.from_numpy(found)

    def remember(
        self,
        count: int,
        rows: Callable[[int, int], Sequence[np.ndarray]],
        what: str,
        file: Path | None,
    ) -> None:
        """Compute ahead and keep the features of `count` rows, with progress.

        Args:
            rows: rows `first` to `end - 1`.
            what: they are, for the progress bar.
            file: taken up if it is there, and written; None: in memory alone.
        """
        self._take_up(file)
        before, written, last = len(self), len(self), time.monotonic()
        with progress(f"frozen features of {what}", count) as bar:
            for first in range(0, count, PIECE):
                new = {_digest(row): row for row in rows(first, min(first + PIECE, count))}
                missing = [key for key in new if key not in self._places]
                self._add(missing, (self._alone(new[key]) for key in missing))
                bar.advance(min(PIECE, count - first))
                is_due = time.monotonic() - last > SECONDS_BETWEEN_WRITES or first + PIECE >= count
                if file is not None and is_due and len(self) > written:
                    self._write(file)
                    written, last = len(self), time.monotonic()
        if file is not None:
            say(f"frozen features of {what}: {before:,} were kept, {len(self) - before:,} computed; in {file}")  # fmt: skip

    @torch.no_grad()
    def _alone(self, row: np.ndarray) -> np.ndarray:
        return self._tower(row)[0].float().cpu().numpy()

    def _add(self, keys: Sequence[bytes], values: Iterable[np.ndarray]) -> None:
        found = list(values)
        if found:
            first = len(self._places)
            self._values = np.concatenate([self._values[:first], np.stack(found)])
            self._places.update({key: first + place for place, key in enumerate(keys)})

    def _take_up(self, file: Path | None) -> None:
        if file is None:
            return
        if not file.is_file():
            _tell_others(file)
            return
        try:
            held = load_file(file)
            keys, values = _checked(held["digests"], held["features"], self.dim)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            say(f"{file} cannot be used ({' '.join(str(error).split())[:120]}): computed anew")
            return
        new = [place for place, key in enumerate(keys) if key.tobytes() not in self._places]
        self._add([keys[place].tobytes() for place in new], (values[place] for place in new))

    def _write(self, file: Path) -> None:
        keys = np.frombuffer(b"".join(self._places), dtype=np.uint8).reshape(-1, DIGEST_BYTES)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            tensors = {"digests": keys.copy(), "features": self._values}
            save_file({name: torch.from_numpy(one) for name, one in tensors.items()}, temporary)


def _checked(keys: Tensor, values: Tensor, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """A file's tables.

    Raises:
        ValueError: they are not what `FrozenFeatures` writes.
    """
    if keys.shape != (len(values), DIGEST_BYTES) or values.shape[1:] != (dim,):
        raise ValueError("its tables do not fit")
    if (keys.dtype, values.dtype) != (torch.uint8, torch.float32):
        raise ValueError(
            f"its tables are {keys.dtype} and {values.dtype}, wanted uint8 and float32"
        )
    if not torch.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    return keys.numpy(), values.numpy()


def _tell_others(file: Path) -> None:
    """Say what lies in the folder in a missing file's place, and why it is of no use."""
    own = file.stem.split("-")
    names = ("tower", "shop") if len(own) == 2 else ("tower", "size of pictures", "shop")
    for other in sorted(file.parent.glob("*.safetensors")):
        parts = other.stem.split("-")
        if len(parts) == len(own) == len(names):
            differ = [name for name, a, b in zip(names, own, parts, strict=True) if a != b]
            say(f"{other} is of another {', '.join(differ)}: not taken up")


def _digest(row: np.ndarray) -> bytes:
    shape = repr((row.shape, row.dtype.str)).encode()
    return hashlib.blake2b(shape + np.ascontiguousarray(row).tobytes(), digest_size=DIGEST_BYTES).digest()  # fmt: skip
