"""Impressions of any number, read from Parquet in chunks of whole requests and bounded memory.

Notable choices
- Rows come in the order of the files. A chunk ends where a request ends, so a request whose rows stand
  together (as a log writes them) is in one chunk. Rows of a request share one time, as the shop's rules
  want; then also a request whose rows lie apart gets the same scores.
- Row groups are decoded piece by piece through a small buffer: one huge row group needs no more memory
  than many small ones.
- Only what scoring needs is asked of a file: request_id, user_id, item_id, time and the context columns.
  search_id and the label are read where they are there.
- Where the shop keeps its user's own ids, the files hold these. One that the shop does not know gets a number beyond all of the
  shop's, anew in each chunk: nothing is looked up by it, and memory stays bounded however many requests there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import RankingError, first_line
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.readings import TableReader, readings_of
from moon_rec.shop.rows import row_problems
from moon_rec.shop.schema import TABLES
from moon_rec.values import Reading, shown
from ranking.features.feature_config import FeatureConfig, Period
from ranking.features.impressions import KEYS, NEVER_NULL, check_context

BUFFER_BYTES = 1 << 20
OWN = "own {}"
"""A column of ids as the user writes them, beside the shop's."""


@dataclass
class Unknown:
    """Rows with an id that the shop does not know: how many, and the first id."""

    rows: int = 0
    first: str = ""


