"""Batches made ahead of the step that needs them, in a thread, so that a step does not wait for its data.

Notable choices:
- One thread and a bounded queue: memory holds `ahead` batches besides the one in use, and a training that stops early leaves nothing running.
- The batches are those that `Batches.make` gives for each step, in order: the thread changes no bit, and a resumed training starts it at its own step.
- The thread shares the cores with the step. Its work is a small part of a step's (benchmarks/loader.py), and what takes time in it lets other threads of
  Python run; on a GPU, where the step leaves the cores alone, it costs nothing.
- Only where a core is free for it, or a GPU does the steps: where the step's threads take all cores they wait for the one that shares its core. On two cores, two
  threads, the steps a second were .85 of those on cached batches with the thread, .95 without; with one thread for the step, .94 to .98 with it.
- It computes with one core: torch's own threads, started for it besides those of the step, would stand in each other's way.
"""

import os
import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

import torch

from representation.training.stage import Maker

AHEAD = 2
SECONDS_BETWEEN_LOOKS = 0.2


def has_room() -> bool:
    """Whether a core is left beside the threads of a step, or a GPU does the step."""
    return torch.cuda.is_available() or torch.get_num_threads() < (os.cpu_count() or 1)


OneBatch = TypeVar("OneBatch")


class PrefetchingLoader(Generic[OneBatch]):
    """The batches of steps `first` to `steps - 1`, each made once, up to `ahead` of them before they are asked for.

    Iterate once, or as a context manager to stop the thread on every way out:

        with PrefetchingLoader(batches, steps, first) as loader:
            for step, batch in enumerate(loader, first): ...

    What making a batch raises is raised in the iteration, in that batch's place.

    Args:
        ahead: batches that wait at most; 0 makes each as it is asked for, without a thread; None: `AHEAD` where there is room for the thread, else 0.
    """

    def __init__(
        self, batches: Maker[OneBatch], steps: int, first: int = 0, ahead: int | None = None
    ) -> None:
        if ahead is None:
            ahead = AHEAD if has_room() else 0
        self._batches, self._steps, self._first = batches, steps, first
        self._ready: queue.Queue[OneBatch | BaseException] = queue.Queue(max(ahead, 1))
        self._is_over, self._is_ready = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        if ahead and first < steps:
            self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
            self._start(self._thread)

    def __len__(self) -> int:
        return max(self._steps - self._first, 0)

    def __iter__(self) -> Iterator[OneBatch]:
        try:
            for step in range(self._first, self._steps):
                yield self._take(step)
        finally:
            self.close()

    def __enter__(self) -> "PrefetchingLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread, at the latest when the batch it is making is done; safe to call twice."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _take(self, step: int) -> OneBatch:
        if self._thread is None:
            return self._batches.make(step)
        found = self._next()
        if isinstance(found, BaseException):
            raise found
        return found

    def _next(self) -> OneBatch | BaseException:
        assert self._thread is not None
        while True:
            is_alive = self._thread.is_alive()
            try:
                return self._ready.get(timeout=SECONDS_BETWEEN_LOOKS)
            except queue.Empty:
                assert is_alive, "the thread ended with neither a batch nor an error"

    def _start(self, thread: threading.Thread) -> None:
        """torch keeps the number of its threads for each thread that calls it, but new ones, and MKL, go by what was set last: so it is set here again."""
        num_threads = torch.get_num_threads()
        thread.start()
        self._is_ready.wait()
        torch.set_num_threads(num_threads)

    def _work(self) -> None:
        torch.set_num_threads(1)
        self._is_ready.set()
        try:
            for step in range(self._first, self._steps):
                if self._is_over.is_set():
                    return
                self._give(self._batches.make(step))
        except BaseException as error:  # to be raised where the batch is asked for
            self._give(error)

    def _give(self, found: OneBatch | BaseException) -> None:
        while not self._is_over.is_set():
            try:
                self._ready.put(found, timeout=SECONDS_BETWEEN_LOOKS)
                return
            except queue.Full:
                continue
