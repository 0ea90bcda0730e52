"""Runs commands in children of one process that has imported the libraries once: a run costs what the command costs.

Notable choices
- The libraries are imported here, our own packages in the child: importing them starts threads of polars, and a child of a process with such threads waits for ever.
- A child has a session of its own, so that what it leaves behind is found, and all of it can be ended.
- `seconds` of a fault count from the fork on: imports of our packages are part of the time in which faults strike.
"""

import atexit
import contextlib
import importlib
import inspect
import json
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faulting.faults import Fault, Watch

OWN = ("moon_rec", "representation", "ranking", "exchange_rate", "benchmarks")
LIBRARIES = {
    "representation": ("transformers",),
    "ranking": ("torchrec",),
    "exchange_rate": ("torchrec", "transformers", "mlflow", "matplotlib.pyplot"),
}
"""What commands of a package import that takes long; whatever else a run imports is imported after it, a second time."""
SECONDS_TO_END = 10.0
"""A signalled command must have ended by then, with all its children."""
LONGEST = 300.0
LOOK = 0.002
PHASES = ("imports", "command", "after")
Setup = Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: exit code; -9 where it was killed.
        seconds: it ran.
        begun: seconds until the command itself began.
        seconds_after: from the signal to the end.
        orphans: processes of its that lived on.
        num_moves, num_openings: as `Watch` counts; -1 of a run that was killed.
        out, err: what it said.
        phase: where its end found it: in `imports` before the command began, `command`, or `after` it.
    """

    code: int
    seconds: float
    begun: float
    seconds_after: float
    orphans: int
    num_moves: int
    num_openings: int
    out: str
    err: str
    phase: str

    @property
    def last_line(self) -> str:
        """The last that it said on stderr."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


class Runner:
    """Makes the children; `logs` is where they write what they say, `packages` of ours have the commands that are run."""

    def __init__(self, logs: Path, packages: Iterable[str]) -> None:
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        logs.chmod(0o777)
        further = [name for package in packages for name in LIBRARIES.get(package, ())]
        for name in ("torch", "polars", "pyarrow.parquet", *further):
            importlib.import_module(name)
        importlib.import_module("torch").set_num_threads(1)

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        fault: Fault | None = None,
        setup: Setup | None = None,
    ) -> Outcome:
        """Run `python -m words...` in `folder`."""
        fault = fault or Fault()
        file = self._logs / "about"
        file.unlink(missing_ok=True)
        said = (_Said(), _Said(), _Said())
        sys.stdout.flush()
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            for number, each in enumerate(said[:2], 1):
                os.dup2(each.writer, number)
            _child(words, folder, fault, setup, file, said[2].writer)
        for each in said:
            os.close(each.writer)
        status, struck = self._wait(pid, start, fault, said)
        end = time.monotonic()
        orphans = _end_others(pid, 0.0 if fault.kind == "none" else 2.0)
        about = json.loads(file.read_text()) if file.exists() else {}
        self._warm(about.get("modules", []))
        return Outcome(
            code=os.waitstatus_to_exitcode(status),
            seconds=end - start,
            begun=(said[2].first or end) - start,
            seconds_after=end - struck if struck else 0.0,
            orphans=orphans,
            num_moves=about.get("moves", -1),
            num_openings=about.get("openings", -1),
            out=said[0].close(),
            err=said[1].close(),
            phase=PHASES[len(said[2].close())],
        )

    @staticmethod
    def _wait(pid: int, start: float, fault: Fault, said: Sequence["_Said"]) -> tuple[int, float]:
        """Wait for the end, and send the fault's signal on the way; its time, 0 where none was sent."""
        struck = 0.0
        while True:
            for each in said:
                each.read()
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status, struck
            passed = time.monotonic() - start
            if fault.seconds is not None and not struck and passed >= fault.seconds:
                assert fault.signal is not None
                # as a terminal does for Ctrl-C and hanging up; the rest as `kill PID` does
                send = os.killpg if fault.kind in ("kill", "int", "hup") else os.kill
                with contextlib.suppress(ProcessLookupError):  # a child without its own group yet
                    send(pid, fault.signal)
                    struck = time.monotonic()
            is_late = struck and time.monotonic() - struck > 4 * SECONDS_TO_END
            if passed > LONGEST or is_late:
                os.killpg(pid, signal.SIGKILL)
            time.sleep(LOOK)

    @staticmethod
    def _warm(modules: Sequence[str]) -> None:
        """Import what a run imported beside our own packages, for the runs to come."""
        for name in modules:
            if name not in sys.modules and name.split(".")[0] not in OWN:
                try:
                    importlib.import_module(name)
                except Exception:  # some exist only under the name of another
                    continue


class _Said:
    """What a child says, through a pipe: a file would be cut by the limit on sizes of files."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._bytes, self.first = b"", 0.0

    def read(self) -> None:
        """Take what is there."""
        try:
            while piece := os.read(self._reader, 1 << 16):
                self._bytes += piece
                self.first = self.first or time.monotonic()
        except BlockingIOError:
            pass

    def close(self) -> str:
        """All of it."""
        self.read()
        os.close(self._reader)
        return self._bytes.decode(errors="replace")


def _child(
    words: Sequence[str], folder: Path, fault: Fault, setup: Setup | None, file: Path, marks: int
) -> None:
    """Never returns; `file` takes what a run that is not struck counted, `marks` a byte as the command begins and ends."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    watch, code = Watch(str(folder), fault), 1
    try:
        watch.begin()
        code = _call(words, watch, setup, marks)
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:
        traceback.print_exc()
    try:
        if watch.fault.kind == "none":
            about = {"moves": watch.num_moves, "openings": watch.num_openings}
            file.write_text(json.dumps(about | {"modules": list(sys.modules)}))
        # what the interpreter does at its end
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _call(words: Sequence[str], watch: Watch, setup: Setup | None, marks: int) -> int:
    """The command, as `python -m` calls it: `moon_rec.command.run` around its module's `main`."""
    module, *argv = words
    sys.argv = [module, *argv]
    command: Any = importlib.import_module("moon_rec.command")
    if module == "moon_rec":
        door: Any = importlib.import_module("moon_rec.__main__")
        main = importlib.import_module(door.COMMANDS[argv[0]][0]).main
        argv = argv[1:]
    else:
        try:
            main = importlib.import_module(f"{module}.__main__").main
        except ModuleNotFoundError:
            main = importlib.import_module(module).main
    watch.wrap_exchange()
    if setup is not None:
        setup()
    further: dict[str, Any] = {}
    if "words" in inspect.signature(command.run).parameters:
        further = {"words": ["python", "-m", *words], "is_process": True}
    os.write(marks, b"b")
    try:
        return command.run(main, argv, **further)
    finally:
        os.write(marks, b"e")


def words_of(command: str) -> list[str] | None:
    """The words after `python -m` of a command as a line names it; None where it is none of ours."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return words[2:] if len(words) > 2 and words[1] == "-m" else None


def _end_others(session: int, patience: float) -> int:
    """How many processes of the session live on after `patience` seconds; they are ended."""
    until = time.monotonic() + patience
    while (left := _members(session)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(left)


def _members(session: int) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(entry))
    return found
