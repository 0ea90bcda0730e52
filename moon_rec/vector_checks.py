"""What a saved embedding table must be: `table.json`, the file's header, every id, every vector, and the digest of all of it.

Notable choices
- Opening reads the whole file once, in pieces: no other check finds rows that were moved or bytes that were changed after the digest was written. It takes a
  second a GB in any precision (545 MB of float32 in .5 s of one core of an AMD EPYC with SHA instructions: hash and check together), and memory for one piece.
- A file over `KEPT_FROM` bytes is read once a process: its size, times and inode stand for it after that. A smaller one is read at every opening.
- A vector that is NaN, infinite or all zeros (a direction that no search can compare) is named with its row and id before the digest is compared: the digest
  only says that something is wrong.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moon_rec.errors import MoonRecError, TableError
from moon_rec.files import DIGEST_DIGITS, read_json
from moon_rec.mapped_tensors import Stored, stored_tensors
from moon_rec.outputs import OutputKind, json_with
from moon_rec.progress import progress

FORMAT_VERSION = 1
TABLE = OutputKind(
    "an embedding table",
    "table.json",
    json_with("format_version", "dim", "precision", "digest"),
    ("table.safetensors",),
)
KINDS = ("", "items", "queries")
"""Whose ids a table has; empty where it does not say."""
PIECE_BYTES = 1 << 23
KEPT_FROM = 1 << 26
SHOWN_FROM = 1 << 31
"""Bytes from which progress is shown: some two seconds."""
MEND = "make the table again with python -m representation.embed or .bring"

_BITS = {"float32": (np.uint32, 0x7FFFFFFF, 0x7F800000), "float16": (np.uint16, 0x7FFF, 0x7C00)}
"""Of each: the integer of its size, all bits but the sign, and the least pattern that is infinite or NaN (IEEE 754)."""
_SEEN: set[tuple[str, tuple[int, ...], str]] = set()


@dataclass(frozen=True)
class About:
    """What `table.json` says, checked.

    Attributes:
        items, dim: rows and width of the vectors; precision: their dtype.
        widths, encoder, shop, digest, grown_from, kind: as `EmbeddingTable` has them.
    """

    items: int
    dim: int
    precision: str
    widths: tuple[int, ...]
    encoder: str
    shop: str
    digest: str
    grown_from: tuple[str, ...]
    kind: str


def checked_table(folder: Path) -> tuple[About, dict[str, Stored]]:
    """Check the table in `folder`; give what it says of itself, and where its tensors lie.

    Raises:
        TableError: anything that is wrong, one line: file, tensor, row, id, value, how to mend it.
    """
    file = folder / "table.safetensors"
    try:
        about = _about(folder / "table.json")
        tensors = stored_tensors(file)
    except OSError as error:
        raise TableError(f"no embedding table at {folder}: {error}") from None
    _check_layout(file, about, tensors)
    key = (str(file.resolve()), _state(file), about.digest)
    if key not in _SEEN:
        _check_data(file, about, tensors)
        remember(folder, about.digest)
    return about, tensors


def remember(folder: Path, digest: str) -> None:
    """Take the table's file, as it stands now, for one that was read and has that digest: it was just written by us."""
    file = folder / "table.safetensors"
    state = _state(file)
    if state[0] >= KEPT_FROM:
        _SEEN.add((str(file.resolve()), state, digest))


def _state(file: Path) -> tuple[int, ...]:
    about = os.stat(file)
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev


