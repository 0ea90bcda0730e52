"""Runs the cells of a study in order of what they need, some at a time, with the time left over all of them.

Every cell has an expected cost in seconds on a machine like the one it was measured on. As cells finish, what they really took corrects the others of their
kind, and of all kinds; the time left is the longer of the remaining work shared among the workers and the longest chain of cells that need one another.
"""

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from exchange_rate.cells import CellResult, CellSpec, run_cell
from moon_rec.errors import StudyError
from moon_rec.progress import Bar, progress

SECONDS_BETWEEN_LOOKS = 0.5
PERCENT = 100
SECONDS_OF_FAITH = 20.0
"""What the expected costs count for against what cells of other kinds really took: the first ones also import their libraries."""

Finished = Mapping[str, tuple[CellSpec, CellResult]]


@dataclass(frozen=True)
class Cell:
    """A cell to run.

    Attributes:
        name: unique in the study.
        kind: as in `exchange_rate.cells.KINDS`.
        needs: names of the cells that must be finished before.
        make: the specification, from the finished cells it needs.
        cost: expected seconds.
    """

    name: str
    kind: str
    needs: tuple[str, ...]
    make: Callable[[Finished], CellSpec]
    cost: float


def run_cells(
    cells: Iterable[Cell],
    folder: str,
    workers: int,
    num_threads: int,
    known: Callable[[CellSpec], CellResult | None],
    keep: Callable[[CellSpec, CellResult], None],
) -> dict[str, tuple[CellSpec, CellResult]]:
    """Run all cells and give them back by name, in the order given.

    Args:
        folder: where the cells' folders are.
        workers: processes; 1 runs every cell in this one.
        known: the result of a finished cell, which is then not run; None where it has to run.
        keep: told of every result, known or new, in this process.

    Raises:
        StudyError: a cell failed; those that run beside it are let finish, none is begun.
    """
    cells = list(cells)
    with progress("study, % of its time", PERCENT) as bar, _pool(workers) as pool:
        run = _Run(cells, folder, num_threads, workers, pool, bar)
        while run.waiting or run.running:
            if not run.begin_one(known, keep):
                run.wait(keep)
    return {cell.name: run.finished[cell.name] for cell in cells}


