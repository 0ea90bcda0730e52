"""Temporaries that say whose they are, and what makes them take a place for good.

A temporary lies beside its target as `.NAME.HOST.PID-START.NUMBER.tmp`: START is when the process began, so that a number given again to another process
is told from it. The next run of the same output removes those whose process is dead. Those of a living process stay, and so do those of another host or of
another container, for of these nobody here knows whether they live.

Notable choices
- Where the system can (Linux's `renameat2`), two folders are exchanged in one call: there is no moment with neither. Elsewhere the old one is renamed to
  `... .old` first; a process that dies just then leaves it there, and the next run of the same output puts it back.
- Files and folders have the mode that the umask gives, whatever the library that wrote them chose (safetensors: 0600).
- What is put in place is on the disk before it has the name: `fsync` of every file and folder, then the rename, then `fsync` of the folder around it.
"""

import contextlib
import ctypes
import errno
import functools
import itertools
import os
import re
import shutil
import socket
import stat
from pathlib import Path

NAME_BYTES = 100
"""So much of the target's name stands in the temporary's, for a file name ends at 255 bytes."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_LACKING = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_numbers = itertools.count()


def temporary_of(path: Path) -> Path:
    """A name beside `path` that no other process or call gives; nothing is made. It ends as `path` does, for libraries that look at the end."""
    owner = f"{_host()}.{os.getpid()}-{_start_of(os.getpid())}"
    return path.with_name(f"{_prefix(path)}{owner}.{next(_numbers)}.tmp{path.suffix[:20]}")


def remove_leftovers(path: Path) -> None:
    """Remove the temporaries of dead processes of this host for `path`; put back an old one that a process retired just before it died."""
    for leftover, is_old in _leftovers(path.parent, _prefix(path)):
        if is_old and not os.path.lexists(path):
            with contextlib.suppress(OSError):
                os.rename(leftover, path)
        else:
            remove(leftover)


def sweep(folder: Path) -> None:
    """Remove the temporaries of dead processes of this host for whatever is in a folder that holds only our own."""
    for leftover, is_old in _leftovers(folder, "."):
        if not is_old:
            remove(leftover)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a settled folder its name; what was there before is under the temporary's name then, or gone.

    Raises:
        OSError: it could not; `path` is then what it was.
    """
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif not _exchanged(temporary, path):
        retired = temporary.with_name(f"{temporary.name.rpartition('.tmp')[0]}.old")
        os.rename(path, retired)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(retired, path)
            raise
        remove(retired)
    sync_folder(path.parent)


def settle(path: Path) -> None:
    """Give a file, or a folder with all below it, the umask's modes, and wait until it is on the disk."""
    mask = _umask()
    if path.is_dir():
        for folder, _, names in os.walk(path, topdown=False):
            for name in names:
                _settle_one(os.path.join(folder, name), 0o666 & ~mask)
            _settle_one(folder, 0o777 & ~mask)
    else:
        _settle_one(path, 0o666 & ~mask)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk; file systems that cannot say so are believed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a temporary, file or folder; what cannot be removed stays for the next run."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # a temporary of ours: nobody else writes there
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


_OWNED = re.compile(
    r"\.(?P<host>[^.]+)\.(?P<pid>\d+)-(?P<start>\d*)\.\d+\.(?P<end>tmp|old)(\.[^.]*)?$", re.DOTALL
)


def _leftovers(folder: Path, prefix: str) -> list[tuple[Path, bool]]:
    """What dead processes of this host left in a folder under names that begin so, and whether it is an old one that was retired."""
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return []  # whoever makes the output finds what is wrong with its place
    found = []
    for entry in entries:
        owned = _OWNED.search(entry) if entry.startswith(prefix) else None
        if owned is None or owned["host"] != _host():
            continue
        if prefix in (".", entry[: owned.start()] + ".") and not _is_living(
            int(owned["pid"]), owned["start"]
        ):
            found.append((folder / entry, owned["end"] == "old"))
    return found


def _prefix(path: Path) -> str:
    name = path.name.encode(errors="surrogateescape")[:NAME_BYTES].decode(errors="ignore")
    return f".{name}."


@functools.cache
def _host() -> str:
    """The host's name and, within a container, the number of its space of processes: processes elsewhere cannot be seen from here."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", socket.gethostname())[:40]
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{name}-{space:x}"


def _start_of(pid: int) -> str | None:
    """When a process began, in ticks since the machine did; "" of one that has ended and is only not yet taken note of; None where it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in "ZX" else fields[19]


def _is_living(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    found = _start_of(pid)
    return found is None or found == start


def _exchanged(one: Path, other: Path) -> bool:
    """Whether the two names were exchanged; False where the system or the file system has no such call."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    if call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _LACKING:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _settle_one(path: str | Path, mode: int) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        found = stat.S_IMODE(os.fstat(handle).st_mode)
        if found & 0o777 != mode:
            os.fchmod(handle, found & 0o7000 | mode)
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    """Wait until an open file or folder is on the disk, where its file system can say so."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _LACKING:
            raise


def _umask() -> int:
    """Read where it can be without being set for a moment, in which other threads would make files for all."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(re.findall(r"^Umask:\s*([0-7]+)", status, re.MULTILINE)[0], 8)
    except (OSError, IndexError):
        mask = os.umask(0)
        os.umask(mask)
        return mask
