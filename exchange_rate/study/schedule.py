"""Runs the cells of a study in order of what they need, some at a time, with the time left over all of them.

A cell that fails is told at once and stops no other (`exchange_rate.study.failures`); cells that need it are not run, and say so. All cells are tried, even where the first ones fail
alike: whoever watches sees the first failure at once and may stop the study, and who comes back in the morning finds all that could be done.

A worker process that dies takes those beside it along. The cells that ran then are run again, one at a time: the one whose process dies while it is alone has failed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.cells import run_cell
from exchange_rate.study.clock import PERCENT, Clock
from exchange_rate.study.failures import CellError, Failure, not_run, one_line
from exchange_rate.study.workers import SECONDS_BETWEEN_LOOKS, Workers
from moon_rec.errors import StudyError
from moon_rec.progress import Bar, progress, say

Finished = Mapping[str, tuple[CellSpec, CellResult]]
Known = Callable[[CellSpec], CellResult | None]
Keep = Callable[[CellSpec, CellResult], None]


@dataclass(frozen=True)
class Cell:
    """A cell to run.

    Attributes:
        name: unique in the study.
        kind: as in `exchange_rate.study.cell_kinds.KINDS`.
        needs: names of the cells that come before.
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
    known: Known,
    keep: Keep,
) -> tuple[dict[str, tuple[CellSpec, CellResult]], list[Failure]]:
    """Run all cells and give back those that finished, by name, and the failures, both in the order given.

    Args:
        folder: where the cells' folders are.
        workers: processes; 1 runs every cell in this one.
        known: the result of a finished cell, which is then not run; None where it has to run.
        keep: told of every result, known or new, in this process.

    Raises:
        StudyError: the disk is full; nothing else is begun.
    """
    cells = list(cells)
    pool = Workers(workers, run_cell) if workers > 1 else None
    is_done = False
    try:
        with progress("study, % of its time", PERCENT) as bar:
            run = _Run(cells, folder, num_threads, workers, pool, bar)
            while run.waiting or run.running:
                if not run.begin_one(known, keep):
                    run.wait(keep)
        is_done = True
    finally:
        if pool is not None:
            pool.close(at_once=not is_done)
    finished = {cell.name: run.finished[cell.name] for cell in cells if cell.name in run.finished}
    return finished, run.failures(cells)