class _Run:
    """What waits, what runs, what is finished."""

    def __init__(
        self,
        cells: list[Cell],
        folder: str,
        num_threads: int,
        workers: int,
        pool: ProcessPoolExecutor | None,
        bar: Bar,
    ):
        self.waiting = {cell.name: cell for cell in cells}
        self.running: dict[Future[CellResult], tuple[Cell, CellSpec]] = {}
        self.finished: dict[str, tuple[CellSpec, CellResult]] = {}
        self._folder, self._num_threads, self._workers = folder, num_threads, workers
        self._pool, self._bar, self._num_cells = pool, bar, len(cells)
        self._clock = Clock(cells, workers)

    def begin_one(
        self,
        known: Callable[[CellSpec], CellResult | None],
        keep: Callable[[CellSpec, CellResult], None],
    ) -> bool:
        """Take up the ready cell with the longest chain behind it; False where none is ready or all workers are busy."""
        if len(self.running) >= self._workers or (cell := self._next()) is None:
            return False
        del self.waiting[cell.name]
        spec = cell.make(self.finished)
        result = known(spec)
        if result is not None:
            self._take(cell, spec, result, keep, is_new=False)
            return True
        self._clock.begin(cell.name)
        self._show()
        if self._pool is None:
            result = run_cell(spec, self._folder, self._num_threads, log_to_file=False)
            self._take(cell, spec, result, keep, is_new=True)
        else:
            future = self._pool.submit(run_cell, spec, self._folder, self._num_threads)
            self.running[future] = (cell, spec)
        return True

    def wait(self, keep: Callable[[CellSpec, CellResult], None]) -> None:
        """Wait a little for a running cell, and take what is done."""
        done, _ = wait(self.running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        for future in done:
            cell, spec = self.running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                raise StudyError(
                    f"a worker process died while it ran {cell.name!r}, perhaps for want of memory; run again with --workers 1 "
                    "(finished cells are kept)"
                ) from None
            self._take(cell, spec, result, keep, is_new=True)
        self._show()

    def _next(self) -> Cell | None:
        chains = self._clock.chains()
        ready = [
            cell
            for cell in self.waiting.values()
            if all(need in self.finished for need in cell.needs)
        ]
        return max(ready, key=lambda cell: chains[cell.name], default=None)

    def _take(
        self,
        cell: Cell,
        spec: CellSpec,
        result: CellResult,
        keep: Callable[[CellSpec, CellResult], None],
        is_new: bool,
    ) -> None:
        keep(spec, result)
        self.finished[cell.name] = (spec, result)
        self._clock.finish(cell.name, result.seconds if is_new else None)
        self._show()

    def _show(self) -> None:
        self._clock.show(self._bar, len(self.finished), self._num_cells)


class Clock:
    """How long the rest of a study will take."""

    def __init__(self, cells: Iterable[Cell], workers: int):
        self._cells = {cell.name: cell for cell in cells}
        self._workers = workers
        self._begun: dict[str, float] = {}
        self._left = set(self._cells)
        self._took: dict[str, list[tuple[float, float]]] = {}
        self._start = time.monotonic()
        self._after: dict[str, list[str]] = {name: [] for name in self._cells}
        for cell in self._cells.values():
            for need in cell.needs:
                self._after[need].append(cell.name)
        self._shown = 0

    def begin(self, name: str) -> None:
        """A cell starts now."""
        self._begun[name] = time.monotonic()

    def finish(self, name: str, seconds: float | None) -> None:
        """A cell is finished; `seconds` is None for one that did not have to run."""
        self._left.discard(name)
        self._begun.pop(name, None)
        if seconds is not None:
            cell = self._cells[name]
            self._took.setdefault(cell.kind, []).append((cell.cost, seconds))

    def expected(self, name: str) -> float:
        """Seconds a cell will take in all, corrected by those that have finished."""
        cell = self._cells[name]
        own = self._took.get(cell.kind)
        if own:
            return cell.cost * sum(took for _, took in own) / sum(cost for cost, _ in own)
        others = [pair for pairs in self._took.values() for pair in pairs]
        cost, took = (sum(pair[place] for pair in others) for place in (0, 1))
        return cell.cost * (took + SECONDS_OF_FAITH) / (cost + SECONDS_OF_FAITH)

    def remaining(self, name: str) -> float:
        """Seconds a cell still needs; a late one is always about to end."""
        if name not in self._left:
            return 0.0
        seconds = self.expected(name)
        if name in self._begun:
            return max(seconds - (time.monotonic() - self._begun[name]), 0.05 * seconds)
        return seconds

    def chains(self) -> dict[str, float]:
        """For each unfinished cell the seconds of the longest chain that starts with it."""
        lengths: dict[str, float] = {}

        def length(name: str) -> float:
            if name not in lengths:
                after = max((length(other) for other in self._after[name]), default=0.0)
                lengths[name] = self.remaining(name) + after
            return lengths[name]

        return {name: length(name) for name in self._cells if name in self._left}

    def left(self) -> float:
        """Seconds until all is done."""
        work = sum(self.remaining(name) for name in self._left) / self._workers
        return max(work, max(self.chains().values(), default=0.0))

    def show(self, bar: Bar, num_finished: int, num_cells: int) -> None:
        """Move the bar, back too, to the share of the time that has passed: what it says is left is then what is expected."""
        passed, left = time.monotonic() - self._start, self.left()
        share = passed / max(passed + left, 1e-9)
        percent = min(int(PERCENT * share), PERCENT - 1) if self._left else PERCENT
        note = f"{num_finished} of {num_cells} cells"
        if self._begun:
            note += f"; now {', '.join(self._begun)}"
        bar.advance(percent - self._shown, note=note)
        self._shown = percent


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool of fresh processes, or None for one worker; when the block fails, cells not begun are dropped."""
    if workers == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _leave_with, (os.getpid(),))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_with(parent: int) -> None:
    """In a worker: end when the parent has gone, however it went; else a killed study would leave its workers behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
