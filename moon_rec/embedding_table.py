"""EmbeddingTable: id -> frozen vector, memory-mapped, with presence.

What stage 2 hands to stage 3. Notable choices:
- A missing vector is *reported*, never replaced by zeros that could be taken for content: `lookup` returns `present` beside the vectors.
- On disk it is a folder of `table.safetensors` (sorted ids, vectors, and a scale a row for int8) and `table.json`; opening maps the file and reads
  no vector until it is looked up, so a table larger than memory works.
- Vectors are stored in float32, float16 or int8. Int8 uses one scale a row, `max|v| / 127`, so no value is clipped.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save_file

from moon_rec.errors import MoonRecError, TableError
from moon_rec.files import DIGEST_DIGITS, atomic_folder, read_json, write_json
from moon_rec.lookup import rows_of
from moon_rec.mapped_tensors import map_tensors
from moon_rec.seeds import generator

Precision = Literal["float32", "float16", "int8"]
FORMAT_VERSION = 1
HASH_ROWS = 65_536


class EmbeddingTable:
    """Frozen vectors by id.

    Attributes:
        ids: `(items,)` int64, ascending.
        vectors: `(items, dim)` in the stored precision; a memory map when opened from disk.
        widths: Matryoshka widths at which a prefix of the vector is itself an embedding; the last is `dim`.
        digest: 16 hex digits of ids, vectors and scales.
        encoder, shop: digests of what made the vectors, empty when unknown.
    """

    def __init__(
        self,
        ids: np.ndarray,
        vectors: np.ndarray,
        scales: np.ndarray | None,
        widths: tuple[int, ...],
        encoder: str,
        shop: str,
        digest: str,
    ):
        self.ids, self.vectors, self._scales = ids, vectors, scales
        self.widths, self.encoder, self.shop, self.digest = widths, encoder, shop, digest

    @classmethod
    def from_arrays(
        cls,
        ids: np.ndarray,
        vectors: np.ndarray,
        *,
        widths: Sequence[int] = (),
        encoder: str = "",
        shop: str = "",
        precision: Precision = "float32",
    ) -> "EmbeddingTable":
        """Make a table from `ids` `(items,)` and `vectors` `(items, dim)`, in any row order.

        Raises:
            TableError: shapes that do not fit, ids that are not integers or not unique, vectors that are not finite.
        """
        ids, vectors = np.asarray(ids), np.asarray(vectors)
        _check_arrays(ids, vectors)
        order = np.argsort(ids, kind="stable")
        ids = np.ascontiguousarray(ids[order], dtype=np.int64)
        twice = np.flatnonzero(ids[1:] == ids[:-1])
        if twice.size:
            raise TableError(f"id {ids[twice[0]]} has two vectors; give each id one")
        widths = tuple(int(width) for width in widths) or (vectors.shape[1],)
        if list(widths) != sorted(set(widths)) or widths[0] < 1 or widths[-1] != vectors.shape[1]:
            raise TableError(
                f"widths {widths} must rise and end at the vectors' dim {vectors.shape[1]}"
            )
        stored, scales = _quantise(vectors[order], precision)
        return cls(ids, stored, scales, widths, encoder, shop, _digest(ids, stored, scales))

    @classmethod
    def open(cls, path: Path | str) -> "EmbeddingTable":
        """Map a saved table; vectors are read when they are looked up.

        Raises:
            TableError: no table at `path`, or one that this version cannot read.
        """
        path = Path(path)
        try:
            about = read_json(path / "table.json")
            tensors = map_tensors(path / "table.safetensors")
        except (MoonRecError, OSError) as error:
            raise TableError(f"no embedding table at {path}: {error}") from None
        if about.get("format_version") != FORMAT_VERSION:
            raise TableError(
                f"{path}/table.json: format_version {about.get('format_version')!r}, wanted {FORMAT_VERSION}"
            )
        return cls(
            np.array(tensors["ids"]),
            tensors["vectors"],
            tensors.get("scales"),
            tuple(about["widths"]),
            about["encoder"],
            about["shop"],
            about["digest"],
        )

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the table to the folder `path`, atomically."""
        tensors = {"ids": self.ids, "vectors": np.ascontiguousarray(self.vectors)}
        if self._scales is not None:
            tensors["scales"] = np.ascontiguousarray(self._scales)
        about = {
            "format_version": FORMAT_VERSION,
            "items": len(self),
            "dim": self.dim,
            "precision": str(self.vectors.dtype),
            "widths": list(self.widths),
            "encoder": self.encoder,
            "shop": self.shop,
            "digest": self.digest,
        }
        with atomic_folder(path, overwrite=overwrite) as folder:
            save_file(tensors, folder / "table.safetensors")
            write_json(folder / "table.json", about)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.vectors.shape[1]

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id, -1 where it has no vector; any shape of int64."""
        return rows_of(self.ids, ids)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of rows (none of them -1) as float32, shape `rows.shape + (dim,)`."""
        vectors = self.vectors[rows].astype(np.float32)
        if self._scales is not None:
            vectors *= self._scales[rows][..., None]
        return vectors

    def lookup(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors and presence.

        Args:
            ids: int64 of any shape.

        Returns:
            Float32 vectors `ids.shape + (dim,)`, zero where absent, and booleans `ids.shape`, True where the id has a vector. Mask by the second: a zero
            row is no content.
        """
        rows = self.rows(ids)
        present = rows >= 0
        vectors = np.zeros((*rows.shape, self.dim), dtype=np.float32)
        if present.any():
            vectors[present] = self.take(rows[present])
        return vectors, present

    def narrow(self, width: int) -> "EmbeddingTable":
        """The table of the first `width` columns, each row at unit length again (Matryoshka, Kusupati et al. 2022)."""
        if width not in self.widths:
            raise TableError(f"width {width} was not trained; the table has {self.widths}")
        vectors = self.take(np.arange(len(self)))[:, :width]
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
        return EmbeddingTable.from_arrays(
            self.ids,
            vectors,
            widths=[other for other in self.widths if other <= width],
            encoder=self.encoder,
            shop=self.shop,
        )

    def permuted(self, seed: int = 0) -> "EmbeddingTable":
        """The control: the same vectors, dealt out among the same ids at random. Whatever content is worth must vanish."""
        order = generator(seed, "permuted").permutation(len(self))
        scales = self._scales[order] if self._scales is not None else None
        vectors = np.asarray(self.vectors)[order]
        digest = _digest(self.ids, vectors, scales)
        return EmbeddingTable(
            self.ids, vectors, scales, self.widths, self.encoder, self.shop, digest
        )


def _check_arrays(ids: np.ndarray, vectors: np.ndarray) -> None:
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise TableError(f"ids must be integers of one dimension, got {ids.dtype} {ids.shape}")
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.shape[1] == 0:
        raise TableError(
            f"vectors must be (items, dim) with {len(ids)} rows, got shape {vectors.shape}"
        )
    if not np.issubdtype(vectors.dtype, np.floating):
        raise TableError(f"vectors must be floating point, got {vectors.dtype}")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise TableError(
            f"the vector of id {ids[row]} (row {row}) holds NaN or infinity; leave the id out instead"
        )


def _quantise(vectors: np.ndarray, precision: Precision) -> tuple[np.ndarray, np.ndarray | None]:
    if precision == "float32" or precision == "float16":
        return np.ascontiguousarray(vectors, dtype=precision), None
    if precision != "int8":
        raise TableError(f"precision {precision!r}: wanted float32, float16 or int8")
    largest = np.abs(vectors).max(axis=1)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.rint(vectors / scales[:, None]).astype(np.int8), scales


def _digest(ids: np.ndarray, vectors: np.ndarray, scales: np.ndarray | None) -> str:
    state = hashlib.sha256(f"{vectors.dtype}{vectors.shape}".encode())
    state.update(ids.data)
    for start in range(0, len(vectors), HASH_ROWS):
        state.update(np.ascontiguousarray(vectors[start : start + HASH_ROWS]).data)
    if scales is not None:
        state.update(np.ascontiguousarray(scales).data)
    return state.hexdigest()[:DIGEST_DIGITS]
