"""Vectors computed once: kept in pieces beside the benchmark's results, under a name that says all that decides them.

The name is a digest of the rows' contents, in a folder of the encoder's digest: another sample, period or set whose rows are the same uses them again, and
a row that has changed never does. A run that was killed redoes one piece at most, and so does one whose piece cannot be read.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.files import DIGEST_DIGITS
from moon_rec.kept import note_kept
from moon_rec.mapped_tensors import map_tensors
from moon_rec.progress import progress
from representation.storage.shards import PIECE, keep_shard, stands


def frame_digest(frame: pl.DataFrame) -> str:
    """16 hex digits of the columns' names and all values, pictures included, in order."""
    state = hashlib.sha256()
    for column in frame.iter_columns():
        state.update(f"{column.name}:{column.dtype}:{len(column)};".encode())
        for value in column:
            data = value if isinstance(value, bytes) else repr(value).encode()
            state.update(len(data).to_bytes(8, "little"))
            state.update(data)
    return state.hexdigest()[:DIGEST_DIGITS]


def encoded(
    folder: Path,
    words: str,
    frame: pl.DataFrame,
    encode: Callable[[pl.DataFrame], np.ndarray],
    dim: int,
    name: str,
) -> np.ndarray:
    """Vectors float32 `(rows, dim)` of the frame's rows, read where they stand and computed where not.

    Args:
        folder: of the encoder.
        words: what the rows are, such as `products by image`.
        encode: pieces of the frame to vectors.
        name: of the encoder, for the progress bar.
    """
    place = folder / f"{re.sub('[^a-z]+', '-', words)}-{frame_digest(frame)}"
    vectors = np.empty((frame.height, dim), np.float32)
    with progress(f"{name}: {words}", frame.height) as bar:
        for first in range(0, frame.height, PIECE):
            part = slice(first, min(first + PIECE, frame.height))
            file = place / f"{first:09d}.safetensors"
            if not stands(file):
                computed = np.ascontiguousarray(encode(frame[part]), dtype=np.float32)
                keep_shard(file, {"vectors": computed})
            note_kept(place, f"vectors of {part.stop:,} of {frame.height:,} rows")
            vectors[part] = map_tensors(file)["vectors"]
            bar.advance(part.stop - part.start)
    return vectors
