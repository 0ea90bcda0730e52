"""The journal: what a run has to tell, on disk before it is sent.

A run is a folder, `JOURNAL/ID/`: `entries.jsonl` (one JSON object a line, only ever appended to: its opening, params, figures, tags, documents, files and
its end), copies of its files in `files/`, and `sent.json`, how far a store has it. The process that writes holds a lock on `entries.jsonl`, so that nobody else
sends what is still being written. A kill may tear the last line; it is cut off. An address is kept as it may be shown, without passwords.

A disk that is full costs no training: what cannot be written waits in memory, and is written or sent later.
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from moon_rec.addresses import SQLITE, shown_uri
from moon_rec.errors import StudyError
from moon_rec.files import digest_file
from moon_rec.tracking.address import sqlite_path

FOLDER = ".moon_rec-journal"
PLACE_VARIABLE = "MOON_REC_JOURNAL"
ENTRIES, SENT, FILES = "entries.jsonl", "sent.json", "files"
VERSION = 1
MOST_HELD = 100_000
"""Entries that wait in memory while a disk is full; later ones are lost, and counted."""
_ID = re.compile(r"[0-9a-f]{32}")
_SECONDS_BETWEEN_SYNCS = 5.0

Entry = dict[str, Any]


def new_id() -> str:
    """The name of a run: 32 hex digits, later ones sort later."""
    return f"{time.time_ns():016x}{secrets.token_hex(8)}"


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def places(uri: str | None) -> list[Path]:
    """Folders where journals of a store may lie, the first that can be written is used.

    The folder that `MOON_REC_JOURNAL` names; else `.moon_rec-journal` beside a SQLite store; else `moon_rec/journal` in the user's folder of
    state (`XDG_STATE_HOME`, `~/.local/state`), or `.moon_rec-journal` in the working folder. None takes those that are of no one store.
    """
    if chosen := os.environ.get(PLACE_VARIABLE):
        return [Path(chosen).absolute()]
    if uri is not None and (path := sqlite_path(uri)) is not None:
        return [path.parent / FOLDER]
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return [Path(state).absolute() / "moon_rec" / "journal", Path(FOLDER).absolute()]


def run_folders(root: Path) -> list[Path]:
    """Folders of the runs in a journal, oldest first."""
    try:
        return sorted(path for path in root.iterdir() if _ID.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


class JournalReader:
    """A run's entries as they lie on disk, whoever writes them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / ENTRIES
        self._known = (0, 0)  # a line's number and where it begins

    def read(self, start: int = 0) -> Iterator[tuple[int, Entry]]:
        """Entries from the line `start` on, with their numbers; a torn last line is left out.

        Raises:
            StudyError: a line that is no entry stands before others.
        """
        line, place = self._known if self._known[0] <= start else (0, 0)
        with open(self.path, "rb") as file:
            file.seek(place)
            for text in file:
                entry = _entry(text)
                if entry is None:
                    if file.read(1):
                        raise StudyError(
                            f"{self.path}, line {line + 1}: no entry of a journal; mend or remove that line, then send again"
                        )
                    return
                place += len(text)
                if line >= start:
                    self._known = (line, place - len(text))
                    yield line, entry
                line += 1

    def torn(self) -> int:
        """Bytes of a torn last line."""
        whole = sum(1 for _ in self.read())
        with open(self.path, "rb") as file:
            for _ in range(whole):
                file.readline()
            return len(file.read())

    def opening(self) -> Entry | None:
        """What a run was opened with; None where not even that was written."""
        first = next(self.read(), None)
        if first is None:
            return None
        entry = first[1]
        if entry.get("op") != "open" or entry.get("version") != VERSION:
            raise StudyError(
                f"{self.path}: no journal of this version (wanted {VERSION}); send it with the version that wrote it"
            )
        return entry

    def uri(self, opening: Entry) -> str:
        """Where the run is to be sent, as shown; a SQLite store moves with the journal beside it."""
        uri = str(opening["uri"])
        if self.folder.parent.name == FOLDER and (path := sqlite_path(uri)) is not None:
            return f"{SQLITE}{self.folder.parent.parent.absolute() / path.name}"
        return uri

    def file(self, entry: Entry, number: int) -> Path:
        """The copy of a file that the entry of that number tells of."""
        name = str(entry["name"])
        if name != Path(name).name or name in ("", ".", ".."):
            raise StudyError(f"{self.path}, line {number + 1}: {name!r} is no name of a file")
        return self.folder / FILES / f"{number:06d}" / name

    def sent(self) -> dict[str, Any]:
        """How far a store has the run; empty where that is not known."""
        try:
            found = json.loads((self.folder / SENT).read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep_sent(self, sent: dict[str, Any]) -> None:
        """Write down how far a store has the run; without it all is sent again, which changes nothing."""
        with contextlib.suppress(OSError):
            temporary = self.folder / f"{SENT}.new"
            temporary.write_text(json.dumps(sent))
            os.replace(temporary, self.folder / SENT)

    def lock(self) -> int | None:
        """Keep others from sending this run; None where it is being written or sent, or was sent and removed meanwhile. Close the handle to let go."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return None
        return handle

    def remove(self) -> None:
        """Remove the run's journal, and the journal's folder when it was the last."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()


class Journal(JournalReader):
    """A run's journal, as written by the process that runs it.

    Args:
        roots: folders of journals; the first that can be written is used.
        opening: the first entry.
    """

    def __init__(self, roots: list[Path], opening: Entry):
        self._roots, self.id = roots, str(opening["id"])
        self.fault = ""
        self.num_lost = 0
        self._handle: int | None = None
        self._size = self._num_written = 0
        self._synced = 0.0
        self._held: list[Entry] = []
        self._guard = threading.Lock()  # a thread sends what another appends
        self._elsewhere: dict[int, Path] = {}
        super().__init__(roots[0] / self.id)
        self.append(opening, sync=True)

    @property
    def num_entries(self) -> int:
        """Entries so far, on disk or waiting for it."""
        return self._num_written + len(self._held)

    @property
    def num_held(self) -> int:
        """Entries that could not be written."""
        return len(self._held)

    def append(self, entry: Entry, sync: bool = False) -> None:
        """Add an entry; what cannot be written waits, and `fault` says why."""
        with self._guard:
            if len(self._held) >= MOST_HELD:
                self.num_lost += 1
            else:
                self._held.append(entry)
                self._write_held(sync)

    def append_file(self, path: Path) -> None:
        """Copy a file, then tell of it; one that cannot be copied is sent from where it lies."""
        number = self.num_entries
        entry: Entry = {"op": "file", "name": path.name, "digest": digest_file(path)}
        copy = self.file(entry, number)
        try:
            if self._handle is None:
                self._open()
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            _sync(copy)
        except OSError as error:
            self.fault = error.strerror or type(error).__name__
            self._elsewhere[number] = path.absolute()
            entry["fault"] = self.fault  # for who looks for the copy later
        self.append(entry, sync=True)

    def read(self, start: int = 0) -> Iterator[tuple[int, Entry]]:
        """As `JournalReader.read`, with what waits in memory."""
        with self._guard:
            held, written = list(self._held), self._num_written
        if start < written:
            for number, entry in super().read(start):
                if number >= written:
                    return
                yield number, entry
        for number, entry in enumerate(held, written):
            if number >= start:
                yield number, entry

    def file(self, entry: Entry, number: int) -> Path:
        return self._elsewhere.get(number) or super().file(entry, number)

    def close(self) -> None:
        """Let others send the run."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _write_held(self, sync: bool) -> None:
        try:
            if self._handle is None:
                self._open()
            while self._held:
                self._write(_line(self._held[0]))
                self._num_written += 1
                del self._held[0]
            if sync or time.monotonic() - self._synced > _SECONDS_BETWEEN_SYNCS:
                assert self._handle is not None
                os.fsync(self._handle)
                self._synced = time.monotonic()
            self.fault = ""
        except OSError as error:
            self.fault = error.strerror or type(error).__name__

    def _open(self) -> None:
        fault: OSError | None = None
        for root in self._roots:
            folder = root / self.id
            try:
                folder.mkdir(parents=True, mode=0o700, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._handle = os.open(folder / ENTRIES, flags, 0o600)
            except OSError as error:
                fault = error
                continue
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.folder, self.path = folder, folder / ENTRIES
            _sync(folder)
            return
        assert fault is not None
        raise fault

    def _write(self, line: bytes) -> None:
        """Write a whole line or nothing."""
        assert self._handle is not None
        if os.fstat(self._handle).st_size != self._size:
            os.ftruncate(self._handle, self._size)
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(line)


def journals_of(
    uri: str, experiment: str, damaged: Callable[[Path, StudyError], None]
) -> Iterator[JournalReader]:
    """Journals whose runs are of that store and experiment, oldest first; `damaged` is told of those that cannot be read."""
    for root in places(uri):
        for folder in run_folders(root):
            reader = JournalReader(folder)
            try:
                opening = reader.opening()
            except FileNotFoundError:  # delivered and removed meanwhile
                continue
            except StudyError as error:
                damaged(folder, error)
                continue
            if opening is None or opening["experiment"] != experiment:
                continue
            if reader.uri(opening) == shown_uri(uri):
                yield reader


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _entry(text: bytes) -> Entry | None:
    if not text.endswith(b"\n"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("op"), str) else None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
