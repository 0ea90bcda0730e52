"""JSON as others may have written it: read with bounds, and with one meaning.

Python's reader takes more than JSON has. Of a name that stands twice it keeps the last; it reads `NaN`; a list nested a hundred thousand times deep overflows its
stack, and a number of a million digits is an error of another type. Here each of these is one `ValueError`. Sizes are looked at before a byte is read.
"""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 64 << 20
"""Of a file of ours, or of a checkpoint's: the largest tokenizers take some 35 MB, and what is read may take twenty times its bytes."""
MOST_SHOWN = 160


def parse_json(text: str | bytes) -> Any:
    """What a text of JSON means.

    Raises:
        ValueError: no JSON, no UTF-8, a name that stands twice in one object, NaN or infinity, or nested too deep; one line.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as error:  # no JSON, no UTF-8, too many digits
        raise ValueError(" ".join(str(error).split())[:MOST_SHOWN]) from None


def load_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """What a file of JSON means.

    Raises:
        FileNotFoundError: there is none.
        ValueError: as `parse_json`, no file but a folder or a device, over `most_bytes`, or one that cannot be read.
    """
    try:
        return parse_json(read_bounded(path, most_bytes))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror or error}") from None


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """All bytes of a plain file.

    Raises:
        OSError: it is absent or cannot be read.
        ValueError: no plain file, such as a pipe that would be waited for, or over `most_bytes`.
    """
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no plain file")
    if about.st_size > most_bytes:
        raise ValueError(f"it has {about.st_size:,} bytes, at most {most_bytes:,} are read")
    with path.open("rb") as file:
        return file.read(most_bytes)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"{twice!r} stands there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
