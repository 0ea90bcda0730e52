"""Ranking tables as plain columns, a block of rows at a time: one row an impression, its history beside it.

Other libraries know rows, not requests: what a request shares is repeated for each of its impressions, so
a hand-over is larger than the tables. It is made in blocks and never held whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ranking.features import HISTORY_FEATURES, ITEM_FEATURES, Period, RankingTables, Requests

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Sequence:
    """A jagged column.

    Attributes:
        values: `(events,)` row by row, oldest first. sizes: `(rows,)`.
    """

    values: np.ndarray
    sizes: np.ndarray

    def padded(self, length: int, fill: int) -> np.ndarray:
        """`(rows, length)`, filled up at the left; the oldest of longer rows fall away."""
        place = np.arange(length) - length + self.sizes[:, None]
        last = np.cumsum(self.sizes)[:, None]
        found = np.full(place.shape, fill, dtype=self.values.dtype)
        real = place >= 0
        found[real] = self.values[(last + np.arange(length) - length)[real]]
        return found


@dataclass(frozen=True)
class Block:
    """Some rows of a period.

    Attributes:
        scalars: name -> `(rows,)` vocabulary rows, 0 where unknown; `user, query` and the item's.
        item_rows: `(rows,)` catalogue rows; history_rows: the same of what the user did before.
        sequences: name -> vocabulary rows of the history, and of `past_query`.
        labels, request_ids, user_ids: `(rows,)`. context: `(rows, num_context)`, the context columns and, last, the counters.
    """

    scalars: dict[str, np.ndarray]
    item_rows: np.ndarray
    history_rows: Sequence
    sequences: dict[str, Sequence]
    labels: np.ndarray
    request_ids: np.ndarray
    user_ids: np.ndarray
    context: np.ndarray


def scalar_names(tables: RankingTables) -> list[str]:
    """Features of user, search and item of which anything is known."""
    return [name for name in ("user", "query", *ITEM_FEATURES) if _is_known(tables, name)]


def sequence_names(tables: RankingTables) -> dict[str, str]:
    """Sequence -> the feature whose values and table it has."""
    found = {f"history_{name}": name for name in HISTORY_FEATURES if _is_known(tables, name)}
    return found | ({"past_query": "query"} if _is_known(tables, "query") else {})


def blocks(tables: RankingTables, period: Period, num_rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """The rows of a period in the tables' order."""
    requests = tables.periods[period]
    owners = requests.row_requests()
    for start in range(0, requests.num_rows, num_rows):
        yield _block(tables, requests, owners, slice(start, start + num_rows))


def _block(tables: RankingTables, requests: Requests, owners: np.ndarray, rows: slice) -> Block:
    of, items = owners[rows], requests.items[rows]
    history = _sequence(
        tables.history_events, requests.history_starts[of], requests.history_ends[of]
    )
    past = _sequence(tables.query_events, requests.query_starts[of], requests.query_ends[of])
    queries = tables.queries.features["query"]
    scalars = {"user": requests.users[of], "query": queries[requests.queries[of]]}
    scalars |= {name: tables.items.features[name][items] for name in ITEM_FEATURES}
    sequences = {
        f"history_{name}": Sequence(tables.items.features[name][history.values], history.sizes)
        for name in HISTORY_FEATURES
    }
    sequences["past_query"] = Sequence(queries[past.values], past.sizes)
    return Block(
        scalars={name: scalars[name] for name in scalar_names(tables)},
        item_rows=items,
        history_rows=history,
        sequences={name: sequences[name] for name in sequence_names(tables)},
        labels=requests.labels[rows],
        request_ids=requests.request_ids[of],
        user_ids=requests.user_ids[of],
        context=requests.context[rows],
    )


def _sequence(events: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Sequence:
    sizes = ends - starts
    before = np.cumsum(sizes) - sizes
    return Sequence(events[np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))], sizes)


def _is_known(tables: RankingTables, name: str) -> bool:
    """Whether any row of the feature is more than unknown."""
    if name == "user":
        return tables.num_embeddings["user"] > 1
    catalogue = tables.queries if name == "query" else tables.items
    return bool(catalogue.features[name].any())
