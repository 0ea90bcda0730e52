"""Vectors of a Parquet table's rows, in shards of consecutive rows: written one by one, resumed, joined into an embedding table.

Notable choices
- The file is read once, front to back, a piece at a time, whatever the size of its row groups; what stands already is skipped by whole row groups.
- Shards follow the file's order and are joined in the order of ids, through memory maps: no more than a chunk of vectors is ever in memory.
- A shard appears whole or not at all; one that cannot be read (a disk was full) is made again.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from moon_rec.embedding_table import EmbeddingTable, Kind, Precision
from moon_rec.errors import EncoderError, MoonRecError, ShopError
from moon_rec.files import atomic_file
from moon_rec.kept import note_kept
from moon_rec.mapped_tensors import map_tensors
from moon_rec.progress import progress, say
from moon_rec.shop.pictures import decode
from moon_rec.table_writer import write_table
from representation.interface import Encoder

PIECE = 1024
"""Rows, with their pictures, in memory at once."""
CHUNK = 16_384
"""Vectors in memory at once while shards are joined."""
UNIT_TOLERANCE = 0.02

Encode = Callable[[pl.DataFrame], np.ndarray]
"""A piece's rows to unit vectors `(rows, dim)`."""


class Shards:
    """The shards of one table, in a folder of their own."""

    def __init__(self, folder: Path, source: Path, key: str, columns: list[str], size: int) -> None:
        """
        Args:
            source: the Parquet file; `columns` of it are read, `key` holds the ids.
            size: rows of the file a shard.
        """
        self.folder, self.key = folder, key
        self._rows = _Rows(source, columns)
        self._size = size
        starts = range(0, self._rows.count, size)
        self.files = [folder / f"{start:012d}.safetensors" for start in starts]

    def write(
        self, name: str, kept: pl.Expr, encode: Encode, dim: int, picture: str | None = None
    ) -> int:
        """Write every shard that does not stand.

        Args:
            name: what the bar calls it.
            kept: true where a row gets a vector.
            picture: a column; rows whose picture there cannot be decoded are named and left out. None: they stop the run.

        Returns:
            How many shards stood already.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [number for number, file in enumerate(self.files) if not stands(file)]
        num_standing = len(self.files) - len(missing)
        if num_standing:
            say(f"{name}: {num_standing:,} of {len(self.files):,} shards stand already")
            note_kept(self.folder, f"{num_standing:,} of {len(self.files):,} shards")
        num_done = num_standing
        starts = [number * self._size for number in missing]
        spans = [(start, min(start + self._size, self._rows.count)) for start in starts]
        with progress(f"embed {name}", sum(last - first for first, last in spans)) as bar:
            for number, (first, last) in zip(missing, spans, strict=True):
                ids, parts = [np.empty(0, np.int64)], [np.empty((0, dim), np.float32)]
                for frame in self._rows.between(first, last):
                    chosen, vectors = self._encoded(frame.filter(kept), encode, picture)
                    if chosen.height:
                        ids.append(chosen[self.key].to_numpy())
                        parts.append(_checked(vectors, ids[-1], dim, self.key))
                    bar.advance(frame.height)
                shard = {"ids": np.concatenate(ids), "vectors": np.concatenate(parts)}
                keep_shard(self.files[number], shard)
                num_done += 1
                note_kept(self.folder, f"{num_done:,} of {len(self.files):,} shards")
        return num_standing

    def join(
        self, path: Path, encoder: Encoder, shop: str, precision: Precision, kind: Kind
    ) -> EmbeddingTable:
        """The embedding table of all shards at `path`; the shards go away.

        Raises:
            EncoderError: an id in two rows.
        """
        shards = [map_tensors(file) for file in self.files]
        ids = np.concatenate([np.empty(0, np.int64), *[shard["ids"] for shard in shards]])
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        twice = np.flatnonzero(ids[1:] == ids[:-1])
        if twice.size:
            raise EncoderError(
                f"{self.key} {ids[twice[0]]} is in two rows of the shop; run python -m moon_rec shop validate"
            )
        vectors = [shard["vectors"] for shard in shards]
        table = write_table(
            path,
            ids,
            in_order(vectors, order, encoder.dim),
            encoder.dim,
            precision=precision,
            widths=encoder.widths,
            encoder=encoder.digest,
            shop=shop,
            kind=kind,
        )
        self.drop()
        return table

    def drop(self) -> None:
        """Remove the shards, which a table that stands needs no more; what others put there stays."""
        for file in self.files:
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _encoded(
        self, frame: pl.DataFrame, encode: Encode, picture: str | None
    ) -> tuple[pl.DataFrame, np.ndarray]:
        """The rows that have vectors, and these; pictures are looked at one by one only where the encoder refused them."""
        if not frame.height:
            return frame, np.empty((0, 0), np.float32)
        try:
            return frame, encode(frame)
        except ShopError:
            if picture is None:
                raise
        is_sound = [
            _is_sound(data, f"{picture} of {self.key} {row_id}")
            for row_id, data in frame.select(self.key, picture).iter_rows()
        ]
        frame = frame.filter(pl.Series(is_sound))
        return frame, encode(frame) if frame.height else np.empty((0, 0), np.float32)


class _Rows:
    """Rows of a Parquet file by place, read forwards."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self._file, self._columns = pq.ParquetFile(path), columns
        about = self._file.metadata
        sizes = [about.row_group(number).num_rows for number in range(about.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.count = int(self._starts[-1])
        self._at = -1  # nothing read yet
        self._stream: Iterator[pa.RecordBatch] = iter(())
        self._left: pa.RecordBatch | None = None

    def between(self, first: int, last: int) -> Iterator[pl.DataFrame]:
        """Rows first to last, at most `PIECE` at a time."""
        if first != self._at:
            group = int(np.searchsorted(self._starts, first, side="right")) - 1
            self._stream = self._batches(group)
            self._at, self._left = int(self._starts[group]), None
        while self._at < last:
            batch = self._left if self._left is not None else next(self._stream)
            start = min(max(0, first - self._at), batch.num_rows)
            stop = min(batch.num_rows, last - self._at)
            self._left = batch.slice(stop) if stop < batch.num_rows else None
            self._at += stop
            if start < stop:
                frame = pl.from_arrow(batch.slice(start, stop - start))
                assert isinstance(frame, pl.DataFrame)
                yield frame

    def _batches(self, first: int) -> Iterator[pa.RecordBatch]:
        """From row group `first` on. A reader for each group: one for all of them keeps some 800 bytes a row until its end (pyarrow 25)."""
        for group in range(first, self._file.num_row_groups):
            yield from self._file.iter_batches(PIECE, [group], self._columns)


def _is_sound(data: bytes | None, where: str) -> bool:
    try:
        if data is not None:
            decode(data, where)
    except ShopError as error:
        say(f"left out: {error}")
        return False
    return True


def keep_shard(file: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a shard, whole or not at all."""
    with atomic_file(file) as temporary:
        save_file(tensors, temporary)


def stands(file: Path) -> bool:
    """Whether a shard is there and can be read."""
    if not file.exists():
        return False
    try:
        map_tensors(file)
    except (MoonRecError, ValueError, OSError):
        return False
    return True


def _checked(vectors: np.ndarray, ids: np.ndarray, dim: int, key: str) -> np.ndarray:
    """What an encoder gave: `(rows, dim)` float32 at unit length, or an error that names the row."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.shape != (len(ids), dim):
        raise EncoderError(
            f"the encoder gave vectors {vectors.shape} for {len(ids)} rows of dim {dim}; give each row one"
        )
    norms = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= UNIT_TOLERANCE))  # NaN is wrong, too
    if wrong.size:
        row = int(wrong[0])
        raise EncoderError(
            f"the encoder's vector of {key} {ids[row]} has length {norms[row]:.4g}, wanted 1; divide by the norm"
        )
    return vectors


def in_order(shards: list[np.ndarray], order: np.ndarray, dim: int) -> Iterator[np.ndarray]:
    """Rows `order` of all shards put end to end, a chunk at a time."""
    starts = np.concatenate([[0], np.cumsum([len(shard) for shard in shards], dtype=np.int64)])
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        owner = np.searchsorted(starts, rows, side="right") - 1
        chunk = np.empty((len(rows), dim), dtype=np.float32)
        for number in np.unique(owner):
            of_shard = owner == number
            chunk[of_shard] = shards[number][rows[of_shard] - starts[number]]
        yield chunk
