"""Where tables are printed."""

from collections.abc import Iterable

from rich.console import Console

from moon_rec.shown import as_console_text

PLAIN_WIDTH = 120
"""Columns where no terminal says how wide it is."""


def table_console() -> Console:
    """Standard output, as wide as its terminal, or `PLAIN_WIDTH` columns where it is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Each on a line of its own, however long, as plain text."""
    for line in lines:
        console.print(as_console_text(line), soft_wrap=True)
