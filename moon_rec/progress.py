"""Progress on stderr: a live bar with time left on a terminal, a plain line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from moon_rec.shown import as_console_text

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0
_console = Console(stderr=True)


def say(text: str) -> None:
    """Say in a line what is being done."""
    if not _SILENT:
        _console.print(as_console_text(text), soft_wrap=True)


class Bar:
    """What `progress` yields: call `advance` as work gets done."""

    def __init__(self, description: str, total: int | None):
        self.description, self.total, self.done, self.note = description, total, 0, ""
        self._start = self._last = time.monotonic()

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count `count` more as done; `note`, such as a loss, stands behind the bar."""
        self.done += count
        if note is not None:
            self.note = note
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES and not _SILENT:
            self._last = now
            print(self._line(now - self._start), file=sys.stderr, flush=True)

    def _line(self, elapsed: float) -> str:
        of_total = f"/{self.total:,}" if self.total else ""
        line = f"{self.description}: {self.done:,}{of_total}, {_clock(elapsed)}"
        if self.total and self.done:
            left = elapsed * max(self.total - self.done, 0) / self.done
            line += f", {_clock(left)} left"
        return f"{line}  {self.note}".rstrip()


class _LiveBar(Bar):
    def __init__(self, description: str, total: int | None, live: Progress):
        super().__init__(description, total)
        self._live = live
        self._task = live.add_task(description, total=total, note="")

    def _show(self) -> None:
        self._live.update(self._task, completed=self.done, note=self.note)


@contextlib.contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Bar]:
    """Show the progress of a block of work; see `Bar.advance`. A bar inside another's block is shown as plain lines."""
    if not _console.is_terminal or _LIVE or _SILENT:
        yield Bar(description, total)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=_console) as live:
        _LIVE.append(live)
        try:
            yield _LiveBar(description, total, live)
        finally:
            _LIVE.remove(live)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Neither `say` nor `progress` show anything within the block: for all but one of many processes that do the same."""
    _SILENT.append(True)
    try:
        yield
    finally:
        _SILENT.pop()


def track(iterable: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate with progress, one step an item."""
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # type: ignore[arg-type]
    with progress(description, total) as bar:
        for item in iterable:
            yield item
            bar.advance()


_LIVE: list[Progress] = []
_SILENT: list[bool] = []


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
