"""Which rules the values of a table break: all rules in one pass, each with its first row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.readers.interactions.files import Source
from moon_rec.values import Rule, shown


@dataclass(frozen=True)
class BrokenRule:
    """A rule that rows of a column break: how many, the first of them, and its value."""

    column: str
    rule: Rule
    count: int
    row: int
    value: object

    def told(self, source: Source) -> str:
        """File, column, row, value, how many, and how to mend it."""
        file, row = source.place(self.row)
        others = f" ({self.count:,} rows do)" * (self.count > 1)
        return f"{file}: {self.column} row {row}: {shown(self.value)} {self.rule.rule}{others}; {self.rule.mend_of(self.value)}"


def find_broken(
    source: Source, frame: pl.LazyFrame, rules: Sequence[tuple[str, Rule]], row: pl.Expr
) -> tuple[int, list[BrokenRule | None]]:
    """The number of rows, and for each rule what breaks it, None where nothing does.

    Args:
        frame: rows of the source. rules: (column, rule). row: the row of the source that each is of.
    """
    wanted: list[pl.Expr] = [pl.len().alias("rows")]
    for number, (_, rule) in enumerate(rules):
        bad = rule.bad.fill_null(False)
        wanted += [
            bad.sum().alias(f"count {number}"),
            pl.when(bad).then(row).min().alias(f"row {number}"),
            rule.value.filter(bad).first().alias(f"value {number}"),
        ]
    found = source.collect(frame.select(wanted)).row(0, named=True)
    broken = [
        BrokenRule(column, rule, found[f"count {n}"], found[f"row {n}"], found[f"value {n}"])
        if found[f"count {n}"]
        else None
        for n, (column, rule) in enumerate(rules)
    ]
    return found["rows"], broken


def refuse(source: Source, broken: Iterable[BrokenRule | None]) -> None:
    """Raise a ShopError of one line where a rule is broken, with every rule that is."""
    lines = [each.told(source) for each in broken if each is not None]
    if lines:
        raise ShopError(" | ".join(lines))
