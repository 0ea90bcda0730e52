"""Batches made ahead of the step that needs them, in threads, so that a step does not wait for its data.

Notable choices:
- A bounded number: memory holds `ahead` batches besides the one in use, and a training that stops early leaves nothing running.
- The batches are those that `make` gives for each step, in order: threads change no bit, and a resumed training starts them at its own step.
- A thread shares the cores with the step. Its work is a small part of a step's (benchmarks/loader.py), and what takes time in it lets other threads of
  Python run.
- Only where a core is free for it, or a GPU does the steps: where the step's threads take all cores they wait for the one that shares its core. On two cores, two
  threads, the steps a second were .85 of those on cached batches with the thread, .95 without; with one thread for the step, .94 to .98 with it.
- It computes with one core: torch's own threads, started for it besides those of the step, would stand in each other's way.
- For a GPU the thread has a stream of its own, on which pictures travel as bytes from pinned memory, are altered and cut while the last step runs; the step's
  stream waits for that alone. What is left for the processor is who is who, and rows of tokens. Processes would add nothing that a stream does not: what took
  most of a batch's time is no longer the processor's, and polars, which draws pairs, must not be forked.
"""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

import torch

from representation.training.stage import Maker

AHEAD = 2


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
        device: a GPU to move each batch to, on a stream beside the step's; None, or a processor: batches stay as they are made.
    """

    def __init__(
        self,
        batches: Maker[OneBatch],
        steps: int,
        first: int = 0,
        ahead: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        if ahead is None:
            ahead = AHEAD if has_room() else 0
        self._batches, self._steps, self._first = batches, steps, first
        self._ahead, self._side = ahead, _SideStream(device)
        self._coming: deque[Future[tuple[OneBatch, Any]]] = deque()
        self._thread = _one_core_thread() if ahead and first < steps else None

    def __len__(self) -> int:
        return max(self._steps - self._first, 0)

    def __iter__(self) -> Iterator[OneBatch]:
        try:
            for step in range(self._first, self._steps):
                made = self._make(step) if self._thread is None else self._next(step)
                yield self._side.taken(made)
        finally:
            self.close()

    def __enter__(self) -> "PrefetchingLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread, at the latest when the batch it is making is done; safe to call twice."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None

    def _make(self, step: int) -> tuple[OneBatch, Any]:
        with self._side.making():
            return self._side.made(self._batches.make(step))

    def _next(self, step: int) -> tuple[OneBatch, Any]:
        """The batch of a step, once those that may be made ahead are asked for."""
        assert self._thread is not None
        last = min(step + self._ahead, self._steps - 1)
        for later in range(step + len(self._coming), last + 1):
            self._coming.append(self._thread.submit(self._make, later))
        return self._coming.popleft().result()


def _one_core_thread() -> ThreadPoolExecutor:
    """A thread in which torch computes with one core.

    torch keeps the number of its threads for each thread that has asked for it, but new ones, and MKL, go by what was set last: so it is asked for there, and set
    here again.
    """
    num_threads = torch.get_num_threads()
    thread = ThreadPoolExecutor(1, "batches")
    for settle in (torch.get_num_threads, lambda: torch.set_num_threads(1)):
        thread.submit(settle).result()
    torch.set_num_threads(num_threads)
    return thread


class _SideStream:
    """A GPU's stream on which batches are made ready beside the step; elsewhere nothing happens."""

    def __init__(self, device: torch.device | None) -> None:
        self._device = device if device is not None and device.type == "cuda" else None
        self._stream = torch.cuda.Stream(self._device) if self._device is not None else None

    def making(self) -> AbstractContextManager[Any]:
        """What is asked of the GPU within the block goes on the side stream."""
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()

    def made(self, batch: Any) -> tuple[Any, Any]:
        """The batch on the device, and when it is there."""
        if self._stream is None:
            return batch, None
        return batch.to(self._device), self._stream.record_event()

    def taken(self, made: tuple[Any, Any]) -> Any:
        """The batch, for the step that begins: its stream waits for the batch, and what is made from here on waits for the steps so far, whose batches' memory it may take."""
        batch, is_there = made
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(is_there)
            self._stream.wait_event(current.record_event())
        return batch
