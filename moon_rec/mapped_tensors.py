"""Memory maps of the tensors in a safetensors file, so that rows are read only when they are asked for.

The file is eight bytes of header length, a JSON header with each tensor's dtype, shape and byte range, then the data (safetensors format description).
"""

import json
from pathlib import Path

import numpy as np

from moon_rec.errors import TableError

_DTYPES = {"F32": np.float32, "F16": np.float16, "I8": np.int8, "I64": np.int64}


def map_tensors(path: Path | str) -> dict[str, np.ndarray]:
    """Read-only maps of all tensors of a file, by name.

    Raises:
        TableError: the file is cut short, is no safetensors file or holds a dtype that tables do not use.
    """
    path = Path(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise TableError(f"{path} is no safetensors file, or was cut short; write it again")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return {name: _map(path, name, entry, 8 + length, size) for name, entry in header.items()}


def _map(path: Path, name: str, entry: dict, start: int, size: int) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise TableError(f"{path}: tensor {name!r} is {entry['dtype']}, wanted {list(_DTYPES)}")
    first, last = entry["data_offsets"]
    if start + last > size:
        raise TableError(f"{path} was cut short: tensor {name!r} ends after the file does")
    shape = tuple(entry["shape"])
    if first == last:
        return np.zeros(shape, dtype=_DTYPES[entry["dtype"]])
    return np.memmap(path, _DTYPES[entry["dtype"]], mode="r", offset=start + first, shape=shape)
