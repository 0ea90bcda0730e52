"""Every rule of a shop's tables, checked on a folder that may come from anyone and be larger than memory.

Notable choices
- One streaming pass a table for the rules that a row alone can break, one streaming group-by or join for each other rule;
  pictures are decoded a small batch at a time.
- A table with a structural fault (`structure.py`) is left out of the later rules, so one fault is told once.
- A cart or a purchase without a click is a broken rule: `clicked` is what the ranker learns, and a product that was bought
  was of interest. Set `clicked` where your log counts purchases from the list.
- A search needs a text or a picture; an impression outside any search has a null `search_id` instead.
- Only one table may be empty: `searches`, of a shop without searches.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.errors import ShopError
from moon_rec.progress import progress
from moon_rec.shop.integrity import promise_problems, reason_of, unread_problems
from moon_rec.shop.log_rules import doubled_problems, silent_periods
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.pictures import decode
from moon_rec.shop.problem import Problem
from moon_rec.shop.references import reference_problems
from moon_rec.shop.schema import FILES, KEYS, MANIFEST, PICTURES, TABLES
from moon_rec.shop.structure import structure_problems

PICTURE_BATCH = 256
KEYS_AT_A_TIME = 4_000_000


def validate_folder(path: str | Path, promised: bool = True) -> list[Problem]:
    """Every broken rule of a shop's folder, each with table, column, first row, value and how to mend it.

    Args:
        promised: hold the files against the counts and digests of the manifest, too.

    Returns:
        The problems, structure first and files that are not the manifest's last; empty when the folder is a shop.
    """
    folder = Path(path)
    manifest: Manifest | None = None
    problems: list[Problem] = []
    try:
        manifest = Manifest.read(folder)
    except ShopError as error:
        problems.append(Problem(MANIFEST, str(error).replace(f"{folder}/{MANIFEST}: ", ""), ""))
    problems += structure_problems(folder)
    changed: list[Problem] = []
    if manifest is not None and promised:
        changed = list(promise_problems(folder, manifest))
    recorded = set(manifest.fingerprints) if manifest is not None and promised else set()
    known = {problem.table for problem in problems}
    known |= recorded - {problem.table for problem in changed}
    for table in TABLES:
        if table not in known and (folder / FILES[table]).is_file():
            problems += unread_problems(folder, table)
    broken = {problem.table for problem in problems}
    sound = [table for table in TABLES if (folder / FILES[table]).is_file() and table not in broken]
    frames = {table: pl.scan_parquet(folder / FILES[table]) for table in sound}
    steps: list[tuple[str, Callable[[], Iterable[Problem]]]] = []
    for table, frame in frames.items():
        steps.append((f"rows of {table}", partial(_row_problems, table, frame)))
        steps.append((f"keys of {table}", partial(_key_problems, table, frame)))
    steps.append(("references", partial(reference_problems, frames)))
    if manifest is not None:
        periods = partial(_period_problems, manifest, frames.get("impressions"))
        steps.append(("periods", periods))
    if manifest is not None and "impressions" in frames:
        steps.append(("clicks", partial(silent_periods, manifest, frames["impressions"])))
        steps.append(("doubled requests", partial(doubled_problems, frames["impressions"])))
    with progress("rules of the tables", len(steps)) as bar:
        for name, step in steps:
            problems += _guarded(name, step)
            bar.advance(note=name)
    for table in PICTURES:
        if table in frames:
            problems += _picture_problems(table, folder / FILES[table])
    return problems + changed


def _guarded(name: str, step: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What a step finds; a value that polars itself cannot work with is one more problem."""
    try:
        return list(step())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return [Problem(name, f"cannot be checked: {reason_of(error)}", "write the tables again")]


@dataclass(frozen=True)
class _RowRule:
    """A rule that a row alone can break: `bad` is true where it is broken."""

    column: str
    bad: pl.Expr
    rule: str
    mend: str


def _row_rules(table: str) -> list[_RowRule]:
    rules = [
        _RowRule(column.name, pl.col(column.name).is_null(), "is null", "give every row a value")
        for column in TABLES[table]
        if not column.nullable
    ]
    return rules + _FURTHER_RULES.get(table, [])


def _without_query() -> pl.Expr:
    no_text = pl.col("query_text").fill_null("").str.strip_chars() == ""
    return no_text & pl.col("query_image").is_null()


def _nameless_attribute() -> pl.Expr:
    element = pl.element().struct
    nameless = element.field("name").is_null() | element.field("value").is_null()
    return pl.col("attributes").list.eval(nameless).list.any()


_CLICKED = "set clicked to true, for a product that was taken was of interest"

