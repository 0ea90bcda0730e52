"""Every rule of a shop's tables, checked on a folder that may come from anyone and be larger than memory.

Notable choices
- One streaming pass a table for the rules that a row alone can break, one streaming group-by or join for each other rule;
  pictures are decoded a small batch at a time.
- Every fault is told at once, each kind with its first row: a column that is missing or of another type is left out of the
  later rules, so one fault is told once, and the other columns are checked all the same.
- A cart or a purchase without a click is a broken rule: `clicked` is what the ranker learns, and a product that was bought
  was of interest. Set `clicked` where your log counts purchases from the list.
- A search needs a text or a picture; an impression outside any search has a null `search_id` instead.
- Only one table may be empty: `searches`, of a shop without searches.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.progress import progress, say
from moon_rec.shop.integrity import promise_problems, unread_problems
from moon_rec.shop.log_rules import doubled_problems, silent_periods
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.picture_rules import picture_problems
from moon_rec.shop.problem import Problem, under_own_id
from moon_rec.shop.readings import TableReader
from moon_rec.shop.references import reference_problems
from moon_rec.shop.rows import key_problems, row_problems
from moon_rec.shop.schema import FILES, KEYS, MANIFEST, PICTURES, TABLES
from moon_rec.shop.structure import structure_problems
from moon_rec.values import Meanings


@dataclass(frozen=True)
class Import:
    """Tables that are not a shop yet.

    Attributes:
        meanings: by column: what its values mean where they do not say it themselves.
        manifest: what the shop's will be; None where the tables are too broken to tell.
    """

    meanings: Mapping[str, Meanings]
    manifest: Manifest | None


def validate_folder(
    path: str | Path, to_import: Import | None = None, promised: bool = True
) -> list[Problem]:
    """Every broken rule of a shop's folder, each with table, column, first row, value and how to mend it.

    What is handled instead of refused, such as blank texts, is said where nothing is broken.

    Args:
        to_import: the folder's tables are not a shop's yet, and may have other types.
        promised: hold a shop's files against the counts and digests of its manifest, too.

    Returns:
        The problems, structure first and files that are not the manifest's last; empty when the folder is a shop.
    """
    folder = Path(path)
    manifest: Manifest | None = None
    problems: list[Problem] = []
    try:
        manifest = Manifest.read(folder) if to_import is None else to_import.manifest
    except ShopError as error:
        problems.append(Problem(MANIFEST, str(error).replace(f"{folder}/{MANIFEST}: ", ""), ""))
    problems += structure_problems(folder, is_shop=to_import is None)
    changed: list[Problem] = []
    vouched: set[str] = set()
    if manifest is not None and promised and to_import is None:
        changed = list(promise_problems(folder, manifest))
        vouched = set(manifest.fingerprints) - {problem.table for problem in changed}
    problems += _unread(folder, problems, vouched, to_import is None)
    unreadable = {problem.table for problem in problems if problem.column is None}
    meanings = None if to_import is None else to_import.meanings
    readers = {
        table: TableReader.open(table, folder, meanings)
        for table in _there(folder)
        if table not in unreadable
    }
    steps = _steps(readers, manifest)
    with progress("rules of the tables", len(steps)) as bar:
        for name, step in steps:
            problems += _guarded(name, step)
            bar.advance(note=name)
    for table in PICTURES:
        if table in readers:
            problems += picture_problems(readers[table], folder)
    broken = [under_own_id(one, folder) for one in problems if not one.is_told] + changed
    for problem in problems if not broken else []:
        say(f"{folder / problem.file}: {problem}")
    return broken


def _there(folder: Path) -> list[str]:
    return [table for table in TABLES if (folder / FILES[table]).is_file()]


def _unread(
    folder: Path, problems: list[Problem], vouched: set[str], is_shop: bool
) -> Iterator[Problem]:
    """Tables that cannot be read to their end, of those that no digest vouches for and no problem names."""
    named = {problem.table for problem in problems if problem.column is None}
    for table in _there(folder):
        if table not in named | vouched:
            yield from unread_problems(folder, table, is_shop)


def _steps(
    readers: dict[str, TableReader], manifest: Manifest | None
) -> list[tuple[str, Callable[[], Iterable[Problem]]]]:
    """The rules that need the rows, by name."""
    frames = {table: reader.frame for table, reader in readers.items()}
    steps: list[tuple[str, Callable[[], Iterable[Problem]]]] = []
    for table, reader in readers.items():
        steps.append((f"rows of {table}", partial(row_problems, reader)))
        steps.append((f"keys of {table}", partial(key_problems, reader)))
    steps.append(("references", partial(reference_problems, frames)))
    log = frames.get("impressions")
    if manifest is None:
        return steps
    steps.append(("periods", partial(_period_problems, manifest, log)))
    read = set() if log is None else set(log.collect_schema())
    if log is not None and read >= {*KEYS["impressions"], "user_id", "time", "clicked"}:
        steps.append(("clicks", partial(silent_periods, manifest, log)))
        steps.append(("doubled requests", partial(doubled_problems, log)))
    return steps


def _guarded(name: str, step: Callable[[], Iterable[Problem]]) -> list[Problem]:
    """What a step finds; a value that polars itself cannot work with is one more problem."""
    try:
        return list(step())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return [Problem(name, f"cannot be checked: {first_line(error)}", "write the tables again")]


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
    if impressions is None or "time" not in impressions.collect_schema():
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
    if row["first"] is None:
        return
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
