"""What a command may write: found out before any work, and replaced only where it is of the same kind and `--overwrite` says so.

Each kind of output has a mark, a file that only this kind has and that says so inside (a shop's `manifest.json`, a table's `table.json`), and a list of the
files that such a folder holds. A folder without the mark, or with anything beside our own files, is never replaced: nobody knows what it is worth.
A single file is its own mark.

    check_output(out, SHOP, overwrite)              # at the start of a command: raises before hours of work
    with atomic_folder(out, SHOP, overwrite) as folder:
        ...                                         # all of it appears at once

Notable choices
- A link is never replaced, nor a mount point, `/`, the home or the working directory or a folder around one, nor one that holds an input of the command.
- An empty folder holds nothing, and `--overwrite` replaces it whatever the kind.
- The place is tried by making a file there and removing it: mode bits say nothing to root, and nothing of read-only file systems and full disks.
"""

import contextlib
import fnmatch
import json
import os
import shutil
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from moon_rec.errors import MoonRecError, os_error_line
from moon_rec.kept import note_begun, note_written
from moon_rec.temporaries import (
    put_in_place,
    remove,
    remove_leftovers,
    settle,
    temporary_of,
)

MARK_BYTES = 1 << 28
"""A larger file is no mark of ours: it is not read."""
PROBE_BYTES = 1 << 16
Says = Callable[[Path], bool]


@dataclass(frozen=True)
class OutputKind:
    """A kind of folder, or of single file.

    Attributes:
        noun: with its article, such as "a shop", as errors call it.
        mark: the file in the folder by which the kind is known, a pattern where there may be several; "" of a kind that is a single file.
        says: whether the mark (or the single file) is that of this kind; never raises.
        holds: patterns of the files in such a folder, relative, such as `adapter/*.json`; `*` stays within a name, `**` at the end is all below.
    """

    noun: str
    mark: str
    says: Says
    holds: tuple[str, ...] = ()

    def objection(self, path: Path) -> str:
        """Why what is at `path` is not of this kind; "" where it is."""
        if not self.mark:
            if path.is_file():
                return "" if self.says(path) else f"it is not {self.noun} that was written here"
            return "it is a folder"
        if not path.is_dir():
            return "it is a file"
        marks = sorted(path.glob(self.mark))
        if not marks:
            return f"it has no {self.mark}"
        for mark in marks:
            if not self.says(mark):
                return f"its {mark.relative_to(path)} is not that of {self.noun}"
        stranger = self._stranger(path)
        return f"it holds {stranger}, which is no file of {self.noun}" if stranger else ""

    def below(self, folder: str) -> tuple[str, ...]:
        """What such a folder holds, as patterns of a folder around it."""
        return tuple(f"{folder}/{pattern}" for pattern in (self.mark, *self.holds))

    def _stranger(self, folder: Path) -> str | None:
        """The first file or folder that is not one of ours; a link is none."""
        ours = [PurePosixPath(pattern).parts for pattern in (self.mark, *self.holds)]
        for where, folders, files in os.walk(folder):
            folders.sort()
            for name in sorted(files) + folders:
                path = Path(where) / name
                inside = path.relative_to(folder)
                is_folder = name in folders
                if path.is_symlink() or not any(
                    _fits(inside.parts, pattern, is_folder) for pattern in ours
                ):
                    return inside.as_posix()
        return None


def json_with(*names: str) -> Says:
    """A mark that is a JSON object with these fields, or a list of such objects."""
    return json_that(
        lambda found: all(
            isinstance(one, dict) and all(name in one for name in names)
            for one in (found if isinstance(found, list) else [found])
        )
    )


def json_that(holds: Callable[[Any], bool]) -> Says:
    """A mark that is JSON of which this holds; what it stumbles over does not."""

    def says(path: Path) -> bool:
        try:
            if path.stat().st_size > MARK_BYTES:
                return False
            return holds(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, AttributeError, TypeError):
            return False

    return says


