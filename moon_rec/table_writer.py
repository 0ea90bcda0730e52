"""Write an EmbeddingTable piece by piece, so that vectors larger than memory need never be in it.

Notable choices
- The file is that of `EmbeddingTable.save` (safetensors: eight bytes of header length, a JSON header, the data), with the vectors written as they come;
  only the ids and, for int8, the scales are held.
- The digest is the one that `EmbeddingTable.from_arrays` gives the same vectors: how a table was written leaves no trace.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from moon_rec.embedding_table import EmbeddingTable, Kind, Precision, quantise
from moon_rec.errors import TableError
from moon_rec.files import DIGEST_DIGITS, write_json
from moon_rec.outputs import atomic_folder
from moon_rec.vector_checks import FORMAT_VERSION, TABLE, refuse_faulty, remember

_DTYPES = {"float32": "F32", "float16": "F16", "int8": "I8"}
ALIGNMENT = 64


def write_table(
    path: Path | str,
    ids: np.ndarray,
    chunks: Iterable[np.ndarray],
    dim: int,
    *,
    precision: Precision = "float16",
    widths: Sequence[int] = (),
    encoder: str = "",
    shop: str = "",
    kind: Kind = "",
    overwrite: bool = False,
) -> EmbeddingTable:
    """Write the folder `path`, atomically, and open it.

    Args:
        ids: `(items,)` integers, ascending.
        chunks: arrays `(any, dim)` of floating point, in the order of `ids`, as many rows together as there are ids.

    Raises:
        TableError: ids that do not ascend, a chunk of another width or with a vector that is all zeros or not finite, too few or too many rows; nothing is then left at `path`.
    """
    ids = np.ascontiguousarray(ids, dtype=np.int64)
    wrong = np.flatnonzero(ids[1:] <= ids[:-1])
    if wrong.size:
        place = int(wrong[0])
        raise TableError(
            f"id {ids[place + 1]} follows {ids[place]}: ids written in pieces must ascend; sort them"
        )
    if precision not in _DTYPES:
        raise TableError(f"precision {precision!r}: wanted one of {', '.join(_DTYPES)}")
    with atomic_folder(path, TABLE, overwrite) as folder:
        with open(folder / "table.safetensors", "wb") as file:
            file.write(_header(ids.size, dim, precision))
            digest = _write_data(file, ids, chunks, dim, precision)
        about = {
            "format_version": FORMAT_VERSION,
            "items": ids.size,
            "dim": dim,
            "precision": precision,
            "widths": list(widths) or [dim],
            "encoder": encoder,
            "shop": shop,
            "digest": digest,
            "grown_from": [],
            "kind": kind,
        }
        write_json(folder / "table.json", about)
    remember(Path(path), digest)
    return EmbeddingTable.open(path)


def _header(num_items: int, dim: int, precision: Precision) -> bytes:
    """Length and JSON, so padded with blanks that the data starts at a multiple of `ALIGNMENT`."""
    size = num_items * dim * np.dtype(precision).itemsize
    tensors = [("ids", "I64", [num_items], 8 * num_items)]
    tensors.append(("vectors", _DTYPES[precision], [num_items, dim], size))
    if precision == "int8":
        tensors.append(("scales", "F32", [num_items], 4 * num_items))
    entries, start = {}, 0
    for name, dtype, shape, length in tensors:
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + length]}
        start += length
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _write_data(
    file: BinaryIO, ids: np.ndarray, chunks: Iterable[np.ndarray], dim: int, precision: Precision
) -> str:
    """Ids, vectors and scales; the digest of all three."""
    state = hashlib.sha256(f"{np.dtype(precision)}{(ids.size, dim)}".encode())
    state.update(ids.data)
    file.write(ids.data)
    scales, done = [], 0
    for chunk in chunks:
        if chunk.ndim != 2 or chunk.shape[1] != dim or done + len(chunk) > ids.size:
            raise TableError(
                f"a chunk of shape {chunk.shape} after {done} rows: wanted (any, {dim}), "
                f"{ids.size} rows together"
            )
        if not np.isfinite(chunk).all():
            row = done + int(np.argmin(np.isfinite(chunk).all(axis=1)))
            raise TableError(f"the vector of id {ids[row]} holds NaN or infinity; leave the id out")
        stored, of_rows = quantise(chunk, precision)
        refuse_faulty(stored, ids[done : done + len(chunk)], done, "vectors")
        state.update(stored.data)
        file.write(stored.data)
        scales += [of_rows] if of_rows is not None else []
        done += len(chunk)
    if done < ids.size:
        raise TableError(f"{done} vectors for {ids.size} ids; give each id one")
    for of_rows in scales:
        state.update(of_rows.data)
        file.write(of_rows.data)
    return state.hexdigest()[:DIGEST_DIGITS]
