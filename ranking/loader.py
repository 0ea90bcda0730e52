"""Batches of whole requests, gathered from the tables with array operations only.

Notable choices
- A batch holds as many requests as reach `batch_size` rows; histories are gathered once a request.
- Behaviours come newest first, so place k of any padded history is the k-th newest.
- `unknown_rate` hides item and user ids at random in training, so that row 0, which stands for every
  item and user unseen before the cut, is trained on what it will be used for.
- The order follows from (seed, epoch); whether an id is hidden from a hash of (seed, epoch, feature,
  request, place). So the same event is hidden whoever loads it: batch sizes, ranks and a resumed epoch
  change nothing.
- Of several processes each takes a slice of every global batch: whole requests, balanced by rows.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from moon_rec.seeds import generator, seed_of
from ranking.batch import Batch, ContentBatch
from ranking.content import ContentStores
from ranking.features import HISTORY_FEATURES, ITEM_FEATURES, Period, RankingTables, read_features
from ranking.search_unit import Found, SearchUnit

HIDDEN_FEATURES = ("user", "item", "history_item", "searched_item")
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Loader:
    """Iterates over the batches of a period, in order of time or shuffled.

    Args:
        tables: what `RankingTables.build` gives.
        period: which requests.
        batch_size: rows a batch; the last request of a batch may exceed it.
        content: vectors, for a ranker that reads them.
        shuffle_seed: shuffles requests, anew each epoch; None keeps the tables' order.
        unknown_rate: probability that an item's or user's id is hidden; only where shuffled.
        rank, world_size: which slice of every global batch; `batch_size` is that of all ranks.
        search: what finds, for each row, its own behaviours in the whole history.
        recent_length: newest behaviours that all rows of a request read; None: all.
    """

    def __init__(
        self,
        tables: RankingTables,
        period: Period,
        batch_size: int,
        content: ContentStores | None = None,
        shuffle_seed: int | None = None,
        unknown_rate: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
        search: SearchUnit | None = None,
        recent_length: int | None = None,
    ):
        self.tables, self.requests = tables, tables.periods[period]
        self.content, self.batch_size = content, batch_size
        codes = content.item_codes if content is not None else {}
        self._item_features = {**tables.items.features, **codes}
        known = tables.num_embeddings
        self._target_features = [*read_features(ITEM_FEATURES, known), *codes]
        self._past_features = [*read_features(HISTORY_FEATURES, known), *codes]
        self.shuffle_seed, self.unknown_rate = shuffle_seed, unknown_rate
        self.rank, self.world_size = rank, world_size
        self.search, self.recent_length = search, recent_length
        self._sizes = np.diff(self.requests.offsets)

    def __len__(self) -> int:
        """Batches an epoch in the tables' order; a shuffled epoch may have a few fewer or more."""
        return len(self._bounds(np.arange(self._sizes.size))) - 1

    def epoch(self, epoch: int = 0, start_batch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from `start_batch` on; those before it are not built.

        With several ranks, this rank's slices of them, each with its `loss_weight`. A rank that a small
        last batch leaves without requests repeats one of another's at weight 0: all ranks take part in
        every step.
        """
        order, bounds = self._plan(epoch)
        hide = None
        if self.shuffle_seed is not None and self.unknown_rate > 0:
            hide = epoch
        for start, end in itertools.pairwise(bounds[start_batch:]):
            chosen = order[start:end]
            if self.world_size == 1:
                yield self.batch(chosen, hide)
                continue
            own = chosen[deal(self._sizes[chosen], self.world_size) == self.rank]
            batch = self.batch(own if own.size else chosen[:1], hide)
            share = self._sizes[own].sum() / self._sizes[chosen].sum()
            yield replace(batch, loss_weight=torch.tensor(share * self.world_size).float())

    def batch_rows(self, epoch: int = 0) -> np.ndarray:
        """Rows of each global batch of an epoch, `(batches,)`."""
        order, bounds = self._plan(epoch)
        return np.add.reduceat(self._sizes[order], bounds[:-1])

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Requests in the order of that epoch, and where batches begin in it."""
        order = np.arange(self._sizes.size)
        if self.shuffle_seed is not None:
            order = generator(self.shuffle_seed, "shuffle", epoch).permutation(order)
        return order, self._bounds(order)

    def _bounds(self, order: np.ndarray) -> np.ndarray:
        """Places in `order` where batches begin, and its end."""
        before = np.cumsum(self._sizes[order]) - self._sizes[order]
        number = before // self.batch_size
        begins = np.flatnonzero(np.diff(number, prepend=-1) > 0)
        return np.append(begins, order.size)

    def batch(self, chosen: np.ndarray, hide: int | None = None) -> Batch:
        """The batch of those requests, `(batch,)` numbers within the period; `hide`: ids as in that epoch."""
        requests, tables = self.requests, self.tables
        sizes = self._sizes[chosen]
        rows = _ranges(requests.offsets[chosen], sizes)
        items = requests.items[rows]
        starts, ends = requests.history_starts[chosen], requests.history_ends[chosen]
        found = None
        if self.search is not None:
            found = self.search.find(items, sizes, tables.history_events, starts, ends)
        if self.recent_length is not None:
            starts = np.maximum(starts, ends - self.recent_length)
        history, history_sizes = _newest_first(tables.history_events, starts, ends)
        past, past_sizes = _newest_first(
            tables.query_events, requests.query_starts[chosen], requests.query_ends[chosen]
        )
        ones = np.ones_like(chosen)
        ids = {"user": requests.users[chosen]}
        lengths = {"user": ones}
        for name in self._target_features:
            ids[name], lengths[name] = self._item_features[name][items], sizes
        for name in self._past_features:
            ids[f"history_{name}"] = self._item_features[name][history]
            lengths[f"history_{name}"] = history_sizes
            if found is not None:
                ids[f"searched_{name}"] = self._item_features[name][found.items]
                lengths[f"searched_{name}"] = _sums(found.sizes, sizes)
        queries = requests.queries[chosen]
        ids["query"], lengths["query"] = tables.queries.features["query"][queries], ones
        ids["past_query"] = tables.queries.features["query"][past]
        lengths["past_query"] = past_sizes
        if hide is not None:
            for name in ids.keys() & set(HIDDEN_FEATURES):
                ids[name] = ids[name] * self._is_shown(name, hide, chosen, lengths[name])
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
            content=self._content(
                items, sizes, history, history_sizes, queries, past, past_sizes, found
            ),
            searched_mask=None if found is None else _mask(found.sizes),
        )

    def _is_shown(
        self, feature: str, epoch: int, chosen: np.ndarray, sizes: np.ndarray
    ) -> np.ndarray:
        """Which of the requests' ids are not hidden in that epoch, `(sum of sizes,)`."""
        assert self.shuffle_seed is not None
        stream = np.uint64(seed_of(self.shuffle_seed, "hidden ids", epoch, feature))
        random = hashed(chosen.astype(np.uint64), sizes, stream)
        return random >= np.uint64(min(int(self.unknown_rate * 2**64), 2**64 - 1))

    def _content(
        self,
        items: np.ndarray,
        sizes: np.ndarray,
        history: np.ndarray,
        history_sizes: np.ndarray,
        queries: np.ndarray,
        past: np.ndarray,
        past_sizes: np.ndarray,
        found: Found | None,
    ) -> ContentBatch | None:
        if self.content is None or not self.content.in_batches:
            return None
        nothing = self.tables.items.nothing
        stored = self.content.items
        targets, has_target = stored.gather(_padded(items, sizes, nothing))
        behaviours, has_history = stored.gather(_padded(history, history_sizes, nothing))
        searched = has_searched = None
        if found is not None:
            searched, has_searched = stored.gather(_padded(found.items, found.sizes, nothing))
        of_search = {"searched": searched, "has_searched": has_searched}
        if self.content.queries is None:
            return ContentBatch(targets, has_target, behaviours, has_history, **of_search)
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
            **of_search,
        )


