"""How long the rest of a study will take.

Every cell has an expected cost in seconds on a machine like the one it was measured on. As cells finish, what they really took corrects the others of their
kind, and of all kinds; the time left is the longer of the remaining work shared among the workers and the longest chain of cells that need one another.
"""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from moon_rec.progress import Bar

if TYPE_CHECKING:
    from exchange_rate.study.schedule import Cell

PERCENT = 100
SECONDS_OF_FAITH = 20.0
"""What the expected costs count for against what cells of other kinds really took: the first ones also import their libraries."""


class Clock:
    """How long the rest of a study will take."""

    def __init__(self, cells: Iterable["Cell"], workers: int):
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
