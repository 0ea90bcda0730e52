"""The artifact `neighbours.parquet` of a study: what every encoder finds for the same few searches, read and checked.

One row a search (`place` 0: its words, its picture) or a product found for it (`place` 1, 2, ...: its title, its picture, its cosine, whether the searcher engaged with it). A picture stands once, with
the first row of its search or product; it is a JPEG of 64 pixels. At 36 searches of five products that is a quarter of a megabyte an encoder at most, less where encoders find the same.

The file may come from anywhere: size, columns and pictures are looked at before anything is made of them, and its digest is the one in `study.json`. The report needs no encoder and no shop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from exchange_rate.evidence.recorded_file import check_recorded
from exchange_rate.evidence.records import Study
from moon_rec.errors import MoonRecError, StudyError, first_line
from moon_rec.progress import say
from moon_rec.tracking import Tracker

NEIGHBOURS = "neighbours.parquet"
SCHEMA = {
    "cell": pl.String,
    "search_id": pl.Int64,
    "modality": pl.String,
    "place": pl.Int64,
    "item_id": pl.Int64,
    "text": pl.String,
    "similarity": pl.Float64,
    "is_engaged": pl.Boolean,
    "picture": pl.Binary,
}
"""`cell` is the encoder's key; `item_id` and `similarity` are null of a search, `picture` of what has none and of what had it before."""
MOST_BYTES = 1 << 28
MOST_ROWS = 2_000_000
MOST_PICTURE_BYTES = 1 << 14
MOST_TEXT = 2_000
JPEG = b"\xff\xd8\xff"


@dataclass(frozen=True, eq=False)
class StudyNeighbours:
    """What the encoders of a study find.

    Attributes:
        table: as `SCHEMA` has it.
    """

    table: pl.DataFrame

    def of(self, cell: str) -> dict[int, list[dict[str, Any]]]:
        """Search -> its own row and those of what the encoder of that cell finds, by place; empty where it has none."""
        found: dict[int, list[dict[str, Any]]] = {}
        for row in self.table.filter(pl.col("cell") == cell).sort("place").iter_rows(named=True):
            found.setdefault(row["search_id"], []).append(row)
        return {search: rows for search, rows in found.items() if rows[0]["place"] == 0}

    def picture(self, row: Mapping[str, Any]) -> bytes | None:
        """The JPEG of a row's search or product; None where it has none."""
        return self._pictures.get(_shown(row["item_id"], row["search_id"]))

    @cached_property
    def _pictures(self) -> dict[tuple[bool, int], bytes]:
        there = self.table.filter(pl.col("picture").is_not_null())
        rows = there.select("item_id", "search_id", "picture").iter_rows()
        return {_shown(item, search): picture for item, search, picture in rows}


def _shown(item: int | None, search: int) -> tuple[bool, int]:
    """What a row's picture is of: a search or a product, and its id."""
    return (True, search) if item is None else (False, item)


def read_neighbours(tracker: Tracker, study: Study) -> StudyNeighbours | None:
    """What the encoders of a study find; None where its version kept nothing, or none of them could search.

    Raises:
        StudyError: as `read_neighbour_file`.
    """
    about = study.about.get("neighbours")
    if about is None:
        return None
    what = f"{NEIGHBOURS} of study {study.id} in {tracker.uri}"
    try:
        return StudyNeighbours(
            read_neighbour_file(tracker.fetch(study.id, NEIGHBOURS), about, what)
        )
    except MoonRecError as error:  # pictures beside the numbers are no reason to lose these
        say(f"left out: {error}")
        return None


def read_neighbour_file(file: Path, about: Mapping[str, Any], what: str) -> pl.DataFrame:
    """A study's `neighbours.parquet`, as it is or not at all.

    Args:
        about: what `study.json` says of it: `digest`.
        what: which one, for the error.

    Raises:
        StudyError: not there, a link, too large, other bytes than recorded, no Parquet, other columns, a text or a picture that is too large, or a picture that is no JPEG.
    """
    check_recorded(file, about["digest"], what, MOST_BYTES)
    try:
        if dict(pl.read_parquet_schema(file)) != SCHEMA:
            raise StudyError(f"{what} has other columns than {', '.join(SCHEMA)}; run the study again")  # fmt: skip
        table = pl.read_parquet(file)
    except MoonRecError:
        raise
    except Exception as error:  # a damaged page has errors of many types
        raise StudyError(f"{what} cannot be read as Parquet: {first_line(error)}") from None
    wrong = {
        "a value that is missing": pl.any_horizontal(pl.col("cell", "search_id", "modality", "place", "text", "is_engaged").is_null()),
        "a product without its id or a finite cosine": (pl.col("place") > 0) & ~(pl.col("item_id").is_not_null() & pl.col("similarity").is_finite().fill_null(False)),
        "a text of more letters than there may be": pl.col("text").str.len_bytes() > 4 * MOST_TEXT,
        "a picture that is no JPEG": ~pl.col("picture").bin.starts_with(JPEG),
        "a picture that is too large": pl.col("picture").bin.size() > MOST_PICTURE_BYTES,
        "a row twice": pl.struct("cell", "search_id", "place").is_duplicated(),
    }  # fmt: skip
    if table.height > MOST_ROWS:
        raise StudyError(f"{what}: {table.height:,} rows; the most are {MOST_ROWS:,}")
    for reason, rows in wrong.items():
        bad = table.select(rows.fill_null(False)).to_series()
        if bad.any():
            raise StudyError(f"{what}, row {bad.arg_max()}: {reason}; run the study again, or put its own file back")  # fmt: skip
    return table