def deal(sizes: np.ndarray, world_size: int) -> np.ndarray:
    """The rank of each request `(batch,)`: largest first to and fro, so that rows are balanced.

    Two ranks differ by at most the largest request.
    """
    turn = np.arange(sizes.size) % (2 * world_size)
    ranks = np.empty(sizes.size, dtype=np.int64)
    ranks[np.argsort(-sizes, kind="stable")] = np.minimum(turn, 2 * world_size - 1 - turn)
    return ranks


def hashed(keys: np.ndarray, sizes: np.ndarray, stream: np.uint64) -> np.ndarray:
    """Pseudo-random uint64 of (stream, key, place 0 ... size - 1), key by key: `(sum of sizes,)`.

    Splitmix64 (Steele, Lea, Flood 2014): the state of a key is its hash, its places are the steps.
    """
    state = mixed(keys * GOLDEN + stream)
    before = (np.cumsum(sizes) - sizes).astype(np.uint64)
    steps = np.arange(1, int(sizes.sum()) + 1, dtype=np.uint64) * GOLDEN
    steps += np.repeat(state - before * GOLDEN, sizes)
    return mixed(steps)


def mixed(values: np.ndarray) -> np.ndarray:
    """Splitmix64's finaliser of `values`, uint64, in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def _ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """`start, start + 1, ...` of each range, one after the other."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))


def _sums(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Sum of each range's values; the ranges, `sizes` long, follow one another."""
    total = np.concatenate([[0], np.cumsum(values)])
    ends = np.cumsum(sizes)
    return total[ends] - total[ends - sizes]


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