class ImpressionStream:
    """Impressions of Parquet files, or of a period of a shop.

    Args:
        files: in order.
        config: which context columns and which label.
        shop: whose period, with `period`.
        period: only its rows; None for all.
        own: column -> the user's names of its ids, where the files hold these and not the shop's numbers.

    Attributes:
        has_label: whether every file has the label.
        unknown: column of `own` -> what of the chunks so far the shop does not know.
        num_rows: of all files, before the period is cut out.

    Raises:
        RankingError: no Parquet file, a column that is missing, or rows that the rules of `moon_rec.values` refuse: a null id or time, a label other than
            0 and 1, a number without a unit as time. All rows are looked at before the first is scored.
    """

    def __init__(
        self,
        files: Sequence[Path],
        config: FeatureConfig,
        shop: Shop | None = None,
        period: Period | None = None,
        own: Mapping[str, OwnNames] | None = None,
    ):
        assert period is None or shop is not None, "a period is one of a shop"
        self.files, self.config, self.shop = tuple(files), config, shop
        self.period: Period | None = period
        self.own = dict(own or {})
        self.unknown = {name: Unknown() for name in self.own}
        schemas = [_checked_schema(file, config) for file in self.files]
        labelled = [config.label in schema for schema in schemas]
        self.has_label = all(labelled)
        if any(labelled) and not self.has_label:
            without = self.files[labelled.index(False)]
            say(f"{without} has no column {config.label}: no label of any file is read")
        self._read = (*KEYS, *[config.label] * self.has_label)
        self._columns = tuple(dict.fromkeys((*self._read, *config.context)))
        for file in self.files:
            _refuse_broken_rows(file, self._read, self.own)
        self.num_rows = sum(pq.ParquetFile(file).metadata.num_rows for file in self.files)

    def chunks(self, chunk_rows: int) -> Iterator[pl.DataFrame]:
        """Frames of about `chunk_rows` rows: at most twice as many, unless a request is longer.

        Columns are `request_id, search_id, user_id, item_id` Int64, `time` Datetime("us"), the context, the
        label as Int8 of 0, 1 and null where there is one, and `own item_id` and so on where the files hold own ids.
        """
        waiting: list[pl.DataFrame] = []
        for frame in self._pieces(chunk_rows):
            waiting.append(frame)
            if sum(piece.height for piece in waiting) < chunk_rows:
                continue
            joined = pl.concat(waiting)
            begins = pl.any_horizontal(
                pl.col(key) != pl.col(key).shift() for key in ("request_id", "user_id")
            )
            ends = np.flatnonzero(joined.select(begins.fill_null(False)).to_series().to_numpy())
            if ends.size:
                yield self._numbered(joined.head(ends[-1]))
            waiting = [joined.slice(ends[-1]) if ends.size else joined]
        if waiting and sum(piece.height for piece in waiting):
            yield self._numbered(pl.concat(waiting))

    def _numbered(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Own ids as the shop's numbers, the user's kept beside them."""
        for name, names in self.own.items():
            own = frame[name]
            numbers = names.numbers(own)
            unknown = own.filter(numbers.is_null() & own.is_not_null())
            if unknown.len():
                told = self.unknown[name]
                told.first = told.first or shown(unknown[0])
                told.rows += unknown.len()
                fresh = unknown.rank("dense").cast(pl.Int64) + names.largest
                numbers = numbers.scatter((numbers.is_null() & own.is_not_null()).arg_true(), fresh)
            frame = frame.with_columns(numbers.alias(name), own.alias(OWN.format(name)))
        return frame

    def _pieces(self, rows: int) -> Iterator[pl.DataFrame]:
        for file in self.files:
            try:
                reader = pq.ParquetFile(file, buffer_size=BUFFER_BYTES)
                there = [name for name in self._columns if name in reader.schema_arrow.names]
                for batch in reader.iter_batches(batch_size=rows, columns=there):
                    yield self._fit(pl.DataFrame(pa.Table.from_batches([batch])))
            except UNREADABLE as error:
                raise _unreadable(file, error) from None

    def _fit(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The columns as `chunks` gives them, of rows that `_refuse_broken_rows` has seen; files may differ in types and order."""
        values = {"search_id": pl.lit(None, pl.String if "search_id" in self.own else pl.Int64)}
        for name, found in _readings(frame.schema, self._read, self.own).items():
            if found.value is not None:
                values[name] = found.value
        if self.has_label:
            values[self.config.label] = values[self.config.label].cast(pl.Int8)
        context = pl.col(self.config.context).cast(pl.Float64)
        frame = frame.with_columns(context, **values).select(self._columns)
        if self.period is not None and self.shop is not None:
            frame = self.shop.in_period(frame, self.period).collect()
        return frame


def _readings(
    schema: Mapping[str, pl.DataType], names: Sequence[str], own: Mapping[str, OwnNames]
) -> dict[str, Reading]:
    there = {name: schema[name] for name in names if name in schema}
    found = readings_of("impressions", there)
    return found | {name: own[name].reading(name, there[name]) for name in own if name in there}


def _refuse_broken_rows(file: Path, names: Sequence[str], own: Mapping[str, OwnNames]) -> None:
    """Check the named columns of a whole file in one streaming pass; null is refused where `NEVER_NULL` says so.

    Raises:
        RankingError: one line with every kind of fault, its first row and how many rows have it.
    """
    raw = pl.scan_parquet(file)
    reader = TableReader("impressions", raw, _readings(raw.collect_schema(), names, own))
    try:
        problems = list(row_problems(reader, nullable=set(names) - set(NEVER_NULL)))
    except UNREADABLE as error:
        raise _unreadable(file, error) from None
    broken = [str(problem) for problem in problems if not problem.is_told]
    if broken:
        raise RankingError(f"{file}: {' | '.join(broken)}")
    for problem in problems:
        say(f"{file}: {problem}")


def _checked_schema(file: Path, config: FeatureConfig) -> pl.Schema:
    refuse_bombs(file, RankingError)
    try:
        pq.read_schema(file)  # reads less than polars does, such as no integers of 128 bits
        schema = pl.Schema(pl.read_parquet_schema(file))
    except UNREADABLE as error:
        raise _unreadable(file, error) from None
    missing = [name for name in NEVER_NULL if name not in schema]
    if missing:
        stand_in = {column.name: column.stand_in for column in TABLES["impressions"]}
        put = "; ".join(f"{name}: {stand_in[name]}" for name in missing)
        raise RankingError(
            f"{file}: column {', '.join(missing)} is missing: impressions need {', '.join(NEVER_NULL)} "
            f"(it has {', '.join(schema)}); {put}"
        )
    check_context(schema, config, str(file))
    return schema


def _unreadable(file: Path, error: BaseException) -> RankingError:
    return RankingError(f"{file} cannot be read as Parquet: {first_line(error)}; write it again")
