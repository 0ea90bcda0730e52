"""Where tables are printed."""

from rich.console import Console

PLAIN_WIDTH = 120
"""Columns where no terminal says how wide it is."""


def table_console() -> Console:
    """Standard output, as wide as its terminal, or `PLAIN_WIDTH` columns where it is none."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)
