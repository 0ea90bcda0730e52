"""A broken rule, told so that its owner can find the row and mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from moon_rec.errors import ShopError

LONGEST_VALUE = 60
"""Characters of a value that are shown; pictures and descriptions can be long."""


@dataclass(frozen=True)
class Problem:
    """One broken rule of a shop's tables.

    `row` counts from 0 in file order; `count` says how many rows break the rule, the first of which is shown.
    """

    table: str
    rule: str
    mend: str
    column: str | None = None
    row: int | None = None
    value: object = None
    count: int = 1

    def __str__(self) -> str:
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        if self.row is not None:
            place += f" row {self.row}: {_show(self.value)}"
        else:
            place += ":"
        others = f" ({self.count:,} rows do)" if self.count > 1 else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{place} {self.rule}{others}{mend}"


def raise_first(folder: Path, problems: Iterable[Problem]) -> None:
    """Raise the first problem, if any, with the count of the others.

    Raises:
        ShopError: one line.
    """
    found = list(problems)
    if not found:
        return
    others = len(found) - 1
    more = f" (and {others} more broken rule{'s' * (others > 1)})" if others else ""
    raise ShopError(f"{folder}: {found[0]}{more}")


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = " ".join((repr(value) if isinstance(value, str) else str(value)).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
