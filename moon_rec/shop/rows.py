"""Rules of single rows and of keys, each table in one streaming pass however many rules its rows break."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import polars as pl

from moon_rec.shop.problem import Problem, first_of
from moon_rec.shop.readings import TableReader
from moon_rec.shop.schema import KEYS, TABLES
from moon_rec.values import FIRST_YEAR, LAST_YEAR, Rule

KEYS_AT_A_TIME = 4_000_000
ROW = "row of the file"


@dataclass(frozen=True)
class _RowRule:
    """A rule that a row can break.

    Attributes:
        needs: the columns that it reads; where one is missing the rule is skipped.
        rule: its `bad` reads the table as it is read, or the column as it was found (`is_raw`).
        is_told: the row is handled, and that is said, instead of refused.
    """

    column: str
    needs: tuple[str, ...]
    rule: Rule
    is_raw: bool = False
    is_told: bool = False


def row_problems(reader: TableReader, nullable: Collection[str] = ()) -> Iterator[Problem]:
    """All rules that a row alone can break: of types, of null, and of what the columns mean; rows that are handled are `is_told`.

    Args:
        nullable: columns that may be null here, besides those that the schema says.
    """
    rules = _rules(reader, nullable)
    if not rules:
        return
    read = [
        found.value.alias(name)
        for name, found in reader.readings.items()
        if found.value is not None
    ]
    of_column = [
        rule.rule.bad.alias(f"bad {index}") for index, rule in enumerate(rules) if rule.is_raw
    ]
    frame = reader.raw.with_row_index(ROW).select(ROW, *read, *of_column)
    wanted = []
    for index, rule in enumerate(rules):
        bad = pl.col(f"bad {index}") if rule.is_raw else rule.rule.bad
        bad = bad.fill_null(False)
        first = pl.when(bad).then(pl.col(ROW)).min()
        wanted += [bad.sum().alias(f"count {index}"), first.alias(f"first {index}")]
    found = frame.select(wanted).collect(engine="streaming").row(0, named=True)
    for index, rule in enumerate(rules):
        if found[f"count {index}"]:
            yield _problem(reader, rule, found[f"first {index}"], found[f"count {index}"])


def _problem(reader: TableReader, rule: _RowRule, row: int, count: int) -> Problem:
    first = reader.raw.slice(row, 1).select(rule.rule.value).collect().item()
    first = first.to_list() if isinstance(first, pl.Series) else first
    source = reader.raw if rule.is_raw else reader.frame
    rows = source.with_row_index("row").filter(rule.rule.bad.fill_null(False))
    return Problem(
        reader.table,
        rule.rule.rule,
        rule.rule.mend_of(first),
        rule.column,
        row,
        first,
        count,
        rows.select("row", value=rule.rule.value),
        rule.is_told,
    )


def _rules(reader: TableReader, nullable: Collection[str]) -> list[_RowRule]:
    rules = []
    for column in TABLES[reader.table]:
        if column.name not in reader.readings:
            continue
        found, name = reader.readings[column.name], column.name
        if not column.nullable and name not in nullable:
            mend = f"give every row a value; {column.stand_in}"
            null = Rule(pl.col(name), pl.col(name).is_null(), "is null", mend)
            rules.append(_RowRule(name, (name,), null, is_raw=True))
        rules += [_RowRule(name, (name,), rule, is_raw=True) for rule in found.broken]
        rules += [_RowRule(name, (name,), rule, True, True) for rule in found.told]
    readable = {name for name, found in reader.readings.items() if found.value is not None}
    further = _FURTHER_RULES.get(reader.table, [])
    return rules + [rule for rule in further if readable.issuperset(rule.needs)]


def _rule(column: str, bad: pl.Expr, rule: str, mend: str, *needs: str) -> _RowRule:
    return _RowRule(column, (column, *needs), Rule(pl.col(column), bad, rule, mend))


def _nameless_attribute() -> pl.Expr:
    element = pl.element().struct
    nameless = element.field("name").is_null() | element.field("value").is_null()
    return pl.col("attributes").list.eval(nameless).list.any()


def _moment() -> _RowRule:
    years = datetime(FIRST_YEAR, 1, 1), datetime(LAST_YEAR, 12, 31, 23, 59, 59)
    rule = f"is outside the years {FIRST_YEAR} to {LAST_YEAR}"
    mend = "write when it happened; were seconds or milliseconds read as something else?"
    return _rule("time", ~pl.col("time").is_between(*years), rule, mend)


def _taken_without_a_click() -> list[_RowRule]:
    mend = "set clicked to true, for a product that was taken was of interest"
    return [
        _rule(name, pl.col(name) & ~pl.col("clicked"), "is without a click", mend, "clicked")
        for name in ("carted", "purchased")
    ]


_PRICE = "give the price or null"

_FURTHER_RULES: dict[str, list[_RowRule]] = {
    "items": [
        _rule("price", ~pl.col("price").is_finite(), "is not finite", _PRICE),
        _rule("price", pl.col("price") < 0, "is negative", _PRICE),
        _rule(
            "attributes",
            _nameless_attribute(),
            "has a null name or value",
            "leave that attribute out",
        ),
    ],
    "searches": [
        _moment(),
        _rule(
            "query_text",
            pl.col("query_text").is_null() & pl.col("query_image").is_null(),
            "is empty and query_image is null",
            "give one of them, or drop the search and make its impressions' search_id null",
            "query_image",
        ),
    ],
    "impressions": [
        _moment(),
        _rule("position", pl.col("position") < 0, "is negative", "count positions from 0"),
        *_taken_without_a_click(),
    ],
    "events": [
        _moment(),
        _rule(
            "clicked",
            ~(pl.col("clicked") | pl.col("carted") | pl.col("purchased")),
            "is false, and so are carted and purchased, so nothing was done",
            "drop the row; what was shown and not clicked is an impression",
            "carted",
            "purchased",
        ),
        *_taken_without_a_click(),
    ],
    "truth": [
        _rule(
            "click_probability",
            ~pl.col("click_probability").is_between(0, 1),
            "is outside 0 to 1",
            "give a probability",
        )
    ],
}


def key_problems(reader: TableReader) -> Iterator[Problem]:
    """Rows whose key an earlier row has. Keys are taken a residue class at a time, so that memory stays bounded."""
    keys = list(KEYS[reader.table])
    if any(name not in reader.readings or reader.readings[name].value is None for name in keys):
        return
    frame = reader.frame.select(keys)
    num_parts = 1 + frame.select(pl.len()).collect().item() // KEYS_AT_A_TIME
    numbered = frame.with_row_index("row").drop_nulls(keys)
    copied = [
        numbered.filter(pl.col(keys[0]) % num_parts == part)
        .group_by(keys)
        .agg(first=pl.col("row").min(), copies=pl.len())
        .filter(pl.col("copies") > 1)
        .select(*keys, "first")
        .collect(engine="streaming")
        for part in range(num_parts)
    ]
    copies = pl.concat(copied)
    if not copies.height:
        return
    again = numbered.join(copies.lazy(), on=keys).filter(pl.col("row") > pl.col("first"))
    column, value = keys[0], pl.col(keys[0])
    if len(keys) > 1:
        column, value = f"({', '.join(keys)})", pl.format(", ".join(["{}"] * len(keys)), *keys)
    for problem in first_of(again, reader.table, "is duplicated", "make it unique", column, value):
        first = again.filter(pl.col("row") == problem.row).select("first").collect().item()
        yield replace(problem, rule=f"is duplicated: row {first} has it too")
