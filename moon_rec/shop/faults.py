"""Every row that breaks a rule, in one file: what a line can only count."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from moon_rec.errors import ShopError
from moon_rec.files import atomic_file
from moon_rec.outputs import OutputKind, begins_with, check_output, parquet_with
from moon_rec.progress import say
from moon_rec.shop.own_ids import own_names
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import FILES, KEYS
from moon_rec.values import shown

KINDS = (".parquet", ".csv")
SCHEMA = {
    "table": pl.String,
    "column": pl.String,
    "row": pl.Int64,
    "id": pl.String,
    "value": pl.String,
    "rule": pl.String,
    "mend": pl.String,
}


_HEADER = ",".join(SCHEMA).encode()
FAULTS = OutputKind(
    "a list of faults",
    "",
    lambda path: begins_with(_HEADER + b"\n")(path) or parquet_with(*SCHEMA)(path),
)


def check_faults_file(path: Path, overwrite: bool = False) -> None:
    """Raise MoonRecError where the file is of no known kind, or cannot be written."""
    if path.suffix not in KINDS:
        raise ShopError(f"--faults {path}: wanted a file that ends in {' or '.join(KINDS)}")
    check_output(path, FAULTS, overwrite)


def write_faults(
    path: Path, folder: Path, problems: Sequence[Problem], overwrite: bool = False
) -> None:
    """Write a row for each broken row of each rule, rule by rule in the file's order.

    Columns are `table, column, row` (from 0; null where a whole table or column is at fault), `id` (of the row, by the table's key, its parts joined by
    a comma), `value, rule, mend`.

    Raises:
        MoonRecError: as `check_faults_file`.
    """
    check_faults_file(path, overwrite)
    num_rows = 0
    with atomic_file(path) as temporary:
        if path.suffix == ".csv":
            with open(temporary, "wb") as file:
                file.write(pl.DataFrame(schema=SCHEMA).write_csv().encode())
                for rows in _pieces(folder, problems):
                    file.write(rows.write_csv(include_header=False).encode())
                    num_rows += rows.height
        else:
            schema = (
                pl.DataFrame(schema=SCHEMA).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
            )
            with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
                for rows in _pieces(folder, problems):
                    file.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
                    num_rows += rows.height
    say(f"{path}: {num_rows:,} faults of {len(problems):,} kinds")


def _pieces(folder: Path, problems: Sequence[Problem]) -> Iterator[pl.DataFrame]:
    for problem in problems:
        if problem.rows is None:
            yield _rows(problem, pl.DataFrame({"row": [problem.row], "value": [problem.value]}))
            continue
        table = pl.scan_parquet(folder / FILES[problem.table])
        there = table.collect_schema().names()
        keys = [name for name in KEYS[problem.table] if name in there]
        row = pl.col("row").cast(pl.Int64)
        # the broken rows are held, the table's keys are streamed past them
        found = (
            table.select(keys)
            .with_row_index("row")
            .with_columns(row)
            .join(problem.rows.with_columns(row), on="row", maintain_order="left")
        )
        for batch in found.collect_batches(maintain_order=True):
            yield _rows(problem, _named(batch, folder), keys)


def _named(rows: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """Broken rows with the user's own ids where the shop keeps them; an id that is none of these, which may be the fault, as it stands."""
    for name, names in own_names(folder).items():
        if name in rows.columns and rows[name].dtype == pl.Int64:
            own = names.known(rows[name])
            rows = rows.with_columns(own.fill_null(rows[name].cast(pl.String)))
    return rows


def _rows(problem: Problem, found: pl.DataFrame, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Broken rows in the file's columns."""
    ids = [", ".join(map(str, row)) for row in found.select(keys).rows()] if keys else None
    values = [None if value is None else shown(value) for value in found["value"].to_list()]
    return pl.DataFrame(
        {
            "table": [problem.table] * found.height,
            "column": [problem.column] * found.height,
            "row": found["row"],
            "id": ids or [None] * found.height,
            "value": values,
            "rule": [problem.rule] * found.height,
            "mend": [problem.mend] * found.height,
        },
        schema=SCHEMA,
    )
