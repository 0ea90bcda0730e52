"""What the machine, not the input, is at fault for: a full disk, a place that cannot be written, no memory left. One line each, whichever library complains.

Libraries wrap the system's complaint in errors of their own (safetensors, polars, sqlite, torch, PIL ...), often without its number. They are known by their
words; whatever is not known is a fault of ours and shows its traceback.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from moon_rec.errors import first_line, os_error_line

_WORDS = {
    "no space left on device": errno.ENOSPC,
    "os error 28": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "file too large": errno.EFBIG,
    "read-only file system": errno.EROFS,
    "readonly database": errno.EROFS,
    "permission denied": errno.EACCES,
    "disk i/o error": errno.EIO,
    "input/output error": errno.EIO,
    "unable to open database file": errno.EACCES,
    "too many open files": errno.EMFILE,
}
_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "failed to allocate",
    "unable to allocate",
    "std::bad_alloc",
)
_OF_WRITING = ("file write failed", "enforce fail at inline_container", "failed to write")
"""torch and others say that a write failed, not why."""


def line_of_surroundings(error: BaseException, writing: Path | None = None) -> str | None:
    """One line that says what the machine could not do, where, and how to mend it; None where the error is of another sort.

    Args:
        writing: the output that was being written, named where the error names no place.
    """
    for one in _chain(error):
        line = _line(one, writing)
        if line is not None:
            return line
    return None


def is_of_disk(error: BaseException) -> bool:
    """Whether it comes of a disk that takes no more or gives back nothing, in whichever library's words; of no disk is a file that is not there."""
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno:
            if one.errno in _OF_DISKS:
                return True
        elif any(
            number in _OF_DISKS and phrase in str(one).lower() for phrase, number in _WORDS.items()
        ):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """What an error was made from and says so, the innermost first, then itself. One that merely came about while a disk was full counts as made from that."""
    found: list[BaseException] = []
    seen: BaseException | None = error
    is_said = True
    while seen is not None and seen not in found:
        if is_said or (isinstance(seen, OSError) and seen.errno in _OF_DISKS):
            found.append(seen)
        is_said = is_said and seen.__cause__ is not None
        seen = seen.__cause__ or seen.__context__
    yield from reversed(found)


def _line(error: BaseException, writing: Path | None) -> str | None:
    if isinstance(error, OSError) and error.errno:
        return os_error_line(error, writing if error.errno in _OF_DISKS else None)
    said = str(error)
    words = said.lower()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _memory(error)
    if isinstance(error, Exception):
        for phrase, number in _WORDS.items():
            if phrase in words:
                return os_error_line(OSError(number, os.strerror(number)), _where(said) or writing)
        if any(phrase in words for phrase in _OF_MEMORY):
            return _memory(error)
        if any(phrase in words for phrase in _OF_WRITING):
            return f"{writing or 'a file'} could not be written ({first_line(error)}); is the disk full?"
    if isinstance(error, OSError):  # a library's own, without a number
        return f"{first_line(error)} ({type(error).__name__})"
    return None


def _memory(error: BaseException) -> str:
    said = first_line(error)
    detail = f" ({said[:200]})" if said != type(error).__name__ else ""
    where = "the GPU" if "cuda" in str(error).lower() else "this machine"
    return f"{where} has not enough memory left{detail}; lower batch_size or what is held at once, or end other processes"


def _where(said: str) -> str | None:
    """A path in what a library says, if there is one that stands."""
    for word in said.replace('"', " ").replace("'", " ").split():
        path = word.rstrip(":;,.)").lstrip("(")
        if os.sep in path and os.path.exists(os.path.dirname(path) or os.sep):
            return path
    return None