def parquet_with(*names: str) -> Says:
    """A mark that is a Parquet file with these columns."""

    def says(path: Path) -> bool:
        try:
            return set(names) <= set(pl.read_parquet_schema(path))
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return False

    return says


def begins_with(*starts: bytes) -> Says:
    """A mark that begins with one of these bytes."""

    def says(path: Path) -> bool:
        try:
            with open(path, "rb") as file:
                return file.read(max(map(len, starts))).startswith(starts)
        except OSError:
            return False

    return says


def add_overwrite_option(parser: ArgumentParser, noun: str) -> None:
    """Add `--overwrite`; `noun` is what it replaces, such as "the shop"."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help=f"replace {noun} of an earlier run; files that this command did not write are never replaced",
    )


def _is_picture(path: Path) -> bool:
    """PNG, PDF or SVG that names its maker in its first or last bytes, where these formats have their metadata."""
    try:
        with open(path, "rb") as file:
            ends = file.read(PROBE_BYTES)
            file.seek(max(0, path.stat().st_size - PROBE_BYTES))
            ends += file.read(PROBE_BYTES)
    except OSError:
        return False
    return ends.startswith((b"\x89PNG", b"%PDF", b"<?xml")) and PICTURE_MAKER.encode() in ends


PICTURE_MAKER = "moon_rec"
PICTURE = OutputKind("a picture", "", _is_picture)


def check_picture(
    path: Path | str, overwrite: bool = False, kinds: tuple[str, ...] = (".png",)
) -> None:
    """`check_output` of a picture whose name must end in one of `kinds`.

    Raises:
        MoonRecError: it does not, or as `check_output`.
    """
    if Path(path).suffix.lower() not in kinds:
        named = " or ".join(kind[1:].upper() for kind in kinds)
        raise MoonRecError(f"{path}: the picture is a {named}; end its name with {kinds[0]}")
    check_output(path, PICTURE, overwrite)


def check_output(
    path: Path | str,
    kind: OutputKind,
    overwrite: bool = False,
    *,
    inputs: Iterable[Path | str | None] = (),
) -> None:
    """Find out, before any work, whether an output can be written. Nothing is left there.

    Args:
        inputs: files and folders that the command reads; None counts as absent.

    Raises:
        MoonRecError: something is there and `overwrite` is false; it is not of this kind, or is or holds what must not go; a file stands where a folder is
            needed; the place cannot be written to.
    """
    path = Path(path)
    remove_leftovers(path)
    refuse_taken(path, kind, overwrite, inputs)
    _try_place(path)


def check_room(path: Path | str, size: int) -> None:
    """Find out, before any work, whether `size` bytes can be written at `path`.

    Raises:
        MoonRecError: the disk has less room.
    """
    place = _nearest(Path(path))
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        raise MoonRecError(os_error_line(error, path)) from None
    if free < size:
        raise MoonRecError(
            f"{path} needs about {size / 2**20:,.0f} MiB, and {place.absolute()} has {free / 2**20:,.0f} MiB left; "
            "make room or name another disk"
        )


def refuse_taken(
    path: Path | str,
    kind: OutputKind,
    overwrite: bool = False,
    inputs: Iterable[Path | str | None] = (),
) -> None:
    """The part of `check_output` that looks at what is at `path`; writes nothing.

    Raises:
        MoonRecError: as there.
    """
    path = Path(path)
    what = "folder" if kind.mark else "file"
    if path.name in ("", ".."):
        raise MoonRecError(f"{path} cannot be written as {kind.noun}; name a new {what}")
    if not os.path.lexists(path):
        return
    try:
        is_empty = bool(kind.mark) and path.is_dir() and not any(path.iterdir())
        objection = _precious(path, inputs) or ("" if is_empty else kind.objection(path))
    except OSError as error:
        raise MoonRecError(os_error_line(error, path)) from None
    if objection:
        raise MoonRecError(
            f"{path} exists already and is not replaced: {objection}; name another {what}"
        )
    if not overwrite:
        raise MoonRecError(
            f"{path} exists already; --overwrite replaces it, or name another {what}"
        )


@contextlib.contextmanager
def atomic_folder(path: Path | str, kind: OutputKind, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it becomes `path` when the block ends well and goes away when it does not.

    There is no moment at which `path` is neither the old folder nor the new one, both whole; the exception are systems that cannot exchange two names, see
    `moon_rec.temporaries`.

    Raises:
        MoonRecError: as `refuse_taken`. Where that came about only while the block ran, what was made is kept, and the message says where.
    """
    path = Path(path)
    remove_leftovers(path)
    refuse_taken(path, kind, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_of(path)
    note_begun(path)
    try:
        temporary.mkdir()
        yield temporary
        settle(temporary)
        try:
            refuse_taken(path, kind, overwrite)
        except MoonRecError as error:
            kept = path.with_name(f"{path.name}.kept-{os.getpid()}")
            os.rename(temporary, kept)
            raise MoonRecError(f"{error}; what was made is kept in {kept}") from None
        note_written(path)
        put_in_place(temporary, path)
    finally:
        remove(temporary)


def remove_folder(path: Path | str, kind: OutputKind) -> None:
    """Remove a folder of this kind, where there is one.

    Raises:
        MoonRecError: what is there is not of this kind.
    """
    path = Path(path)
    if not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir())):
        return
    objection = "it is a link" if path.is_symlink() else kind.objection(path)
    if objection:
        raise MoonRecError(f"{path} is not removed: {objection}; move it yourself")
    # first under a name of which the next run knows that it may go: what is half removed is never taken for an output
    leaving = temporary_of(path)
    os.rename(path, leaving)
    remove(leaving)


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...], is_folder: bool) -> bool:
    if pattern[-1] == "**":
        pattern = (*pattern[:-1], *["*"] * max(1, len(parts) - len(pattern) + 1))
        is_folder = is_folder and len(parts) < len(pattern)
    if is_folder:
        pattern = pattern[: len(parts)] if len(pattern) > len(parts) else ()
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))


