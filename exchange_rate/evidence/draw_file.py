"""The artifact `draws.parquet` of a study: figures of all its encoders and rankers under the same draws of users, read and checked.

One row a figure of a cell: `value` on all users, `draws` under each draw, `halves` on the first and the second half of each split, in that order (`moon_rec.user_draws`). Memory: 8 bytes a number,
so 2 kB a figure at 200 draws and 20 splits, 25 MB for 165 encoders with 60 metrics and three seeds.

The file may come from anywhere: its size, columns, lengths and numbers are looked at before anything is made of them, and its digest is the one in `study.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from exchange_rate.evidence.recorded_file import check_recorded
from moon_rec.errors import MoonRecError, StudyError, first_line

DRAWS = "draws.parquet"
SCHEMA = {
    "cell": pl.String,
    "name": pl.String,
    "units": pl.String,
    "num_units": pl.Int64,
    "value": pl.Float64,
    "draws": pl.List(pl.Float64),
    "halves": pl.List(pl.Float64),
}
"""`cell` is its key; `units` are what was drawn, `num_units` how many of them the figure has."""
UNITS = ("users", "items")
MOST_BYTES = 1 << 30
MOST_ROWS = 2_000_000
MOST_DRAWS, MOST_SPLITS = 10_000, 1_000
LARGEST = 1e6
"""Figures lie far below: shares, cosines, AUCs, logs of means of kernels."""


def read_draw_file(file: Path, about: Mapping[str, Any], what: str) -> pl.DataFrame:
    """A study's `draws.parquet`, as it is or not at all.

    Args:
        about: what `study.json` says of it: `num_draws`, `num_splits`, `digest`.
        what: which one, for the error.

    Raises:
        StudyError: a link, too large, other bytes than recorded, no Parquet, other columns, a row twice, a list of another length, or a number that is none.
    """
    check_recorded(file, about["digest"], what, MOST_BYTES)
    try:
        schema = pl.read_parquet_schema(file)
        if dict(schema) != SCHEMA:
            raise StudyError(
                f"{what} has the columns {', '.join(f'{name} {kind}' for name, kind in schema.items())[:300]}; wanted {', '.join(SCHEMA)}, of their types"
            )
        table = pl.read_parquet(file)
    except MoonRecError:
        raise
    except Exception as error:  # a damaged page has errors of many types
        raise StudyError(f"{what} cannot be read as Parquet: {first_line(error)}") from None
    _check_rows(table, {"draws": about["num_draws"], "halves": 2 * about["num_splits"]}, what)
    return table


def _check_rows(table: pl.DataFrame, lengths: Mapping[str, int], what: str) -> None:
    """Raise StudyError for the first row that is none."""
    if table.height > MOST_ROWS:
        raise StudyError(f"{what}: {table.height:,} rows; the most are {MOST_ROWS:,}")
    wrong = {
        "a value that is missing": pl.any_horizontal(pl.all().is_null()),
        "a list with a value that is missing": pl.any_horizontal(
            pl.col(name).list.eval(pl.element().is_null()).list.any() for name in lengths
        ),
        f"units other than {' and '.join(UNITS)}": ~pl.col("units").is_in(UNITS),
        "less than one unit": pl.col("num_units") < 1,
        "a name or a cell twice": pl.struct("cell", "name").is_duplicated(),
    }
    wrong |= {
        f"{name} of another length than {length}": pl.col(name).list.len() != length
        for name, length in lengths.items()
    }
    for reason, rows in wrong.items():
        _refuse(table, table.select(rows.fill_null(True)).to_series().to_numpy(), reason, what)
    for name in ("value", "draws", "halves"):
        numbers = numbers_of(table, name)
        is_none = ~(np.abs(numbers) <= LARGEST)
        if name == "halves":
            is_none &= ~np.isnan(numbers)  # a half of few users may have no value
        reason = f"a number in {name} that is not finite, or beyond {LARGEST:,.0f}"
        _refuse(table, np.asarray(is_none.any(axis=1)), reason, what)


def numbers_of(table: pl.DataFrame, name: str) -> np.ndarray:
    """A column of numbers, or of lists of one length: `(rows, length)` float64."""
    column = table[name]
    flat = column.explode() if column.dtype == pl.List else column
    return flat.to_numpy().reshape(table.height, -1)


def _refuse(table: pl.DataFrame, wrong: np.ndarray, reason: str, what: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        raise StudyError(
            f"{what}, row {row} ({str(table['name'][row])[:80]!r}): {reason} ({int(wrong.sum()):,} of {table.height:,} rows); run the study again, or put its own file back"
        )
