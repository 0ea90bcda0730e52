"""What is done to a run, and how its child process does it to itself.

An audit hook sees every rename, replacement and removal that Python makes below the run's folder, and every file that it opens there to write; the exchange of two names, which
`moon_rec.temporaries` asks of the C library, is counted beside them. What a native library does by itself (SQLite's journal) is not seen.
"""

import errno
import importlib
import os
import resource
import signal
import sys
from dataclasses import dataclass
from typing import Any

MOVES = ("os.rename", "os.remove", "os.rmdir")
WRITES = os.O_WRONLY | os.O_RDWR
NOBODY = 65534


@dataclass(frozen=True)
class Fault:
    """One fault of one run; the default is none.

    Attributes:
        kind: `none`, `kill`, `term`, `int`, `hup`, `full` (a full disk), `readonly` or `server`.
        seconds: the signal comes then.
        move: or before the rename or removal of that number, from 0.
        opening: the disk is full at the opening of that number.
        size: no file grows beyond so many bytes.
        answers: the tracking server goes away after so many; 0: it is not there.
    """

    kind: str = "none"
    seconds: float | None = None
    move: int | None = None
    opening: int | None = None
    size: int | None = None
    answers: int | None = None

    @property
    def signal(self) -> signal.Signals | None:
        """The signal sent, if any."""
        found = {"kill": "SIGKILL", "term": "SIGTERM", "int": "SIGINT", "hup": "SIGHUP"}
        return signal.Signals[found[self.kind]] if self.kind in found else None

    @property
    def where(self) -> str:
        """For the table: when it happens."""
        if self.seconds is not None:
            return f"after {self.seconds:.3f} s"
        for name in ("move", "opening", "size", "answers"):
            if getattr(self, name) is not None:
                return f"{name} {getattr(self, name)}"
        return self.kind


class Watch:
    """Counts what a run does to names and files below `folder`, and strikes where the fault says."""

    def __init__(self, folder: str, fault: Fault) -> None:
        self.folder, self.fault = os.path.realpath(folder), fault
        self.num_moves = self.num_openings = 0

    def begin(self) -> None:
        """From now on; for the rest of the process."""
        fault = self.fault
        if fault.size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.size, fault.size))
        if fault.kind == "readonly" and os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        sys.addaudithook(self._see)

    def wrap_exchange(self) -> None:
        """Count `renameat2`, too, which no audit hook sees."""
        try:
            module: Any = importlib.import_module("moon_rec.temporaries")
        except ModuleNotFoundError:
            return
        exchanged = module._exchanged

        def counted(*names: Any) -> bool:
            self._move()
            return exchanged(*names)

        module._exchanged = counted

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in MOVES:
            if self._is_below(arguments[0], is_move=True):
                self._move()
        elif event == "open" and arguments[2] & WRITES and self._is_below(arguments[0]):
            self.num_openings += 1
            if self.fault.opening == self.num_openings - 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])

    def _is_below(self, path: Any, is_move: bool = False) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        path = os.fsdecode(path)
        if is_move and not os.path.isabs(path) and "/" not in path:
            return True  # of an open folder (rmtree), or of the working directory, the run's
        return os.path.abspath(path).startswith(self.folder)

    def _move(self) -> None:
        self.num_moves += 1
        if self.fault.move == self.num_moves - 1 and self.fault.signal is not None:
            os.kill(os.getpid(), self.fault.signal)
