"""A broken rule, told so that its owner can find the row and mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.own_ids import KINDS, Kind, OwnNames
from moon_rec.shop.schema import FILES
from moon_rec.values import shown


@dataclass(frozen=True)
class Problem:
    """One broken rule of a shop's tables.

    Attributes:
        row: of the first row that breaks the rule, from 0 in file order.
        value: what stands there.
        count: how many rows break it.
        rows: `row` and `value` of all of them, where a table's rows can break the rule.
        is_told: the rows are no fault: they are handled as `mend` says.
    """

    table: str
    rule: str
    mend: str
    column: str | None = None
    row: int | None = None
    value: object = None
    count: int = 1
    rows: pl.LazyFrame | None = field(default=None, compare=False, repr=False)
    is_told: bool = False

    def __str__(self) -> str:
        place = self.table if self.column is None else f"{self.table}.{self.column}"
        if self.row is not None:
            place += f" row {self.row}: {shown(self.value)}"
        else:
            place += ":"
        others = f" ({self.count:,} rows do)" if self.count > 1 else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{place} {self.rule}{others}{mend}"

    @property
    def file(self) -> str:
        """The file it is in, relative to the folder of the tables."""
        return FILES.get(self.table, self.table)


def under_own_id(problem: Problem, folder: Path) -> Problem:
    """The same problem with the id that breaks the rule as the user of the folder's shop calls it, where own ids are kept and this is one."""
    kinds: dict[str | None, Kind] = {f"{kind}_id": kind for kind in KINDS}
    if problem.column not in kinds or not isinstance(problem.value, int):
        return problem
    names = OwnNames.of(folder, kinds[problem.column])
    return replace(problem, value=names.own_or_number(problem.value))


def raise_all(folder: Path, problems: Iterable[Problem]) -> None:
    """Raise all problems, if any.

    Raises:
        ShopError: one line that names every problem and the file it is in.
    """
    found = list(problems)
    if len(found) == 1:
        is_of_table = found[0].table in FILES
        raise ShopError(f"{folder / found[0].file if is_of_table else folder}: {found[0]}")
    if found:
        raise ShopError(f"{folder}: {in_one_line(found)}")


def in_one_line(problems: Sequence[Problem]) -> str:
    """All problems, each with its file; several are numbered."""
    each = [f"{f'{found.file}: ' * (found.table in FILES)}{found}" for found in problems]
    if len(each) == 1:
        return each[0]
    numbered = " | ".join(f"({number}) {line}" for number, line in enumerate(each, start=1))
    return f"{len(each)} broken rules: {numbered}"


def first_of(
    broken: pl.LazyFrame, table: str, rule: str, mend: str, column: str, value: pl.Expr
) -> list[Problem]:
    """The rows of `broken` as one problem, or none where it is empty.

    Args:
        broken: rows that break the rule, `row` among the columns.
        value: what of them is shown.
    """
    rows = broken.select("row", value=value)
    found = rows.select(
        pl.col("row").min(), pl.col("value").get(pl.col("row").arg_min()), count=pl.len()
    ).collect(engine="streaming")
    if found.height == 0 or not found["count"][0]:
        return []
    row, first, count = found.rows()[0]
    return [Problem(table, rule, mend, column, row, first, count, rows)]
