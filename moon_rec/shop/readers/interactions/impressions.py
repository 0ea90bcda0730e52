"""The rows of a log as a shop's impressions, and the words that were searched for as its searches."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from moon_rec.shop.readers.interactions.log import OUTCOMES, LogColumnsRead
from moon_rec.shop.readers.interactions.numbered import NumberedLog
from moon_rec.shop.writer import ROW_GROUP


class Impressions:
    """What a log says of pages, row by row.

    Attributes:
        searches: the table of searches, one for each page with words; None where the log has no such column.
    """

    def __init__(self, read: LogColumnsRead, log: NumberedLog) -> None:
        """Find the searches."""
        self.read, self.log = read, log
        self.searches, self._has_query = None, np.zeros(0, bool)
        how = read.readings.get("query")
        if how is not None and how.value is not None:
            self._find_searches(how.value)

    def frames(self, further: dict[str, pl.Expr]) -> Iterator[pl.DataFrame]:
        """The log's own rows, in the order of the files, a row group's worth at a time.

        Args:
            further: context columns by name.
        """
        kept = self.log.pages.kept
        outcomes = {
            name: self.log.pages.merged(values) for name, values in self.log.rows.outcomes.items()
        }
        if not further:
            places = np.flatnonzero(kept)
            for start in range(0, places.size, ROW_GROUP):
                yield self._frame(places[start : start + ROW_GROUP], outcomes)
            return
        wanted = [value.alias(name) for name, value in further.items()]
        used, start = pl.Series(self.log.rows.used), 0
        done = 0
        for piece in self.read.frame.select(wanted).collect_batches(
            chunk_size=ROW_GROUP, maintain_order=True
        ):
            rows = piece.filter(used.slice(start, piece.height))
            start += piece.height
            mask = kept[done : done + rows.height]
            here = done + np.flatnonzero(mask)
            done += rows.height
            yield self._frame(here, outcomes).hstack(rows.filter(pl.Series(mask)))

    def _frame(self, places: np.ndarray, outcomes: dict[str, np.ndarray]) -> pl.DataFrame:
        """Rows of the log as impressions."""
        log, pages = self.log, self.log.pages
        columns = {
            "request_id": log.request_ids(places),
            "user_id": log.numbers["user"][log.rows.user[places]],
            "item_id": log.numbers["item"][log.rows.item[places]],
            "time": pl.Series(pages.time[places], dtype=pl.Int64).cast(pl.Datetime("us")),
            "position": pl.Series(pages.position[places]).cast(pl.Int32),
        }
        for name in reversed(OUTCOMES):
            absent = np.full(places.size, name == "clicked")
            columns[name] = outcomes[name][places] if name in outcomes else absent
        frame = pl.DataFrame(columns)
        if self.searches is None:
            return frame.with_columns(search_id=pl.lit(None, pl.Int64))
        known = pl.Series(self._has_query[pages.number[places]])
        return frame.with_columns(search_id=pl.when(known).then(pl.col("request_id")))

    def _find_searches(self, query: pl.Expr) -> None:
        """A search for each page that has words, at its first row that has them."""
        log, pages = self.log, self.log.pages
        texts = self.read.frame.select(query.alias("query_text")).collect(engine="streaming")
        texts = texts.filter(pl.Series(log.rows.used)).with_columns(page=pl.Series(pages.number))
        first = (
            texts.with_row_index("row")
            .drop_nulls("query_text")
            .unique("page", keep="first", maintain_order=True)
        )
        rows = first["row"].to_numpy().astype(np.int64)
        self._has_query = np.zeros(int(pages.number.max(initial=-1)) + 1, bool)
        self._has_query[pages.number[rows]] = True
        self.searches = pl.DataFrame(
            {
                "search_id": log.request_ids(rows),
                "user_id": log.numbers["user"][log.rows.user[rows]],
                "time": pl.Series(pages.time[rows], dtype=pl.Int64).cast(pl.Datetime("us")),
                "query_text": first["query_text"],
            }
        )
