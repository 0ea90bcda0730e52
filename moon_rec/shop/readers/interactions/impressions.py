"""The rows of a log as a shop's impressions, and the words that were searched for as its searches."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from moon_rec.shop.readers.interactions.log import OUTCOMES, LogColumnsRead
from moon_rec.shop.readers.interactions.numbered import PAGED, NumberedLog
from moon_rec.shop.writer import ROW_GROUP


class Impressions:
    """What a log says of pages, row by row."""

    def __init__(self, read: LogColumnsRead, log: NumberedLog) -> None:
        """Look whether there are searches."""
        self.read, self.log = read, log
        how = read.readings.get("query")
        self._query = None if how is None else how.value
        self._has_query: np.ndarray | None = None

    @property
    def has_queries(self) -> bool:
        """Whether the log has a column of words that were searched for."""
        return self._query is not None

    def frames(self, further: dict[str, pl.Expr]) -> Iterator[pl.DataFrame]:
        """The log's own rows, in the order of the files, a row group's worth at a time; `searches` must have run to its end.

        Args:
            further: context columns by name.
        """
        assert not self.has_queries or self._has_query is not None, "searches come first"
        pieces = self._beside_source(further) if further else self._alone()
        for records, beside in pieces:
            kept = records["is_kept"]
            yield self._frame(records[kept]).hstack(beside.filter(pl.Series(kept)))

    def searches(self) -> Iterator[pl.DataFrame]:
        """A search for each page that has words, at its first row that has them."""
        log = self.log
        if self._query is None:
            return
        self._has_query = np.zeros(log.num_pages, bool)
        for records, beside in self._beside_source({"query_text": self._query}):
            places = np.flatnonzero(beside["query_text"].is_not_null().to_numpy())
            places = places[~self._has_query[records["page"][places]]]
            _, first = np.unique(records["page"][places], return_index=True)
            places = places[np.sort(first)]
            found = records[places]
            self._has_query[found["page"]] = True
            yield pl.DataFrame(
                {
                    "search_id": log.request_ids(found),
                    "user_id": log.numbers["user"][found["user"]],
                    "time": _moments(found),
                    "query_text": beside["query_text"].gather(places),
                }
            )

    def _alone(self) -> Iterator[tuple[np.ndarray, pl.DataFrame]]:
        for records in self.log.parts():
            for start in range(0, records.size, ROW_GROUP):
                piece = records[start : start + ROW_GROUP]
                yield piece, pl.DataFrame(height=piece.size)

    def _beside_source(
        self, values: dict[str, pl.Expr]
    ) -> Iterator[tuple[np.ndarray, pl.DataFrame]]:
        """Records of the log, and columns of the same rows that its files are read again for."""
        frame = self.read.frame.select(value.alias(name) for name, value in values.items())
        parts, waiting, start = self.log.parts(), np.empty(0, PAGED), 0
        for batch in self.read.source.batches(frame, ROW_GROUP):
            rows = batch.filter(self.log.rows.used.slice(start, batch.height))
            start += batch.height
            while waiting.size < rows.height:
                waiting = np.concatenate([waiting, next(parts)])
            yield waiting[: rows.height], rows
            waiting = waiting[rows.height :]

    def _frame(self, records: np.ndarray) -> pl.DataFrame:
        """Rows of the log as impressions."""
        log = self.log
        columns = {
            "request_id": log.request_ids(records),
            "user_id": log.numbers["user"][records["user"]],
            "item_id": log.numbers["item"][records["item"]],
            "time": _moments(records),
            "position": np.ascontiguousarray(records["position"]),
        }
        for bit, name in reversed(list(enumerate(OUTCOMES))):
            absent = np.full(records.size, name == "clicked")
            there = name in log.rows.outcomes
            columns[name] = (records["outcomes"] >> bit & 1).astype(bool) if there else absent
        frame = pl.DataFrame(columns)
        if self._has_query is None:
            return frame.with_columns(search_id=pl.lit(None, pl.Int64))
        known = pl.Series(self._has_query[records["page"]])
        return frame.with_columns(search_id=pl.when(known).then(pl.col("request_id")))


def _moments(records: np.ndarray) -> pl.Series:
    return pl.Series("time", records["time"], dtype=pl.Int64).cast(pl.Datetime("us"))