def _precious(path: Path, inputs: Iterable[Path | str | None]) -> str:
    """Why what is at `path` goes for nothing, of whatever kind it is; "" where nothing is against it."""
    if path.is_symlink():
        return f"it is a link to {os.readlink(path)}, and links are never replaced"
    if os.path.ismount(path):
        return "it is a mount point"
    place = path.resolve()
    kept = [("the working directory", Path.cwd())]
    with contextlib.suppress(RuntimeError):
        kept.append(("the home directory", Path.home()))
    kept += [(f"the input {one}", Path(one)) for one in inputs if one is not None]
    for name, given in kept:
        one = given.resolve()
        if one == place or place in one.parents:
            return f"it {'is' if one == place else 'holds'} {name}"
    return ""


def _nearest(path: Path) -> Path:
    """The nearest folder around `path`, or file in its way, that is there."""
    place = path.parent
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place


def _try_place(path: Path) -> None:
    """
    Raises:
        MoonRecError: nothing can be made at `path`.
    """
    try:
        place = _nearest(path)
        if not place.is_dir():
            found = "a file" if place.is_file() else "a link that leads nowhere"
            raise MoonRecError(
                f"{path} cannot be written: {place} is {found}, not a folder; name another place"
            )
        # tried under the target's own name where its folder is there already: some are too long
        name = path if place == path.parent else place / "probe"
        remove_leftovers(name)  # of a process that was killed while it tried
        probe = temporary_of(name)
        try:
            with open(probe, "xb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        for part in path.relative_to(place).parts:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(place / part)  # a name too long is found here
    except OSError as error:
        raise MoonRecError(os_error_line(error, path)) from None
