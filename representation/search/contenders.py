"""The one expensive pass of an exact search: which vectors could be among a search's best, by quick products, in bounded memory.

Notable choices
- A product's rounding has a proven bound (`block_scores`). So whatever lies further below the `need`-th best score than two such products can err cannot be among
  the `need` best; all else is a contender, to be scored again. What the machine's product rounds to therefore never shows in a ranking.
- Blocks of the gallery against chunks of searches; of a block's scores only the largest of each 64 is looked at, unless that reaches the search's floor. The
  scores are read once, while they are in cache.
- The first floors come from the first blocks together: where `need` groups of 64 reach a score, `need` vectors do.
- A search with more contenders than `ROOM` beyond what it needs is called crowded and left to the caller, with its floor.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from representation.search.block_scores import BlockScores

BLOCK = 2048
"""Gallery vectors multiplied at once; a block's scores (with 1,024 searches 8 MB) stay in cache."""
GROUP = 64
"""Scores whose largest is looked at; divides `BLOCK`."""
ROOM = 192
"""Contenders held for a search beyond those it needs."""
PATIENCE = 64
"""Contenders that come in for a search, on average, before the floors are raised."""
FIRST_BLOCKS = 8
"""Most blocks whose scores are held together for the first floors."""


class Contenders(NamedTuple):
    """What may be among the `need` best of each search.

    Attributes:
        places: `(searches, most)` int64 places in the gallery, best first by score, -1 beyond a search's own.
        scores: `(searches, most)` their scores, the least beyond (of float32: -inf).
        floor: `(searches,)`; nothing scoring below it is among the best.
        is_crowded: `(searches,)`, some contenders are not in `places`.
    """

    places: np.ndarray
    scores: np.ndarray
    floor: np.ndarray
    is_crowded: np.ndarray


