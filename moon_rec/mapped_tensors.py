"""Memory maps of the tensors in a safetensors file, so that rows are read only when they are asked for.

The file is eight bytes of header length, a JSON header with each tensor's dtype, shape and byte range, then the data, which the ranges cover once and without
a gap (safetensors, "Format"). All of that is checked before anything is mapped: a range that reaches elsewhere would read another tensor's bytes as vectors.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from moon_rec.errors import TableError
from moon_rec.strict_json import parse_json

MOST_HEADER_BYTES = 16 << 20
"""Of a header: some hundred thousand tensors. The format's own reader takes 100 MB, which read as JSON may take gigabytes."""
MOST_NUMBERS = 2**48
VECTORS = ("F32", "F16", "I8", "I64")
"""What embedding tables are made of."""
WEIGHTS = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64", "U8", "BOOL")
"""What weights, moments and counters of a training are made of."""
_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_MEND = "write the file again"


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies in its file.

    Attributes:
        dtype: of its numbers, uint16 for the bits of bfloat16; shape: of the tensor; kind: the dtype by the format's name.
        start, stop: its bytes, counted from the beginning of the file.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int
    stop: int
    kind: str = ""


def map_tensors(path: Path | str) -> dict[str, np.ndarray]:
    """Read-only maps of all tensors of a file, by name.

    Raises:
        TableError: as `stored_tensors`.
    """
    return {name: map_one(path, one) for name, one in stored_tensors(path).items()}


def map_one(path: Path | str, stored: Stored) -> np.ndarray:
    """A read-only map of one tensor."""
    if stored.start == stored.stop:
        return np.zeros(stored.shape, stored.dtype)
    return np.memmap(path, stored.dtype, mode="r", offset=stored.start, shape=stored.shape)


def stored_tensors(path: Path | str, kinds: tuple[str, ...] = VECTORS) -> dict[str, Stored]:
    """Where every tensor of a file lies, by name, the header checked against the file: nothing else of it is read.

    Args:
        kinds: dtypes that may stand there.

    Raises:
        TableError: the file is cut short or too long, is no safetensors file, or has a header whose dtypes, shapes or ranges do not fit.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MOST_HEADER_BYTES):
            raise TableError(f"{path} is no safetensors file, or was cut short; {_MEND}")
        header = _header(path, file.read(length))
    header.pop("__metadata__", None)
    start = 8 + length
    found = {name: _stored(path, name, entry, start, kinds) for name, entry in header.items()}
    _check_ranges(path, found, start, size)
    return found


def _header(path: Path, text: bytes) -> dict[str, Any]:
    try:
        header = parse_json(text)
    except ValueError as error:
        raise TableError(
            f"{path} is no safetensors file: its header is no JSON ({error}); {_MEND}"
        ) from None
    if not isinstance(header, dict):
        raise TableError(f"{path}: the header is a {type(header).__name__}, wanted names; {_MEND}")
    return header


def _stored(path: Path, name: str, entry: Any, start: int, kinds: tuple[str, ...]) -> Stored:
    where = f"{path}: tensor {name!r}"
    if not isinstance(entry, dict) or {"dtype", "shape", "data_offsets"} - entry.keys():
        raise TableError(f"{where} is {entry!r}, wanted dtype, shape and data_offsets; {_MEND}")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in kinds:
        raise TableError(f"{where} has dtype {kind!r}, wanted one of {', '.join(kinds)}; {_MEND}")
    if not _are_counts(shape) or len(shape) > 8:
        raise TableError(f"{where} has shape {shape!r}, wanted whole numbers from 0; {_MEND}")
    if math.prod(side or 1 for side in shape) > MOST_NUMBERS:
        # without numbers it takes no bytes, whatever its other sides
        raise TableError(f"{where} has shape {shape!r}, larger than any file; {_MEND}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise TableError(f"{where} has data_offsets {offsets!r}, wanted [first, last]; {_MEND}")
    dtype = np.dtype(_DTYPES[kind])
    wanted = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != wanted:
        raise TableError(
            f"{where} has data_offsets {offsets}, {offsets[1] - offsets[0]:,} bytes, but its shape {shape} of {kind} takes {wanted:,}; {_MEND}"
        )
    return Stored(dtype, tuple(shape), start + offsets[0], start + offsets[1], kind)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(one) is int and one >= 0 for one in values)


def _check_ranges(path: Path, found: dict[str, Stored], start: int, size: int) -> None:
    """The tensors lie end to end from the header to the end of the file."""
    end, before = start, "the header"
    for name, one in sorted(found.items(), key=lambda item: (item[1].start, item[1].stop)):
        if one.stop > size:
            raise TableError(
                f"{path} was cut short: tensor {name!r} ends at byte {one.stop:,}, the file at {size:,}; {_MEND}"
            )
        if one.start != end:
            how = "overlaps" if one.start < end else f"leaves {one.start - end:,} bytes after"
            raise TableError(
                f"{path}: tensor {name!r}, from byte {one.start:,} on, {how} {before}; {_MEND}"
            )
        end, before = one.stop, f"tensor {name!r}"
    if end != size:
        raise TableError(f"{path} has {size - end:,} bytes after its last tensor; {_MEND}")
