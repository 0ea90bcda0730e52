"""One study at a time in a folder: a lock that the kernel takes back from whoever dies.

The lock is the kernel's (`flock`) on the file `study.lock`; what the file says (process, machine, since when) is for people. A file that is left behind by a dead owner locks
nothing. Disks shared by machines keep it too, where they keep locks at all (NFS since 4).
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from moon_rec.errors import MoonRecError, StudyError, os_error_line
from moon_rec.progress import say
from moon_rec.shown import visible

LOCK = "study.lock"
SECONDS_BETWEEN_TRIES = 0.5
_TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def locked(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of `folder`, which is there, while the block runs.

    Args:
        wait: wait for whoever holds it, and say for whom; else be refused.

    Raises:
        StudyError: another study holds it and `wait` is false; the message says who.
        MoonRecError: the folder cannot be written to, or its disk keeps no locks.
    """
    with _taken(folder / LOCK, wait) as file:
        file.seek(0)
        file.truncate()
        file.write(json.dumps(_owner()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)  # what is closed is given back


def _taken(path: Path, wait: bool) -> IO[str]:
    """The lock's file, open and locked. One that was removed or replaced meanwhile, with its folder, is no lock: the next one is tried."""
    while True:
        try:
            # not cut when opened: whoever is refused must still read the owner's words; and no link is followed
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise MoonRecError(os_error_line(error, path)) from None
        file = os.fdopen(handle, "r+", encoding="utf-8", errors="replace")
        try:
            _take(file, path.parent, wait)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _take(file: IO[str], folder: Path, wait: bool) -> None:
    is_told = False
    while not _is_taken(file, folder):
        who = _words(file)
        if not wait:
            raise StudyError(
                f"{folder}: another study works there ({who}); wait until it is done (--wait of a study), or name another --out"
            )
        if not is_told:
            say(f"study: waiting for the one that works in {folder} ({who})")
            is_told = True
        time.sleep(SECONDS_BETWEEN_TRIES)


def _is_taken(file: IO[str], folder: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        raise MoonRecError(
            f"{folder / LOCK}: this disk keeps no locks ({os_error_line(error)}); name an --out on another"
        ) from None
    return True


def _owner() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return {"process": os.getpid(), "machine": socket.gethostname(), "since": since}


def _words(file: IO[str]) -> str:
    file.seek(0)
    try:
        about = json.loads(file.read(1_000))
        words = f"process {about['process']} on {about['machine']}, since {about['since']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return "it has not said who it is"
    return visible(words)[:200]
