"""Impressions of any number, read from Parquet in chunks of whole requests and bounded memory.

Notable choices
- Rows come in the order of the files. A chunk ends where a request ends, so a request whose rows stand
  together (as a log writes them) is in one chunk. Rows of a request share one time, as the shop's rules
  want; then also a request whose rows lie apart gets the same scores.
- Row groups are decoded piece by piece through a small buffer: one huge row group needs no more memory
  than many small ones.
- Only what scoring needs is asked of a file: request_id, user_id, item_id, time and the context columns.
  search_id and the label are read where they are there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import RankingError
from moon_rec.shop import Shop
from ranking.features.feature_config import FeatureConfig, Period
from ranking.features.impressions import KEYS, NEVER_NULL, check_context, check_rows, labels_of

BUFFER_BYTES = 1 << 20


class ImpressionStream:
    """Impressions of Parquet files, or of a period of a shop.

    Args:
        files: in order.
        config: which context columns and which label.
        shop: whose period, with `period`.
        period: only its rows; None for all.

    Attributes:
        has_label: whether every file has the label.
        num_rows: of all files, before the period is cut out.

    Raises:
        RankingError: no Parquet file, or a column that is missing or of a wrong type.
    """

    def __init__(
        self,
        files: Sequence[Path],
        config: FeatureConfig,
        shop: Shop | None = None,
        period: Period | None = None,
    ):
        assert period is None or shop is not None, "a period is one of a shop"
        self.files, self.config, self.shop = tuple(files), config, shop
        self.period: Period | None = period
        schemas = [_checked_schema(file, config) for file in self.files]
        self.has_label = all(config.label in schema for schema in schemas)
        self.num_rows = sum(pq.ParquetFile(file).metadata.num_rows for file in self.files)

    def chunks(self, chunk_rows: int) -> Iterator[pl.DataFrame]:
        """Frames of about `chunk_rows` rows: at most twice as many, unless a request is longer.

        Columns are `request_id, search_id, user_id, item_id` Int64, `time` Datetime("us"), the context, and the
        label as Int8 of 0, 1 and null where there is one.

        Raises:
            RankingError: a null id or time, a label other than 0 and 1, a value that does not fit its type.
        """
        waiting: list[pl.DataFrame] = []
        for frame in self._pieces(chunk_rows):
            waiting.append(frame)
            if sum(piece.height for piece in waiting) < chunk_rows:
                continue
            joined = pl.concat(waiting)
            keys = joined.select("request_id", "user_id").to_numpy()
            ends = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
            if ends.size:
                yield joined.head(ends[-1])
            waiting = [joined.slice(ends[-1]) if ends.size else joined]
        if waiting and sum(piece.height for piece in waiting):
            yield pl.concat(waiting)

    def _pieces(self, rows: int) -> Iterator[pl.DataFrame]:
        columns = [*KEYS, *self.config.context, *([self.config.label] * self.has_label)]
        for file in self.files:
            reader = pq.ParquetFile(file, buffer_size=BUFFER_BYTES)
            there = [name for name in dict.fromkeys(columns) if name in reader.schema_arrow.names]
            for batch in reader.iter_batches(batch_size=rows, columns=there):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                yield self._fit(frame, str(file))

    def _fit(self, frame: pl.DataFrame, where: str) -> pl.DataFrame:
        if "search_id" not in frame.columns:
            frame = frame.with_columns(search_id=pl.lit(None, pl.Int64))
        ids = ["request_id", "search_id", "user_id", "item_id"]
        try:
            frame = frame.with_columns(pl.col(ids).cast(pl.Int64), time=_utc(frame["time"]))
        except pl.exceptions.PolarsError as error:
            raise RankingError(f"{where}: {str(error).splitlines()[0]}") from None
        check_rows(frame, NEVER_NULL, where)
        if self.has_label:
            frame = frame.with_columns(labels_of(frame[self.config.label], where))
        if self.period is not None and self.shop is not None:
            frame = self.shop.in_period(frame, self.period).collect()
        return frame


def _utc(times: pl.Series) -> pl.Series:
    """Times as Datetime("us") without zone, read as UTC."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us"))


def _checked_schema(file: Path, config: FeatureConfig) -> pl.Schema:
    try:
        schema = pl.read_parquet_schema(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise RankingError(f"{file} cannot be read as Parquet: {reason}") from None
    schema = pl.Schema(schema)
    for name in NEVER_NULL:
        if name not in schema:
            raise RankingError(
                f"{file}: column {name} is missing: impressions need {', '.join(NEVER_NULL)} "
                f"(it has {', '.join(schema)})"
            )
        wanted = "a time" if name == "time" else "integers"
        fits = schema[name].is_temporal() if name == "time" else schema[name].is_integer()
        if not fits:
            raise RankingError(f"{file}: column {name} is {schema[name]}: wanted {wanted}")
    check_context(schema, config)
    return schema