_FURTHER_RULES: dict[str, list[_RowRule]] = {
    "items": [
        _RowRule("price", ~pl.col("price").is_finite(), "is not finite", "give the price or null"),
        _RowRule("price", pl.col("price") < 0, "is negative", "give the price or null"),
        _RowRule(
            "attributes",
            _nameless_attribute(),
            "has a null name or value",
            "leave that attribute out",
        ),
    ],
    "searches": [
        _RowRule(
            "query_text",
            _without_query(),
            "is empty and query_image is null",
            "give one of them, or drop the search and make its impressions' search_id null",
        )
    ],
    "impressions": [
        _RowRule("position", pl.col("position") < 0, "is negative", "count positions from 0"),
        _RowRule("carted", pl.col("carted") & ~pl.col("clicked"), "is without a click", _CLICKED),
        _RowRule(
            "purchased", pl.col("purchased") & ~pl.col("clicked"), "is without a click", _CLICKED
        ),
    ],
    "truth": [
        _RowRule(
            "click_probability",
            ~pl.col("click_probability").is_between(0, 1),
            "is outside 0 to 1",
            "give a probability",
        )
    ],
}


def _row_problems(table: str, frame: pl.LazyFrame) -> Iterator[Problem]:
    """All row rules of a table in one streaming pass."""
    rules = _row_rules(table)
    wanted = []
    for index, rule in enumerate(rules):
        bad = rule.bad.fill_null(False)
        wanted += [bad.sum().alias(f"count {index}"), bad.arg_max().alias(f"row {index}")]
    found = frame.select(wanted).collect(engine="streaming").row(0, named=True)
    for index, rule in enumerate(rules):
        count = found[f"count {index}"]
        if count:
            row = found[f"row {index}"]
            value = frame.slice(row, 1).select(rule.column).collect().item()
            value = value.to_list() if isinstance(value, pl.Series) else value
            yield Problem(table, rule.rule, rule.mend, rule.column, row, value, count)


def _key_problems(table: str, frame: pl.LazyFrame) -> Iterator[Problem]:
    """A key that two rows share. Keys are taken a residue class at a time, so that memory stays bounded."""
    keys = KEYS[table]
    num_parts = 1 + frame.select(pl.len()).collect().item() // KEYS_AT_A_TIME
    numbered = frame.select(keys).with_row_index("row")
    copies = [
        numbered.filter(pl.col(keys[0]) % num_parts == part)
        .group_by(keys)
        .agg(first=pl.col("row").min(), last=pl.col("row").max(), copies=pl.len())
        .filter(pl.col("copies") > 1)
        .collect(engine="streaming")
        for part in range(num_parts)
    ]
    found = pl.concat(copies).sort("first")
    if found.height == 0:
        return
    row = found.row(0, named=True)
    value, column = row[keys[0]], keys[0]
    if len(keys) > 1:
        value, column = ", ".join(str(row[key]) for key in keys), f"({', '.join(keys)})"
    yield Problem(
        table,
        f"is duplicated: row {row['first']} has it too",
        "make it unique",
        column,
        row["last"],
        value,
        found.height,
    )


def _period_problems(manifest: Manifest, impressions: pl.LazyFrame | None) -> Iterator[Problem]:
    cut, test = manifest.cut_time, manifest.test_time
    if test <= cut:
        yield Problem(
            MANIFEST,
            f"{test} is not after cut_time {cut}, so validation would be empty or the same as test",
            "move test_time later: validation chooses, test is scored once",
            "test_time",
        )
        return
    if impressions is None:
        return
    time = pl.col("time")
    found = impressions.select(
        first=time.min(),
        last=time.max(),
        train=(time < cut).sum(),
        validation=((time >= cut) & (time < test)).sum(),
        test=(time >= test).sum(),
    )
    row = found.collect(engine="streaming").row(0, named=True)
    for period, column in (
        ("train", "cut_time"),
        ("validation", "test_time"),
        ("test", "test_time"),
    ):
        if not row[period]:
            yield Problem(
                MANIFEST,
                f"{getattr(manifest, column)} leaves the {period} period without impressions "
                f"(they run from {row['first']} to {row['last']})",
                "move cut_time or test_time into the data",
                column,
            )


def _picture_problems(table: str, path: Path) -> list[Problem]:
    """Decode every picture, a small batch in memory at a time."""
    column, key = PICTURES[table], KEYS[table][0]
    first: Problem | None = None
    count = row = 0
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:
        total = file.metadata.num_rows
        with progress(f"pictures of {table}", total) as bar:
            for batch in file.iter_batches(PICTURE_BATCH, columns=[key, column]):
                for number, data in zip(
                    *(batch[name].to_pylist() for name in (key, column)), strict=True
                ):
                    reason = _decode_reason(data, f"{key} {number}")
                    if reason is not None:
                        count += 1
                        first = first or Problem(table, reason, "", column, row, data)
                    row += 1
                bar.advance(batch.num_rows)
    if first is None:
        return []
    return [Problem(table, first.rule, "", column, first.row, first.value, count)]


def _decode_reason(data: bytes | None, where: str) -> str | None:
    if data is None:
        return None
    try:
        decode(data, where)
    except ShopError as error:
        return f"of {error}"
    return None
