"""A log whose ids are the shop's numbers, and whose rows are on pages."""

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import polars as pl

from moon_rec.shop.own_ids import Kind, OwnIds
from moon_rec.shop.readers.interactions.log import LogArrays
from moon_rec.shop.readers.interactions.pages import Pages, pages_of


class NumberedLog:
    """The rows of a log with their pages, and the ids of all tables.

    Attributes:
        rows, pages: row by row, in the order of the files.
        ids: kind -> the ids that are written anywhere.
        numbers: kind -> the shop's id of each of `rows.texts`.
        uses_own_requests: whether the log's own ids of pages are the shop's, for each is one page.
    """

    def __init__(
        self, rows: LogArrays, others: Mapping[str, Iterable[pl.Series]], page_gap: float | None
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
        self.pages: Pages = pages_of(
            rows.user, rows.item, rows.time, rows.request, rows.position, page_gap
        )
        self.uses_own_requests = (
            rows.request is not None
            and self.pages.num_split == 0
            and bool((rows.request >= 0).all())
        )
        if not self.uses_own_requests:
            self.ids.pop("request", None)

    @property
    def has_outcomes(self) -> bool:
        """Whether the log says what was clicked; else every row is a positive."""
        return "clicked" in self.rows.outcomes

    def request_ids(self, places: np.ndarray) -> np.ndarray:
        """The log's own ids of pages, where each is one page; else the pages' numbers, from 1."""
        if self.uses_own_requests and self.rows.request is not None:
            return self.numbers["request"][self.rows.request[places]]
        return self.pages.number[places] + 1

    def moments(self) -> pl.Series:
        """The times of the rows that are kept."""
        times = self.pages.time[self.pages.kept]
        return pl.Series("time", times, dtype=pl.Int64).cast(pl.Datetime("us"))

    def first_seen(self) -> pl.DataFrame:
        """item_id and `seen`: when the log first has it; the log's begin for an item that it has not."""
        first = np.full(self.rows.texts["item"].len(), np.iinfo(np.int64).max)
        np.minimum.at(first, self.rows.item, self.pages.time)
        known = pl.DataFrame({"item_id": self.numbers["item"], "seen": first})
        known = known.group_by("item_id").agg(pl.col("seen").min())
        everything = pl.DataFrame({"item_id": np.unique(self.ids["item"].ids)})
        found = everything.join(known, on="item_id", how="left", maintain_order="left")
        begin = int(self.pages.time.min())
        return found.with_columns(pl.col("seen").fill_null(begin).cast(pl.Datetime("us")))
