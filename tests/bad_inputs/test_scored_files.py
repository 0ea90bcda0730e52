"""Files of impressions to score: what their columns must not hold. They are read as `python -m ranking.score --impressions` reads them, a chunk at a time."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from ranking.features.feature_config import FeatureConfig
from ranking.stream import ImpressionStream
from tests.bad_inputs.harness import Case, check
from tests.bad_inputs.test_shop_tables import also, at, changed, dropped, epoch, written

FILE = "tables/impressions.parquet"
ROWS = 500
"""Rows read at a time, fewer than the file has: a fault in a later piece is told before anything is scored."""


def read(folder: Path, *further: str) -> str:
    """All chunks of the file, and of further ones."""
    files = [folder / FILE, *(folder / name for name in further)]
    stream = ImpressionStream(files, FeatureConfig(context=("dwell", "position")))
    rows = sum(chunk.height for chunk in stream.chunks(ROWS))
    return f"{rows} rows read, labels: {stream.has_label}"


def broken(
    name: str, damage, *says: str, told: bool = False, further: tuple[str, ...] = ()
) -> Case:
    where = () if told else ("impressions.parquet",)
    return Case(
        f"scored: {name}", lambda folder: read(folder, *further), (*where, *says), damage, told
    )


def put(row: int, column: str, value: object, dtype: pl.DataType):
    """The column as another type, with one value in one row."""
    return also(
        changed(FILE, pl.col(column).cast(dtype)), changed(FILE, at(row, column, value, dtype))
    )


def page_lost(column: str):
    """The bytes of a column's second row group overwritten."""

    def damage(folder: Path) -> None:
        pl.read_parquet(folder / FILE).write_parquet(folder / FILE, row_group_size=1_000)
        found = pq.read_metadata(folder / FILE)
        groups = found.row_group(1)
        (chunk,) = (
            groups.column(index)
            for index in range(groups.num_columns)
            if groups.column(index).path_in_schema == column
        )
        data = bytearray((folder / FILE).read_bytes())
        start = chunk.data_page_offset
        end = start + chunk.total_compressed_size
        data[start:end] = b"\xa5" * (end - start)
        (folder / FILE).write_bytes(data)

    return damage


FLOAT, WHOLE = pl.Float64(), "wanted whole numbers"

CASES = [
    *(
        broken(
            f"{column} as text",
            changed(FILE, pl.lit("x1").alias(column)),
            f"{column} row 0: 'x1' is String, {WHOLE} (5,400 rows do)",
            "keep the list of which is which",
        )
        for column in ("request_id", "user_id", "item_id", "search_id")
    ),
    broken("ids that are booleans", changed(FILE, user_id=True), f"True is Boolean, {WHOLE}"),
    broken(
        "an item id of 1.4",
        put(777, "item_id", 1.4, FLOAT),
        "item_id row 777: 1.4 is no whole number",
    ),
    broken(
        "a user id that has lost its digits",
        put(1234, "user_id", 2.0**53, FLOAT),
        "user_id row 1234: 9007199254740992.0 is Float64 of 2^53 or more",
    ),
    broken("a search id of NaN", put(9, "search_id", float("nan"), FLOAT), "search_id row 9: nan"),
    broken(
        "a request id beyond 64 bits",
        put(0, "request_id", 2**63, pl.UInt64()),
        "request_id row 0: 9223372036854775808 does not fit a whole number of 64 bits",
    ),
    broken(
        "a null item",
        changed(FILE, at(901, "item_id", None)),
        "item_id row 901: None is null; give every row a value",
    ),
    broken("a null time", changed(FILE, at(2, "time", None)), "time row 2: None is null"),
    broken(
        "times as seconds",
        changed(FILE, time=epoch("time")),
        "time row 0: 1767236528 is a number without a unit",
        '"s" it is 2026-01-01 03:02:08',
        "write timestamps",
    ),
    broken(
        "times in 1970",
        changed(FILE, time=epoch("time").cast(pl.Datetime("us"))),
        "time row 0: 1970-01-01 00:29:27.236528 is outside the years 1990 to 2100",
    ),
    broken("times as text", changed(FILE, time=pl.lit("noon")), "time row 0: 'noon' is String"),
    broken(
        "times of the day",
        changed(FILE, time=pl.col("time").dt.time()),
        "is Time, wanted a time (5,400 rows do); write timestamps",
    ),
    broken(
        "durations as times",
        changed(FILE, time=pl.col("time") - pl.col("time").min()),
        "is Duration(time_unit='us'), wanted a time",
    ),
    *(
        broken(
            f"clicked of {value}",
            put(600, "clicked", value, FLOAT),
            f"clicked row 600: {value} is neither 0 nor 1",
        )
        for value in (-1.0, 0.05, 5.0, float("nan"))
    ),
    broken(
        "clicked as words", changed(FILE, clicked=pl.lit("yes")), "'yes' is String, wanted true and"
    ),
    broken(
        "all of three columns missing",
        dropped(FILE, "request_id", "user_id", "time"),
        "column request_id, user_id, time is missing",
        "user_id: where there is none put a number for each session",
    ),
    broken(
        "context missing and context as text",
        also(dropped(FILE, "dwell"), changed(FILE, position=pl.lit("top"))),
        "'dwell' of ",
        "is absent, 'position' of ",
        "is String: wanted numbers",
    ),
    broken(
        "several columns at once",
        changed(FILE, user_id=pl.lit("u"), time=epoch("time", 1_000), clicked=3),
        "user_id row 0: 'u' is String",
        " | impressions.time row 0: ",
        " | impressions.clicked row 0: 3 is neither 0 nor 1",
    ),
    broken("a file that is no Parquet", written(FILE, "1,2"), "cannot be"),
    broken(
        "ids of 128 bits",
        changed(FILE, pl.col("user_id").cast(pl.Int128)),
        "cannot be read as Parquet: Integers with more than 64 bits",
        "write it again",
    ),
    *(
        broken(
            f"a page of {column} that is damaged", page_lost(column), "cannot be read", "write it"
        )
        for column in ("item_id", "clicked", "dwell")
    ),
    broken(
        "a label in one of two files",
        lambda folder: (
            pl.read_parquet(folder / FILE).drop("clicked").write_parquet(folder / "more.parquet")
        ),
        "more.parquet has no column clicked: no label of any file is read",
        "10800 rows read, labels: False",
        told=True,
        further=("more.parquet",),
    ),
    broken(
        "context of another type in a second file",
        lambda folder: (
            pl.read_parquet(folder / FILE)
            .with_columns(dwell=1, position=True)
            .write_parquet(folder / "more.parquet")
        ),
        "10800 rows read, labels: True",
        told=True,
        further=("more.parquet",),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scored_files(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