class _Run:
    """What waits, what runs, what is finished, what failed."""

    def __init__(
        self,
        cells: list[Cell],
        folder: str,
        num_threads: int,
        workers: int,
        pool: Workers | None,
        bar: Bar,
    ):
        self.waiting = {cell.name: cell for cell in cells}
        self.running: dict[Future[CellResult | CellError], tuple[Cell, CellSpec]] = {}
        self.finished: dict[str, tuple[CellSpec, CellResult]] = {}
        self.failed: dict[str, Failure] = {}
        self._alone: set[str] = set()
        self._folder, self._num_threads, self._workers = folder, num_threads, workers
        self._pool, self._bar, self._num_cells = pool, bar, len(cells)
        self._clock = Clock(cells, workers)

    def begin_one(self, known: Known, keep: Keep) -> bool:
        """Take up the ready cell with the longest chain behind it; False where none is ready or all workers are busy."""
        if len(self.running) >= self._workers or (cell := self._next()) is None:
            return False
        del self.waiting[cell.name]
        try:
            spec = cell.make(self.finished)
            result = known(spec)
        except Exception as error:
            self._fail(cell, CellError(one_line(error)))
            return True
        if result is not None:
            self._take(cell, spec, result, keep, is_new=False)
            return True
        self._clock.begin(cell.name)
        self._show()
        if self._pool is None:
            found = run_cell(spec, self._folder, self._num_threads, log_to_file=False)
            self._settle(cell, spec, found, keep)
        else:
            self.running[self._pool.submit(spec, self._folder, self._num_threads)] = (cell, spec)
        return True

    def wait(self, keep: Keep) -> None:
        """Wait a little for a running cell, and take what is done."""
        done, _ = wait(self.running, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        if any(isinstance(one.exception(), BrokenProcessPool) for one in done):
            done, _ = wait(self.running)  # all that ran beside it end now, too
        died = []
        for future in done:
            cell, spec = self.running.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                died.append((cell, spec))
            else:
                self._settle(cell, spec, _outcome(future), keep)
        if died:
            self._part(died)
        self._show()

    def failures(self, cells: Sequence[Cell]) -> list[Failure]:
        """All failures at the end, in the order of the cells, each after those it needs: only now is it known how many of these failed."""
        for cell in cells:
            if cell.name in self.failed and not self.failed[cell.name].is_own:
                self.failed[cell.name] = not_run(cell.name, cell.kind, self._lost(cell))
        return [self.failed[cell.name] for cell in cells if cell.name in self.failed]

    def _next(self) -> Cell | None:
        """The ready cell with the longest chain behind it; of cells that may have killed their process the first, once nothing else runs."""
        suspects = self._alone & self.waiting.keys()
        runs_alone = any(cell.name in self._alone for cell, _ in self.running.values())
        if runs_alone or (suspects and self.running):
            return None
        chains = self._clock.chains()
        ready = [
            cell
            for cell in self.waiting.values()
            if all(need in self.finished or need in self.failed for need in cell.needs)
            and (not suspects or cell.name in suspects)
        ]
        return max(ready, key=lambda cell: chains[cell.name], default=None)

    def _part(self, died: list[tuple[Cell, CellSpec]]) -> None:
        """Of cells whose processes died: the one that was alone has failed, several are run again one by one."""
        assert self._pool is not None
        self._pool.renew()
        if len(died) == 1:
            cell, spec = died[0]
            line = "its process died, killed perhaps for want of memory; try --workers 1, or a smaller batch"
            self._fail(cell, CellError(line), spec)
            return
        say(
            f"study: a process died beside {len(died) - 1} others; their cells run again, one at a time"
        )
        for cell, _ in died:
            self.waiting[cell.name] = cell
            self._alone.add(cell.name)

    def _settle(
        self, cell: Cell, spec: CellSpec, found: CellResult | CellError, keep: Keep
    ) -> None:
        if isinstance(found, CellResult):
            self._take(cell, spec, found, keep, is_new=True)
        else:
            self._fail(cell, found, spec)

    def _take(
        self, cell: Cell, spec: CellSpec, result: CellResult, keep: Keep, is_new: bool
    ) -> None:
        keep(spec, result)
        self.finished[cell.name] = (spec, result)
        self._alone.discard(cell.name)
        self._clock.finish(cell.name, result.seconds if is_new else None)
        self._drop()
        self._show()

    def _fail(self, cell: Cell, error: CellError, spec: CellSpec | None = None) -> None:
        """Keep and tell a failure.

        Raises:
            StudyError: it is the disk's, which is full for all.
        """
        folder = "" if spec is None else f"{self._folder}/{spec.kind}-{spec.key}"
        if error.stops:
            raise StudyError(
                f"the disk is full: cell {cell.name!r} ({folder}) stopped with {error.line}; {len(self.finished)} finished cells are kept: make room, then "
                "run the same command again"
            )
        self.failed[cell.name] = Failure(cell.name, cell.kind, error.line, folder=folder)
        self._alone.discard(cell.name)
        where = f" ({folder})" if folder else ""
        say(f"study: cell {cell.name!r}{where} failed: {error.line}; the others go on")
        self._clock.finish(cell.name, None)
        self._drop()
        self._show()

    def _drop(self) -> None:
        """Give up the cells that need one without a result, and those that need these."""
        while lost := [
            (cell, without) for cell in self.waiting.values() if (without := self._lost(cell))
        ]:
            for cell, without in lost:
                del self.waiting[cell.name]
                self.failed[cell.name] = not_run(cell.name, cell.kind, without)
                self._clock.finish(cell.name, None)

    def _lost(self, cell: Cell) -> list[Failure]:
        """Failures among what a cell needs."""
        return [self.failed[name] for name in cell.needs if name in self.failed]

    def _show(self) -> None:
        self._clock.show(self._bar, len(self.finished), self._num_cells)


def _outcome(future: Future[CellResult | CellError]) -> CellResult | CellError:
    error = future.exception()
    return future.result() if error is None else CellError(one_line(error))