@torch.inference_mode()
def find_contenders(
    scores: BlockScores, need: int, hidden: np.ndarray, block: int = BLOCK
) -> Contenders:
    """Contenders for the `need` best vectors of each query.

    Args:
        scores: of queries with vectors, block by block.
        hidden: ascending places that are never found; at least `need` others.
        block: vectors multiplied at once.
    """
    held = _Held(scores, need)
    starts = range(0, scores.num_vectors, block)
    num_first = min(FIRST_BLOCKS, -(-4 * need * GROUP // block), len(starts))
    first = [_of_block(scores, start, block, hidden) for start in starts[:num_first]]
    maxima = [_maxima(each) for each in first]
    held.seed(torch.cat(maxima, dim=1))
    for start, each, most in zip(starts, first, maxima, strict=False):
        held.add(each, most, start)
    del first, maxima, each, most
    for start in starts[num_first:]:
        each = _of_block(scores, start, block, hidden)
        held.add(each, _maxima(each), start)
        del each  # the next block's have their memory, whose pages are there and warm
    return held.finish()


@torch.inference_mode()
def best_of(of: BlockScores, scores: Tensor, places: Tensor, need: int) -> Contenders:
    """Contenders where few vectors are left: those of `places` `(searches, left)` whose `scores` may be among the `need` best; places of the least score are none."""
    scores, order = scores.sort(dim=1, descending=True)
    floor = of.floor(scores[:, min(need, scores.shape[1]) - 1], slice(None))
    is_out = (scores < floor[:, None]) | (scores == of.least)
    most = int((~is_out).sum(1).max())
    scores = scores.masked_fill(is_out, of.least)[:, :most]
    places = places.gather(1, order).masked_fill(is_out, -1)[:, :most]
    is_crowded = np.zeros(len(scores), dtype=bool)
    return Contenders(places.numpy(), scores.numpy(), floor.numpy(), is_crowded)


def _of_block(scores: BlockScores, start: int, size: int, hidden: np.ndarray) -> Tensor:
    """Scores with a block, the least at hidden places and where the block ends before a whole group does."""
    found = scores.of_block(start, size)
    width = found.shape[1]
    bounds = np.searchsorted(hidden, [start, start + size])
    if bounds[0] < bounds[1]:
        found[:, torch.from_numpy(hidden[bounds[0] : bounds[1]] - start)] = scores.least
    if width % GROUP:
        found = torch.nn.functional.pad(found, (0, -width % GROUP), value=scores.least)
    return found


def _maxima(scores: Tensor) -> Tensor:
    """The largest score of each group, `(searches, groups)`."""
    return scores.view(len(scores), -1, GROUP).amax(2)


class _Held:
    """The contenders so far: a row of `need + ROOM` scores and places a search, not in order."""

    def __init__(self, of: BlockScores, need: int):
        self.of, self.least, self.need, self.width = of, of.least, need, need + ROOM
        searches = of.num_searches
        self.scores = torch.full((searches, self.width), of.least, dtype=of.dtype)
        self.places = torch.full((searches, self.width), -1, dtype=torch.int64)
        self.count = torch.zeros(searches, dtype=torch.int64)
        self.arrived = 0  # contenders since the floors were raised
        self.floor = torch.full((searches,), of.least, dtype=of.dtype)
        self.lost = self.floor.clone()  # the best score that found no room

    def seed(self, maxima: Tensor) -> None:
        """Give the first floors: the `need`-th largest of the groups' `maxima` `(searches, groups)` is reached by as many vectors."""
        if maxima.shape[1] >= self.need:
            best = maxima.topk(self.need, dim=1).values[:, -1]
            self.floor = self.of.floor(best, slice(None))

    def add(self, scores: Tensor, maxima: Tensor, start: int) -> None:
        """Take in a block's scores `(searches, block)`, whose first column is place `start`."""
        if start == 0 and scores.shape[1] > self.width and self.floor.max() == self.least:
            self._take_best(torch.arange(len(scores)), scores, start)  # all would be above
            return
        search, column, value = self._above_floor(scores, maxima)
        arriving = torch.bincount(search, minlength=len(self.count))
        self.arrived += len(search)
        full = (self.count + arriving > self.width).nonzero()[:, 0]
        is_due = self.arrived > PATIENCE * len(self.count)
        if is_due or len(full):
            self._tighten(None if is_due else full)
            kept = value >= self.floor[search]
            search, column, value = search[kept], column[kept], value[kept]
            arriving = torch.bincount(search, minlength=len(self.count))
            over = self.count + arriving > self.width
            if over.any():
                self._take_best(over.nonzero()[:, 0], scores, start)
                kept = ~over[search]
                search, column, value = search[kept], column[kept], value[kept]
                arriving[over] = 0
        first = arriving.cumsum(0) - arriving  # candidates come search by search
        slot = self.count[search] + torch.arange(len(search)) - first[search]
        self.scores[search, slot] = value
        self.places[search, slot] = column + start
        self.count += arriving

    def finish(self) -> Contenders:
        """What is held, best first."""
        self._tighten()
        most = int(self.count.max())
        scores, places = self.scores[:, :most], self.places[:, :most]
        places[scores == self.least] = -1
        is_crowded = (self.lost >= self.floor) & (self.lost > self.least)
        return Contenders(*(each.numpy() for each in (places, scores, self.floor, is_crowded)))

    def _above_floor(self, scores: Tensor, maxima: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Search, column and score of all that reach their search's floor, search by search."""
        search, group = (maxima >= self.floor[:, None]).nonzero(as_tuple=True)
        inside = scores.view(len(scores), -1, GROUP)[search, group]
        # what scores the least is a hidden place, or padding
        reach = (inside >= self.floor[search][:, None]) & (inside > self.least)
        hot, column = reach.nonzero(as_tuple=True)
        return search[hot], group[hot] * GROUP + column, inside[hot, column]

    def _tighten(self, searches: Tensor | None = None) -> None:
        """Sort what is held, of all searches or some, raise their floors, and forget what lies below."""
        if searches is None:
            searches, self.arrived = torch.arange(len(self.count)), 0
        most = max(int(self.count[searches].max()), self.need)
        scores, order = self.scores[searches, :most].sort(dim=1, descending=True)
        places = self.places[searches, :most].gather(1, order)
        reached = self.of.floor(scores[:, self.need - 1], searches)
        floor = torch.maximum(self.floor[searches], reached)
        # a search that holds less than it needs has the least floor, as has every empty slot
        below = (scores < floor[:, None]) | (scores == self.least)
        self.scores[searches, :most] = scores.masked_fill_(below, self.least)
        self.places[searches, :most] = places
        self.floor[searches] = floor
        self.count[searches] = (~below).sum(1)

    def _take_best(self, searches: Tensor, scores: Tensor, start: int) -> None:
        """Of what is held and a whole block, for searches that have no room for all of it."""
        columns = torch.arange(start, start + scores.shape[1]).expand(len(searches), -1)
        both = torch.cat([self.scores[searches], scores[searches]], dim=1)
        places = torch.cat([self.places[searches], columns], dim=1)
        best, order = both.topk(self.width + 1, dim=1)
        self.lost[searches] = torch.maximum(self.lost[searches], best[:, -1])
        self.scores[searches] = best[:, :-1]
        self.places[searches] = places.gather(1, order[:, :-1])
        floor = self.of.floor(best[:, self.need - 1], searches)
        self.floor[searches] = torch.maximum(self.floor[searches], floor)
        self.count[searches] = (best[:, :-1] > self.least).sum(1)
