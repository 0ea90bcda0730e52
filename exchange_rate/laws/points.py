"""A table of any form -> the columns of a scaling law: one row a run, numbers checked by row and column, groups in the order of their first row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from exchange_rate.estimation.columns import Floats, name_column
from moon_rec.errors import ShopError, StudyError
from moon_rec.shop.readers.interactions.files import open_source

MOST_ROWS, MOST_GROUPS = 100_000, 50


@dataclass(frozen=True)
class LawPoints:
    """The points of one group.

    Attributes:
        group: its name in the column of groups; "" without one.
        x: `(points,)`, or `(points, 2)` where there are two inputs; positive.
        y: `(points,)`.
        has_seeds: rows of equal x are repeats of one point.
        axis: what x counts, where a column of the table names it; else "".
    """

    group: str
    x: Floats
    y: Floats
    has_seeds: bool
    axis: str = ""


def read_law_points(
    path: str | Path,
    x: Sequence[str],
    y: str,
    seed: str | None = None,
    by: str | None = None,
) -> list[LawPoints]:
    """Read a table (CSV, TSV, JSON lines, Parquet, Arrow, DuckDB; packed or not).

    Args:
        x: the names of one or two inputs.
        seed: the column that tells repeats of one point apart.
        by: the column of groups; each has a law of its own.

    Raises:
        StudyError: no such file or column, no rows or too many, a value that is missing or no number, x that is not positive, a seed twice at one point,
            too many groups; by file, row (from 0, without the header) and column.
    """
    inputs = list(x)
    asked = [*inputs, y, *(one for one in (seed, by) if one is not None)]
    twice = next((one for one in asked if asked.count(one) > 1), None)
    if twice is not None:
        raise StudyError(f"column {twice!r} is asked for twice; name each column once")
    try:
        source = open_source([path])
        frame = source.collect(source.frame.head(MOST_ROWS + 1))
    except ShopError as error:
        raise StudyError(str(error)) from None
    frame = frame.rename({name: name.strip() for name in frame.columns})
    missing = next((one for one in asked if one not in frame.columns), None)
    if missing is not None:
        raise StudyError(f"{path} has no column {missing!r}; it has {', '.join(frame.columns)}")
    frame = frame.select(asked)
    if source.is_text:
        blank = pl.all_horizontal(pl.all().str.strip_chars().fill_null("") == "")
        frame = frame.filter(~blank)
    if frame.is_empty() or len(frame) > MOST_ROWS:
        rows = f"more than {MOST_ROWS:,} rows" if len(frame) else "no rows"
        raise StudyError(f"{path} has {rows}; wanted one row a run")
    columns = np.column_stack([_numbers(frame[one], path, is_input=True) for one in inputs])
    values = _numbers(frame[y], path, is_input=False)
    groups = _names(frame[by], by) if by else [""] * len(frame)
    if seed is not None:
        _no_seed_twice(columns, groups, _names(frame[seed], seed), path)
    return _grouped(columns, values, groups, seed is not None, path)


def _grouped(
    columns: Floats, values: Floats, groups: list[str], has_seeds: bool, path: str | Path
) -> list[LawPoints]:
    names = list(dict.fromkeys(groups))
    if len(names) > MOST_GROUPS:
        raise StudyError(
            f"{path} has {len(names)} groups; wanted {MOST_GROUPS} at most: choose a column with fewer names for --by"
        )
    place = np.array([names.index(one) for one in groups])
    found = []
    for number, name in enumerate(names):
        own = columns[place == number]
        x = own[:, 0] if own.shape[1] == 1 else own
        found.append(LawPoints(name, x, values[place == number], has_seeds))
    return found


def _names(column: pl.Series, name: str) -> list[str]:
    if column.dtype == pl.String:
        column = column.str.strip_chars()
    elif not column.dtype.is_integer():
        column = column.cast(pl.String)
    return [str(one) for one in name_column(column, name)]


def _numbers(column: pl.Series, path: str | Path, is_input: bool) -> Floats:
    """A column as float64, refused by the first row that is no number."""
    name = column.name
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        found = text.cast(pl.Float64, strict=False)
    elif column.dtype.is_numeric():
        text, found = column, column.cast(pl.Float64)
    else:
        raise StudyError(f"{path}, {name}: a column of {column.dtype}; wanted numbers")
    values = found.fill_null(float("nan")).to_numpy()
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        shown = text[row]
        what = "is missing" if shown in (None, "") or shown != shown else f"{shown!r} is no number"
        raise StudyError(f"{path}, row {row}, {name}: {what}; leave that row out or measure it")
    if is_input and (values <= 0).any():
        row = int(np.flatnonzero(values <= 0)[0])
        raise StudyError(
            f"{path}, row {row}, {name}: {values[row]:g} is not positive; a law takes powers or logarithms of it: leave that row out"
        )
    return values


def _no_seed_twice(columns: Floats, groups: list[str], seeds: list[str], path: str | Path) -> None:
    seen: dict[tuple[object, ...], int] = {}
    for row, (point, group, seed) in enumerate(zip(columns.tolist(), groups, seeds, strict=True)):
        key = (*point, group, seed)
        if key in seen:
            raise StudyError(
                f"{path}, row {row}: seed {seed!r} stands at this point in row {seen[key]} already; name the runs' seeds apart, or leave one out"
            )
        seen[key] = row
