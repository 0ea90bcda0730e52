"""The processes that cells run in: fresh ones, which end with their parent, are ended when it is stopped, and are made anew when one dies."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_END = 5.0
"""What a process that was told to end is given; then it is killed."""


class Workers:
    """`count` processes, begun with the first task.

    Args:
        count: processes.
        function: what each task runs, in a process of its own; it and its arguments travel there by pickle.
    """

    def __init__(self, count: int, function: Callable[..., Any]):
        self._count, self._function = count, function
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, *arguments: Any) -> "Future[Any]":
        """Begin a task. Its future raises `BrokenProcessPool` where a process died, of this task or of another that ran beside it."""
        try:
            return self._begun().submit(self._function, *arguments)
        except BrokenProcessPool:  # one died while it had nothing to do
            self.renew()
            return self._begun().submit(self._function, *arguments)

    def renew(self) -> None:
        """Drop processes of which one has died: the others went with it."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def close(self, at_once: bool) -> None:
        """End all processes; `at_once` in the middle of their work, which their cells' folders can bear."""
        if self._pool is None:
            return
        if at_once:
            _end([*(self._pool._processes or {}).values()])
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None

    def _begun(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, _begin, (os.getpid(),))
        return self._pool


def _end(processes: list[Any]) -> None:
    for process in processes:
        process.terminate()
    end = time.monotonic() + SECONDS_TO_END
    for process in processes:
        process.join(max(end - time.monotonic(), 0))
        if process.is_alive():
            process.kill()


def _begin(parent: int) -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it has gone, however it went; else a killed study would leave its workers behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
