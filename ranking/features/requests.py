"""Sorted impressions -> the requests that a loader reads: arrays, with histories as slices.

Notable choices
- **Rows are grouped by request.** Impressions of a request share user, query and histories, so these
  are kept (and later embedded) once a request.
- **Histories are never copied.** Each request holds `(start, end)` into one array of events a kind,
  sorted by user and time. They hold what the user did strictly before the *first* impression of the
  request, so a click in a request never informs its neighbours.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from moon_rec.lookup import rows_of
from moon_rec.shop import Shop
from moon_rec.shop.history import Histories, microseconds
from ranking.features.context import read_context
from ranking.features.impressions import request_bounds
from ranking.features.preparation import ITEM_COLUMNS, Preparation

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Catalogue:
    """Everything known of items (or searches) by row; a last row stands for "none of these".

    Attributes:
        ids: `(items,)` int64, ascending.
        features: name -> `(items + 1,)` int64 vocabulary rows; the last is all unknown.
    """

    ids: np.ndarray
    features: dict[str, np.ndarray]

    @property
    def nothing(self) -> int:
        """The row that stands for no such item."""
        return self.ids.size

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """Row of each id, `nothing` where there is none."""
        return rows_of(self.ids, ids, missing=self.nothing)


@dataclass(frozen=True)
class Requests:
    """The requests of one period, in order of time; rows are those of request 0, then 1, ...

    Attributes:
        request_ids, user_ids: `(requests,)` raw ids. users: their vocabulary rows.
        queries: `(requests,)` rows of the query catalogue.
        history_starts, history_ends: `(requests,)` into `RankingTables.history_events`, oldest first.
        query_starts, query_ends: the same into `RankingTables.query_events`.
        offsets: `(requests + 1,)`; the rows of request r are `offsets[r]:offsets[r + 1]`.
        item_ids: `(rows,)` raw ids. items: their rows of the item catalogue. labels: `(rows,)` float32 of 0 and 1, NaN where
            there is none (impressions that are only scored).
        context: `(rows, num_context)` float32, standardised.
        is_cold: `(rows,)`.
    """

    request_ids: np.ndarray
    user_ids: np.ndarray
    users: np.ndarray
    queries: np.ndarray
    history_starts: np.ndarray
    history_ends: np.ndarray
    query_starts: np.ndarray
    query_ends: np.ndarray
    offsets: np.ndarray
    item_ids: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    context: np.ndarray
    is_cold: np.ndarray

    @property
    def num_rows(self) -> int:
        """Impressions of the period."""
        return self.items.size

    def row_requests(self) -> np.ndarray:
        """Request of each row, `(rows,)`."""
        return np.repeat(np.arange(self.request_ids.size), np.diff(self.offsets))

    def take(self, chosen: np.ndarray) -> "Requests":
        """Some of the requests with their rows; `chosen` are their numbers `(few,)`."""
        sizes = np.diff(self.offsets)[chosen]
        offsets = np.append(0, np.cumsum(sizes))
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], sizes)
        by_row = ("item_ids", "items", "labels", "context", "is_cold")
        found = {
            name: value[rows if name in by_row else chosen]
            for name, value in vars(self).items()
            if name != "offsets"
        }
        return Requests(**found, offsets=offsets)


@dataclass(frozen=True, repr=False)
class RequestReader:
    """What impressions of a shop are read with, whichever period they are of.

    Attributes:
        preparation: vocabularies and scales.
        items, queries: catalogues of the shop.
        clicks, past_searches: its users' events.
        searched: `(queries + 1,)` int64 microseconds at which each search was made.
    """

    preparation: Preparation
    items: Catalogue
    queries: Catalogue
    clicks: Histories
    past_searches: Histories
    searched: np.ndarray

    @classmethod
    def of(cls, shop: Shop, preparation: Preparation) -> "RequestReader":
        """Read catalogues and events of a shop."""
        searches = shop.searches.select("search_id", "time", "query_text").collect()
        searches = searches.sort("search_id")
        queries = {"query": preparation.vocabularies["query"].rows(searches["query_text"])}
        return cls(
            preparation=preparation,
            items=_item_catalogue(shop, preparation),
            queries=Catalogue(searches["search_id"].to_numpy().copy(), _with_nothing(queries)),
            clicks=Histories.of(shop, kind=preparation.config.history_kind),
            past_searches=Histories.of_searches(shop),
            searched=np.append(microseconds(searches["time"]), NEVER),
        )

    def read(self, frame: pl.DataFrame, in_training: bool = False) -> Requests:
        """Requests of a frame that `impressions.in_requests` sorted.

        Args:
            frame: with `request_id, search_id, user_id, item_id, start`, the context columns, and the
                label where there is one; where counters are read, with those (`counters.with_counters`).
            in_training: whether position may be seen.
        """
        config = self.preparation.config
        offsets = request_bounds(frame, self.preparation.max_candidates)
        first = frame[offsets[:-1]]
        user_ids, begins = first["user_id"].to_numpy().copy(), microseconds(first["start"])
        queries = self.queries.rows(first["search_id"].fill_null(-1).to_numpy())
        starts, ends = self.clicks.before(user_ids, begins, config.history_length)
        # the search that led here is the query, not a past behaviour
        query_starts, query_ends = self.past_searches.before(
            user_ids, np.minimum(begins, self.searched[queries]), config.query_history_length
        )
        item_ids = frame["item_id"].to_numpy().copy()
        items = self.items.rows(item_ids)
        counts = self.preparation.item_counts[self.items.features["item"]]
        return Requests(
            request_ids=first["request_id"].to_numpy().copy(),
            user_ids=user_ids,
            users=self.preparation.vocabularies["user"].rows(first["user_id"]),
            queries=queries,
            history_starts=starts,
            history_ends=ends,
            query_starts=query_starts,
            query_ends=query_ends,
            offsets=offsets,
            item_ids=item_ids,
            items=items,
            labels=_labels(frame, config.label),
            context=read_context(self.preparation.context, frame, config, in_training),
            is_cold=counts[items] < config.cold_below,
        )


def _labels(frame: pl.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        return np.full(frame.height, np.nan, dtype=np.float32)
    return frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy().copy()


def _item_catalogue(shop: Shop, preparation: Preparation) -> Catalogue:
    frame = shop.items.select("item_id", "category", "brand", "price").collect().sort("item_id")
    features = {
        name: preparation.vocabularies[name].rows(frame[column])
        for name, column in ITEM_COLUMNS.items()
    }
    features["price"] = preparation.price_rows(frame["price"].to_numpy())
    return Catalogue(frame["item_id"].to_numpy().copy(), _with_nothing(features))


def _with_nothing(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.append(rows, 0).astype(np.int64) for name, rows in features.items()}
