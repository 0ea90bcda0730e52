"""A log whose ids are the shop's numbers, and whose rows are on pages, in bounded memory.

Notable choices
- The rows are scattered on disk into parts of a span of time each, so that a page lies in one part; pages are found part by part
  (`pages.py`), and their numbers go on from part to part. Then the rows are scattered once more, back into the order of
  the files.
- What is kept in memory is some numbers for each id, and one part.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import numpy as np
import polars as pl

from moon_rec.shop.own_ids import Kind, OwnIds
from moon_rec.shop.readers.interactions.pages import Pages, pages_of, times_of_pages
from moon_rec.shop.readers.interactions.rows import KIND, LogRows
from moon_rec.shop.readers.interactions.scratch import Scratch

PART_ROWS = 1 << 19
NUMBERED = np.dtype([("row", "i8"), *KIND.descr])
"""A row of the log with its place in the files."""
PAGED = np.dtype([*NUMBERED.descr, ("page", "i8"), ("is_kept", "?")])
"""It on its page: `time` is the page's, `outcomes` are those of all rows that it stands for, which are not kept."""


class NumberedLog:
    """The rows of a log with their pages, and the ids of all tables.

    Attributes:
        rows: as they were read.
        ids: kind -> the ids that are written anywhere.
        numbers: kind -> the shop's id of each of `rows.texts`.
        uses_own_requests: whether the log's own ids of pages are the shop's, for each is one page.
        num_pages, num_kept, num_again: pages; rows that stand for an item of a page, and the others.
        num_split: names of pages that are of several.
    """

    def __init__(
        self, rows: LogRows, others: Mapping[str, Iterable[pl.Series]], page_gap: float | None
    ) -> None:
        """Number the ids and group the rows.

        Args:
            others: kind -> ids as the tables beside the log write them, a series a table.
            page_gap: as of `InteractionsConfig`.
        """
        self.rows = rows
        self.ids: dict[str, OwnIds] = {}
        self.numbers: dict[str, np.ndarray] = {}
        for kind, texts in rows.texts.items():
            tables = [texts, *(each.rename("own") for each in others.get(kind, ()))]
            self.ids[kind] = OwnIds.of(cast(Kind, kind), pl.concat(tables))
            self.numbers[kind] = self.ids[kind].of_texts(texts)
        self.num_pages = self.num_kept = self.num_again = 0
        self._first_seen = np.full(rows.texts["item"].len(), np.iinfo(np.int64).max)
        self._times, self._by_row = Scratch(np.int64), Scratch(PAGED)
        num_names = rows.texts["request"].len() if rows.has_requests else 0
        pages_of_name, has_nameless = np.zeros(num_names, np.uint32), False
        for part, records in enumerate(self._by_time(page_gap)):
            pages = self._pages_of(records)
            self._take(part, records, pages)
            if pages.names is not None:
                named = pages.names[pages.names >= 0]
                has_nameless |= named.size < pages.names.size
                np.add.at(pages_of_name, named, 1)
        self.num_split = int((pages_of_name > 1).sum())
        self.uses_own_requests = rows.has_requests and not has_nameless and not self.num_split
        if not self.uses_own_requests:
            self.ids.pop("request", None)

    @property
    def has_outcomes(self) -> bool:
        """Whether the log says what was clicked; else every row is a positive."""
        return "clicked" in self.rows.outcomes

    def parts(self) -> Iterator[np.ndarray]:
        """The rows of `PAGED` in the order of the files, a part at a time."""
        for records in self._by_row:
            ordered = np.empty_like(records)
            ordered[records["row"] % PART_ROWS] = records
            yield ordered

    def request_ids(self, records: np.ndarray) -> np.ndarray:
        """The log's own ids of pages, where each is one page; else the pages' numbers, from 1."""
        if self.uses_own_requests:
            return self.numbers["request"][records["request"]]
        return records["page"] + 1

    def moment_at(self, share: float) -> int:
        """The time, in microseconds, before which that share of the kept rows lies: the quantile, the lower of two."""
        place = int((self.num_kept - 1) * share)
        for part in range(self._times.num_parts):
            if place < self._times.size(part):
                return int(self._times.read(part)[place])
            place -= self._times.size(part)
        raise AssertionError("a share lies from 0 to 1")

    def first_seen(self, events: pl.DataFrame | None = None) -> pl.DataFrame:
        """item_id and `seen`: when log or events first have it; the log's begin for an item that neither has."""
        known = pl.DataFrame({"item_id": self.numbers["item"], "seen": self._first_seen})
        if events is not None:
            known = pl.concat([known, events.select("item_id", seen=pl.col("time").cast(pl.Int64))])
        known = known.group_by("item_id").agg(pl.col("seen").min())
        everything = pl.DataFrame({"item_id": np.unique(self.ids["item"].ids)})
        found = everything.join(known, on="item_id", how="left", maintain_order="left")
        begin = int(self._first_seen.min())
        return found.with_columns(pl.col("seen").fill_null(begin).cast(pl.Datetime("us")))

    def _by_time(self, page_gap: float | None) -> Scratch:
        """The rows in parts that follow one another in time."""
        num_parts = -(-self.rows.num_rows // PART_ROWS)
        borders = self.rows.times[np.arange(1, num_parts) * self.rows.times.size // num_parts]
        found = Scratch(NUMBERED)
        for records in self._rows_in_order() if page_gap is None else self._joined(page_gap):
            found.scatter(np.searchsorted(borders, records["time"], side="right"), records)
        return found

    def _rows_in_order(self) -> Iterator[np.ndarray]:
        row = 0
        for records in self.rows.batches():
            numbered = np.empty(records.size, NUMBERED)
            for name in KIND.names or ():
                numbered[name] = records[name]
            numbered["row"] = np.arange(row, row + records.size)
            row += records.size
            yield numbered

    def _joined(self, page_gap: float) -> Iterator[np.ndarray]:
        """The rows with the times of their pages, where a gap ends a page; users lie in one part each."""
        by_user = Scratch(NUMBERED)
        users_a_part = -(-self.rows.texts["user"].len() * PART_ROWS // self.rows.num_rows)
        for records in self._rows_in_order():
            by_user.scatter(records["user"].astype(np.int64) // users_a_part, records)
        for records in by_user:
            records["time"] = times_of_pages(records["user"], records["time"], page_gap)
            yield records

    def _pages_of(self, records: np.ndarray) -> Pages:
        return pages_of(
            records["user"].astype(np.int64),
            records["item"].astype(np.int64),
            records["time"],
            records["request"].astype(np.int64) if self.rows.has_requests else None,
            records["position"].astype(np.int64) if self.rows.has_positions else None,
        )

    def _take(self, part: int, records: np.ndarray, pages: Pages) -> None:
        """Write the rows of a part of time, on their pages, to the parts by place in the files."""
        paged = np.empty(records.size, PAGED)
        for name in NUMBERED.names or ():
            paged[name] = records[name]
        paged["page"] = self.num_pages + pages.number
        paged["position"] = pages.position
        paged["is_kept"] = pages.kept
        paged["outcomes"] = pages.merged(records["outcomes"])
        np.minimum.at(self._first_seen, records["item"], records["time"])
        self._times.append(part, np.sort(records["time"][pages.kept]))
        self._by_row.scatter(records["row"] // PART_ROWS, paged)
        self.num_pages += pages.num_pages
        self.num_kept += int(pages.kept.sum())
        self.num_again += int((~pages.kept).sum())
