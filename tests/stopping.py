"""Stop a command in a process of its own at a chosen moment, and hear its last words."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (below 0: killed by that signal), what it said, and the seconds from the signal to its end."""

    code: int
    errors: str
    seconds: float

    @property
    def last(self) -> str:
        """The last line on stderr."""
        return (self.errors.splitlines() or [""])[-1]


def start(words: Sequence[str], errors: Path, **environment: str) -> subprocess.Popen[bytes]:
    """Run `python -m WORDS`, with stderr in a file."""
    with open(errors, "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            stderr=file,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            preexec_fn=_hear_all,  # noqa: PLW1509
        )


def stop_when(
    is_time: Callable[[], bool],
    words: Sequence[str],
    errors: Path,
    signum: signal.Signals = signal.SIGTERM,
    **environment: str,
) -> Ended:
    """Run `python -m WORDS` and send it a signal once `is_time` says so."""
    child = start(words, errors, **environment)
    try:
        wait_for(is_time, child, errors)
        child.send_signal(signum)
        sent = time.monotonic()
        code = child.wait(60)
        return Ended(code, errors.read_text(), time.monotonic() - sent)
    finally:
        child.kill()
        child.wait()


def wait_for(
    is_time: Callable[[], bool],
    child: subprocess.Popen[bytes] | None = None,
    errors: Path | None = None,
) -> None:
    """Until `is_time`, while `child` lives."""
    limit = time.monotonic() + START_SECONDS
    while not is_time():
        said = errors.read_text() if errors else ""
        assert child is None or child.poll() is None, f"ended before its time: {said}"
        assert time.monotonic() < limit, f"waited too long: {said}"
        time.sleep(0.02)


def _hear_all() -> None:
    """A shell's background jobs ignore Ctrl-C: not these."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