def _about(path: Path) -> About:
    try:
        values = read_json(path)
    except (MoonRecError, ValueError, RecursionError) as error:
        if not path.is_file():
            raise TableError(f"no embedding table at {path.parent}: {error}") from None
        raise TableError(f"{path} cannot be read: {error}; {MEND}") from None
    if not isinstance(values, dict):
        raise TableError(f"{path} is a {type(values).__name__}, wanted names and values; {MEND}")
    if values.get("format_version") != FORMAT_VERSION:
        raise TableError(
            f"{path}: format_version {values.get('format_version')!r}, wanted {FORMAT_VERSION}; read it with the version of moon_rec that wrote it"
        )
    # `grown_from` and `kind` came later than the rest
    values = {"grown_from": [], "kind": "", **values}
    for name, (is_sound, wanted) in _FIELDS.items():
        if name not in values:
            raise TableError(f"{path} has no {name!r}, wanted {wanted}; {MEND}")
        if not is_sound(values[name]):
            raise TableError(f"{path}: {name} is {values[name]!r}, wanted {wanted}; {MEND}")
    widths = values["widths"]
    if widths != sorted(set(widths)) or widths[0] < 1 or widths[-1] != values["dim"]:
        raise TableError(
            f"{path}: widths {widths} must rise and end at dim {values['dim']}; mend them, or {MEND}"
        )
    return About(
        **{name: values[name] for name in _FIELDS.keys() - {"widths", "grown_from"}},
        widths=tuple(widths),
        grown_from=tuple(values["grown_from"]),
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == DIGEST_DIGITS and set(value) <= set(_HEX)


_HEX = "0123456789abcdef"
_FIELDS = {
    "items": (_is_count, "a whole number from 0"),
    "dim": (lambda value: _is_count(value) and value > 0, "a whole number from 1"),
    "precision": (lambda value: value in ("float32", "float16", "int8"), "float32, float16 or int8"),
    "widths": (
        lambda value: isinstance(value, list) and value and all(map(_is_count, value)),
        "a list of whole numbers",
    ),
    "encoder": (lambda value: isinstance(value, str), "text, empty where it is not known"),
    "shop": (lambda value: isinstance(value, str), "text, empty where it is not known"),
    "digest": (_is_digest, f"{DIGEST_DIGITS} hexadecimal digits"),
    "grown_from": (
        lambda value: isinstance(value, list) and all(map(_is_digest, value)),
        "a list of digests",
    ),
    "kind": (lambda value: value in KINDS, "items, queries or empty"),
}  # fmt: skip


def _check_layout(file: Path, about: About, tensors: dict[str, Stored]) -> None:
    """The tensors that such a table has, of the shapes that `table.json` says."""
    wanted = {
        "ids": (np.dtype(np.int64), (about.items,)),
        "vectors": (np.dtype(about.precision), (about.items, about.dim)),
    }
    if about.precision == "int8":
        wanted["scales"] = (np.dtype(np.float32), (about.items,))
    if tensors.keys() != wanted.keys():
        raise TableError(
            f"{file} has tensors {', '.join(sorted(tensors)) or 'none'}, a {about.precision} table has {', '.join(wanted)}; {MEND}"
        )
    for name, (dtype, shape) in wanted.items():
        found = tensors[name]
        if (found.dtype, found.shape) != (dtype, shape):
            raise TableError(
                f"{file}: tensor {name!r} is {found.dtype} {found.shape}, by table.json it is {dtype} {shape}; {MEND}"
            )


def _check_data(file: Path, about: About, tensors: dict[str, Stored]) -> None:
    """Ids ascend, vectors and scales are sound, and the digest is that of what stands there."""
    state = hashlib.sha256(f"{about.precision}{(about.items, about.dim)}".encode())
    size = sum(one.stop - one.start for one in tensors.values())
    show = progress(f"check {file.parent}", size) if size >= SHOWN_FROM else nullcontext()
    with open(file, "rb") as opened, show as bar:
        ids = np.empty(0, np.int64)
        for name in ("ids", "vectors", "scales"):
            if name not in tensors:
                continue
            parts, row = [], 0
            for piece in _pieces(opened, tensors[name]):
                state.update(piece.data)
                if name == "ids":
                    parts.append(piece.copy())
                else:
                    refuse_faulty(piece, ids[row : row + len(piece)], row, f"{file}: {name}")
                row += len(piece)
                if bar is not None:
                    bar.advance(piece.nbytes)
            if name == "ids" and parts:
                ids = np.concatenate(parts)
                refuse_unordered(ids, f"{file}: ids")
    found = state.hexdigest()[:DIGEST_DIGITS]
    if found != about.digest:
        raise TableError(
            f"{file} has digest {found}, table.json says {about.digest}: rows or bytes were changed after it was written; {MEND}"
        )


def _pieces(file: Any, stored: Stored) -> Iterator[np.ndarray]:
    """Rows of a tensor, some at a time, read into one buffer: no page of a map is touched."""
    row_shape = stored.shape[1:]
    row_bytes = stored.dtype.itemsize * int(np.prod(row_shape, dtype=np.int64))
    at_once = max(1, PIECE_BYTES // row_bytes)
    buffer = np.empty((min(at_once, stored.shape[0]), *row_shape), stored.dtype)
    file.seek(stored.start)
    for row in range(0, stored.shape[0], at_once):
        piece = buffer[: stored.shape[0] - row]
        if file.readinto(piece.data.cast("B")) != piece.nbytes:
            raise TableError(f"{file.name} became shorter while it was read; read it again")
        yield piece


def refuse_unordered(ids: np.ndarray, where: str) -> None:
    """Raise TableError where int64 `ids` `(items,)` do not ascend or one stands twice."""
    wrong = np.flatnonzero(ids[1:] <= ids[:-1])
    if wrong.size:
        row = int(wrong[0]) + 1
        what = "stands there twice" if ids[row] == ids[row - 1] else f"follows {ids[row - 1]}"
        raise TableError(
            f"{where} row {row}: id {ids[row]} {what}; each id has one vector, ids ascend: {MEND}"
        )


def refuse_faulty(values: np.ndarray, ids: np.ndarray, first_row: int, where: str) -> None:
    """Raise TableError where a stored vector, or a scale, is no such thing.

    Args:
        values: vectors `(rows, dim)` in stored precision, or scales `(rows,)` float32.
        ids: `(rows,)` of these rows; first_row: the first one's number in the table.
    """
    if values.ndim == 1:
        is_good = np.isfinite(values) & (values > 0)
    else:
        is_good = np.logical_and(*_sound(values))
    if is_good.all():
        return
    at = int(np.argmin(is_good))
    if values.ndim == 1:
        what, mend = f"is {values[at]}, wanted a number above 0", MEND
    else:
        odd, mend = values[at][~np.isfinite(values[at])], "leave the id out of the table instead"
        zeros = "is all zeros, a direction that nothing can be compared by"
        what = f"holds {odd[0]}" if odd.size else zeros
    raise TableError(f"{where} row {first_row + at} (id {ids[at]}) {what}; {mend}")


def _sound(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that are finite, and rows that are not all zeros."""
    if vectors.dtype == np.int8:
        return np.ones(len(vectors), dtype=bool), (vectors != 0).any(axis=1)
    kind, magnitude, infinite = _BITS[str(vectors.dtype)]
    largest = (vectors.view(kind) & kind(magnitude)).max(axis=1)
    return np.less(largest, infinite), np.greater(largest, 0)
