"""Files that appear whole or not at all, and digests that name what is in them."""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moon_rec.errors import MoonRecError
from moon_rec.kept import note_written
from moon_rec.progress import progress
from moon_rec.strict_json import load_json
from moon_rec.temporaries import remove_leftovers, settle, sync_folder, temporary_of

DIGEST_DIGITS = 16
PIECE_BYTES = 1 << 22
SHOWN_BYTES = 1 << 29
"""From this size on, reading a file for its digest shows its progress."""
SECONDS_AT_REST = 3.0
"""A file changed later than that before it was read is read again for its digest, see `digest_file`."""

_digests: dict[tuple[int, ...], str] = {}


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place when the block ends well and goes away when it does not.

    What a command is asked to write goes through `moon_rec.outputs.check_output` first: here whatever file is there is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    temporary = temporary_of(path)
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        settle(temporary)
        note_written(path)
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities become null."""
    with atomic_file(path) as temporary:
        text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    """Read JSON, as `strict_json` does.

    Raises:
        MoonRecError: no such file, or no JSON with one meaning in it.
    """
    try:
        return load_json(Path(path))
    except FileNotFoundError:
        raise MoonRecError(f"no file at {path}") from None
    except ValueError as error:
        raise MoonRecError(f"{path} is not valid JSON: {error}") from None


def digest_file(path: Path | str) -> str:
    """16 hex digits of a file's SHA-256, read in pieces, about a second a GB.

    A file at rest is read once a process: its digest is kept under its inode, size, and times of modification and of
    change, the last of which no program can set back. One that was changed in the last seconds is read every time, for
    clocks of file systems tick slowly: a second write within a tick would leave no trace.
    """
    with open(path, "rb") as file:
        found, now = os.fstat(file.fileno()), time.time()
        key = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if key in _digests:
            return _digests[key]
        digest = hashlib.sha256()
        with _bar_of(Path(path), found.st_size) as advance:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
                advance(len(piece))
    name = digest.hexdigest()[:DIGEST_DIGITS]
    if now - max(found.st_mtime, found.st_ctime) > SECONDS_AT_REST:
        _digests[key] = name
    return name


def digest_of(value: Any) -> str:
    """16 hex digits of anything JSON can hold, the same for dictionaries in any order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


@contextlib.contextmanager
def _bar_of(path: Path, size: int) -> Iterator[Callable[[int], None]]:
    if size < SHOWN_BYTES:
        yield lambda count: None
        return
    with progress(f"reading {path.name} (bytes)", size) as bar:
        yield bar.advance


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
