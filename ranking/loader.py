"""Batches of whole requests, gathered from the tables with array operations only.

Notable choices
- A batch holds as many requests as reach `batch_size` rows; histories are gathered once a request.
- Behaviours come newest first, so place k of any padded history is the k-th newest.
- Shuffling and hidden ids depend on (seed, epoch) alone.
- `unknown_rate` hides item and user ids at random in training, so that row 0, which stands for every
  item and user unseen before the cut, is trained on what it will be used for.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from moon_rec.seeds import generator
from ranking.batch import Batch, ContentBatch
from ranking.content import ContentStores
from ranking.features import ITEM_FEATURES, Period, RankingTables

HISTORY_FEATURES = ("item", "category", "brand")
HIDDEN_FEATURES = ("user", "item", "history_item")


class Loader:
    """Iterates over the batches of a period, in order of time or shuffled.

    Args:
        tables: what `RankingTables.build` gives.
        period: which requests.
        batch_size: rows a batch; the last request of a batch may exceed it.
        content: vectors, for a ranker that reads them.
        shuffle_seed: shuffles requests, anew each epoch; None keeps the tables' order.
        unknown_rate: probability that an item's or user's id is hidden; only where shuffled.
    """

    def __init__(
        self,
        tables: RankingTables,
        period: Period,
        batch_size: int,
        content: ContentStores | None = None,
        shuffle_seed: int | None = None,
        unknown_rate: float = 0.0,
    ):
        self.tables, self.requests = tables, tables.periods[period]
        self.content, self.batch_size = content, batch_size
        self.shuffle_seed, self.unknown_rate = shuffle_seed, unknown_rate
        self._sizes = np.diff(self.requests.offsets)

    def __len__(self) -> int:
        """Batches an epoch in the tables' order; a shuffled epoch may have a few fewer or more."""
        return len(self._bounds(np.arange(self._sizes.size))) - 1

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch."""
        order = np.arange(self._sizes.size)
        hide = None
        if self.shuffle_seed is not None:
            order = generator(self.shuffle_seed, "shuffle", epoch).permutation(order)
            hide = generator(self.shuffle_seed, "hidden ids", epoch)
        bounds = self._bounds(order)
        for start, end in itertools.pairwise(bounds):
            yield self.batch(order[start:end], hide)

    def _bounds(self, order: np.ndarray) -> np.ndarray:
        """Places in `order` where batches begin, and its end."""
        before = np.cumsum(self._sizes[order]) - self._sizes[order]
        number = before // self.batch_size
        begins = np.flatnonzero(np.diff(number, prepend=-1) > 0)
        return np.append(begins, order.size)

    def batch(self, chosen: np.ndarray, hide: np.random.Generator | None = None) -> Batch:
        """The batch of those requests, `(batch,)` numbers within the period."""
        requests, tables = self.requests, self.tables
        sizes = self._sizes[chosen]
        rows = _ranges(requests.offsets[chosen], sizes)
        items = requests.items[rows]
        history, history_sizes = _newest_first(
            tables.history_events, requests.history_starts[chosen], requests.history_ends[chosen]
        )
        past, past_sizes = _newest_first(
            tables.query_events, requests.query_starts[chosen], requests.query_ends[chosen]
        )
        ones = np.ones_like(chosen)
        ids = {"user": requests.users[chosen]}
        lengths = {"user": ones}
        for name in ITEM_FEATURES:
            ids[name], lengths[name] = tables.items.features[name][items], sizes
        for name in HISTORY_FEATURES:
            ids[f"history_{name}"] = tables.items.features[name][history]
            lengths[f"history_{name}"] = history_sizes
        queries = requests.queries[chosen]
        ids["query"], lengths["query"] = tables.queries.features["query"][queries], ones
        ids["past_query"] = tables.queries.features["query"][past]
        lengths["past_query"] = past_sizes
        if hide is not None and self.unknown_rate > 0:
            for name in HIDDEN_FEATURES:
                ids[name] = ids[name] * (hide.random(ids[name].size) >= self.unknown_rate)
        request_rows = np.repeat(np.arange(chosen.size), sizes)
        width = int(sizes.max())
        within = np.arange(rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Batch(
            ids=KeyedJaggedTensor(
                keys=list(ids),
                values=torch.from_numpy(np.concatenate(list(ids.values()))),
                lengths=torch.from_numpy(np.concatenate([lengths[name] for name in ids])),
            ),
            candidate_mask=_mask(sizes),
            history_mask=_mask(history_sizes),
            past_query_mask=_mask(past_sizes),
            candidate_rows=torch.from_numpy(request_rows * width + within),
            request_rows=torch.from_numpy(request_rows),
            labels=torch.from_numpy(requests.labels[rows]),
            context=torch.from_numpy(requests.context[rows]),
            table_rows=torch.from_numpy(rows),
            content=self._content(items, sizes, history, history_sizes, queries, past, past_sizes),
        )

    def _content(
        self,
        items: np.ndarray,
        sizes: np.ndarray,
        history: np.ndarray,
        history_sizes: np.ndarray,
        queries: np.ndarray,
        past: np.ndarray,
        past_sizes: np.ndarray,
    ) -> ContentBatch | None:
        if self.content is None:
            return None
        nothing = self.tables.items.nothing
        stored = self.content.items
        targets, has_target = stored.gather(_padded(items, sizes, nothing))
        behaviours, has_history = stored.gather(_padded(history, history_sizes, nothing))
        if self.content.queries is None:
            return ContentBatch(targets, has_target, behaviours, has_history)
        query, has_query = self.content.queries.gather(queries)
        past_queries, has_past_query = self.content.queries.gather(
            _padded(past, past_sizes, self.tables.queries.nothing)
        )
        return ContentBatch(
            targets,
            has_target,
            behaviours,
            has_history,
            query,
            has_query,
            past_queries,
            has_past_query,
        )


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`start, start + 1, ...` of each range, one after the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _newest_first(
    events: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Events of each range from its end to its start, and the ranges' sizes."""
    sizes = ends - starts
    before = np.cumsum(sizes) - sizes
    return events[np.repeat(ends - 1 + before, sizes) - np.arange(int(sizes.sum()))], sizes


def _mask(sizes: np.ndarray) -> Tensor:
    """`(batch, length)`: True at the first `size` places of each row."""
    return torch.from_numpy(np.arange(int(sizes.max(initial=0))) < sizes[:, None])


def _padded(values: np.ndarray, sizes: np.ndarray, fill: int) -> np.ndarray:
    """Jagged values as `(batch, length)`, filled up with `fill`."""
    real = np.arange(int(sizes.max(initial=0))) < sizes[:, None]
    padded = np.full(real.shape, fill, dtype=values.dtype)
    padded[real] = values
    return padded
