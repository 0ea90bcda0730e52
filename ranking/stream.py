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
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import RankingError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.schema import TABLES
from moon_rec.values import labels, times, whole_ids
from ranking.features.feature_config import FeatureConfig, Period
from ranking.features.impressions import KEYS, NEVER_NULL, check_context

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
        labelled = [config.label in schema for schema in schemas]
        self.has_label = all(labelled)
        if any(labelled) and not self.has_label:
            without = self.files[labelled.index(False)]
            say(f"{without} has no column {config.label}: no label of any file is read")
        self.num_rows = sum(pq.ParquetFile(file).metadata.num_rows for file in self.files)

    def chunks(self, chunk_rows: int) -> Iterator[pl.DataFrame]:
        """Frames of about `chunk_rows` rows: at most twice as many, unless a request is longer.

        Columns are `request_id, search_id, user_id, item_id` Int64, `time` Datetime("us"), the context, and the
        label as Int8 of 0, 1 and null where there is one.

        Raises:
            RankingError: a null id or time, a label other than 0 and 1, a value that `moon_rec.values` cannot read: every column at once, each with its
                first row.
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
            first_row = 0
            for batch in reader.iter_batches(batch_size=rows, columns=there):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                yield self._fit(frame, str(file), first_row)
                first_row += frame.height

    def _fit(self, frame: pl.DataFrame, where: str, first_row: int) -> pl.DataFrame:
        """The columns as `chunks` gives them; what cannot be read as such is refused, every column at once."""
        if "search_id" not in frame.columns:
            frame = frame.with_columns(search_id=pl.lit(None, pl.Int64))
        told: dict[str, Any] = {"first_row": first_row, "error": RankingError}
        label = [self.config.label] if self.has_label else []
        context = pl.col(self.config.context).cast(pl.Float64)  # files may differ in it
        columns: list[pl.Series] = []
        faults: list[str] = []
        for name in (*KEYS, *label):
            read = times if name == "time" else labels if name in label else whole_ids
            try:
                found = read(frame[name], where, nullable=name not in NEVER_NULL, **told)
                columns.append(found.cast(pl.Int8) if name in label else found)
            except RankingError as error:
                faults.append(str(error).removeprefix(f"{where}: "))
        if faults:
            raise RankingError(f"{where}: {' | '.join(faults)}")
        frame = frame.with_columns(context, *columns)
        if self.period is not None and self.shop is not None:
            frame = self.shop.in_period(frame, self.period).collect()
        return frame


def _checked_schema(file: Path, config: FeatureConfig) -> pl.Schema:
    try:
        schema = pl.Schema(pl.read_parquet_schema(file))
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise RankingError(f"{file} cannot be read as Parquet: {reason}") from None
    missing = [name for name in NEVER_NULL if name not in schema]
    if missing:
        absent = {column.name: column.absent for column in TABLES["impressions"]}
        put = ", ".join(f"{name}: {absent[name]}" for name in missing)
        raise RankingError(
            f"{file}: column {', '.join(missing)} is missing: impressions need {', '.join(NEVER_NULL)} "
            f"(it has {', '.join(schema)}); where there is none put {put}"
        )
    check_context(schema, config, str(file))
    return schema
