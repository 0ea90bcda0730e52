"""EmbeddingTable: id -> frozen vector, memory-mapped, with presence.

What stage 2 hands to stage 3. Notable choices:
- A missing vector is *reported*, never replaced by zeros that could be taken for content: `lookup` returns `present` beside the vectors.
- On disk it is a folder of `table.safetensors` (sorted ids, vectors, and a scale a row for int8) and `table.json`. Opening reads it once, in pieces, to check
  it (`vector_checks`), and maps it: no vector is held until it is looked up, so a table larger than memory works.
- Vectors are stored in float32, float16 or int8. Int8 uses one scale a row, `max|v| / 127`, so no value is clipped.
- A table grows by `extended`: the vectors it had keep their bits, and the new table names the digests of all tables it grew from, so that whoever was
  trained on one of these can tell that nothing it learnt has moved. The name is written down when the table is made, for comparing millions of vectors
  at every opening would cost more than opening; `extending` makes the comparison once, for a table that came another way.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save_file

from moon_rec.errors import TableError
from moon_rec.files import DIGEST_DIGITS, write_json
from moon_rec.lookup import rows_of
from moon_rec.mapped_tensors import map_one
from moon_rec.outputs import atomic_folder
from moon_rec.seeds import generator
from moon_rec.vector_checks import FORMAT_VERSION, TABLE, checked_table, refuse_faulty, remember

Precision = Literal["float32", "float16", "int8"]
Kind = Literal["", "items", "queries"]
HASH_ROWS = 65_536


class EmbeddingTable:
    """Frozen vectors by id.

    Attributes:
        ids: `(items,)` int64, ascending.
        vectors: `(items, dim)` in the stored precision; a memory map when opened from disk.
        widths: Matryoshka widths at which a prefix of the vector is itself an embedding; the last is `dim`.
        digest: 16 hex digits of ids, vectors and scales.
        encoder, shop: digests of what made the vectors, empty when unknown.
        grown_from: digests of the tables that this one extends, nearest first.
        kind: "items" or "queries", whose ids these are; empty when unknown.
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
        grown_from: tuple[str, ...] = (),
        kind: Kind = "",
    ):
        self.ids, self.vectors, self._scales = ids, vectors, scales
        self.widths, self.encoder, self.shop, self.digest = widths, encoder, shop, digest
        self.grown_from = grown_from
        self.kind: Kind = kind

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
        kind: Kind = "",
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
        stored, scales = quantise(vectors[order], precision)
        digest = _digest(ids, stored, scales)
        return cls(ids, stored, scales, widths, encoder, shop, digest, kind=kind)

    @classmethod
    def open(cls, path: Path | str) -> "EmbeddingTable":
        """Check a saved table and map it; see `vector_checks` for what is checked, and what that costs.

        Raises:
            TableError: no table at `path`, one that this version cannot read, or one that is not whole and sound.
        """
        path = Path(path)
        about, stored = checked_table(path)
        tensors = {name: map_one(path / "table.safetensors", one) for name, one in stored.items()}
        return cls(
            tensors["ids"],
            tensors["vectors"],
            tensors.get("scales"),
            about.widths,
            about.encoder,
            about.shop,
            about.digest,
            about.grown_from,
            about.kind,  # type: ignore[arg-type]  # one of KINDS
        )

    def save(self, path: Path | str, overwrite: bool = False) -> None:
        """Write the table to the folder `path`, atomically.

        Raises:
            TableError: a vector that is all zeros or not finite, as stored.
        """
        for start in range(0, len(self), HASH_ROWS):
            piece = slice(start, start + HASH_ROWS)
            refuse_faulty(
                np.asarray(self.vectors[piece]), self.ids[piece], start, f"{path}: vectors"
            )
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
            "grown_from": list(self.grown_from),
            "kind": self.kind,
        }
        with atomic_folder(path, TABLE, overwrite) as folder:
            save_file(tensors, folder / "table.safetensors")
            write_json(folder / "table.json", about)
        remember(Path(path), self.digest)

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

    def extended(self, ids: np.ndarray, vectors: np.ndarray) -> "EmbeddingTable":
        """The table with more items: `ids` `(items,)` in any order, `vectors` `(items, dim)`.

        Vectors of ids that it had keep their bits, whatever the precision.

        Raises:
            TableError: arrays that do not fit, or an id that the table has already.
        """
        new = EmbeddingTable.from_arrays(ids, vectors, precision=str(self.vectors.dtype))  # type: ignore[arg-type]
        if new.dim != self.dim:
            raise TableError(f"the new vectors have dim {new.dim}, the table {self.dim}")
        known = np.flatnonzero(self.rows(new.ids) >= 0)
        if known.size:
            raise TableError(
                f"id {new.ids[known[0]]} has a vector already; give only ids that are new"
            )
        joined = np.concatenate([self.ids, new.ids])
        order = np.argsort(joined, kind="stable")
        joined, stored = joined[order], np.concatenate([self.vectors, new.vectors])[order]
        scales = None
        if self._scales is not None and new._scales is not None:
            scales = np.concatenate([self._scales, new._scales])[order]
        return EmbeddingTable(
            joined, stored, scales, self.widths, self.encoder, self.shop,
            _digest(joined, stored, scales), (self.digest, *self.grown_from), self.kind,
        )  # fmt: skip

    def extending(self, older: "EmbeddingTable") -> "EmbeddingTable":
        """This table with `older` among those it grew from, after comparing every vector of it, bit by bit.

        Raises:
            TableError: an id of `older` that is absent here or has another vector.
        """
        problem = f"is no extension of table {older.digest}: a ranker trained on that would read other vectors"
        if (older.dim, older.vectors.dtype) != (self.dim, self.vectors.dtype):
            raise TableError(f"{self.vectors.dtype} table of dim {self.dim} {problem}")
        for start in range(0, len(older), HASH_ROWS):
            piece = slice(start, start + HASH_ROWS)
            rows = self.rows(older.ids[piece])
            same = rows >= 0
            if same.all():
                same = (self.vectors[rows] == older.vectors[piece]).all(axis=1)
                if self._scales is not None and older._scales is not None:
                    same &= self._scales[rows] == older._scales[piece]
            if not same.all():
                row = start + int(np.argmin(same))
                raise TableError(f"the table {problem} (first: id {older.ids[row]})")
        grown_from = (older.digest, *older.grown_from, *self.grown_from)
        return EmbeddingTable(
            self.ids, self.vectors, self._scales, self.widths, self.encoder, self.shop,
            self.digest, tuple(dict.fromkeys(grown_from)), self.kind,
        )  # fmt: skip

    def extends(self, digest: str) -> bool:
        """Whether all vectors of the table of that digest are in this one, unchanged: it is the same table, or one that this grew from."""
        return digest == self.digest or digest in self.grown_from

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
            kind=self.kind,
        )

    def of_shop(self, digest: str) -> "EmbeddingTable":
        """The same table, said to be made from the shop of that digest: for who knows that its ids mean the same things there."""
        return EmbeddingTable(
            self.ids, self.vectors, self._scales, self.widths, self.encoder, digest, self.digest,
            self.grown_from, self.kind,
        )  # fmt: skip

    def permuted(self, seed: int = 0) -> "EmbeddingTable":
        """The control: the same vectors, dealt out among the same ids at random. Whatever content is worth must vanish."""
        order = generator(seed, "permuted").permutation(len(self))
        scales = self._scales[order] if self._scales is not None else None
        vectors = np.asarray(self.vectors)[order]
        digest = _digest(self.ids, vectors, scales)
        return EmbeddingTable(
            self.ids, vectors, scales, self.widths, self.encoder, self.shop, digest, kind=self.kind
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


def quantise(vectors: np.ndarray, precision: Precision) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors `(items, dim)` as they are stored, and their scales `(items,)` (int8 alone)."""
    if precision == "float32" or precision == "float16":
        most = float(np.finfo(precision).max)
        largest = max(float(vectors.max(initial=0)), -float(vectors.min(initial=0)))
        if largest > most:
            raise TableError(
                f"a vector holds {largest:.6g}, over {most:.6g}, the most of {precision}; divide the vectors by their lengths"
            )
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
