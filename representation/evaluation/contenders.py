"""The one expensive pass of an exact search: which vectors could be among a search's best, by float32 products, in bounded memory.

Notable choices
- A float32 inner product of any summation order is off by at most `d u / (1 - d u) |q| |v|`, u = 2^-24 (Higham 2002, section 3.1). So whatever lies more than
  twice that below the `need`-th best float32 score cannot be among the `need` best; all else is a contender, to be scored again in float64. What the machine's
  product rounds to therefore never shows in a ranking.
- Blocks of the gallery against chunks of searches; of a block's scores only the largest of each 64 is looked at, unless that reaches the search's floor. The
  scores are read once, while they are in cache: about a tenth of the product's own time.
- The first floors come from the first blocks together: where `need` groups of 64 reach a score, `need` vectors do.
- oneDNN's product (`torch.ops.mkldnn._linear_pointwise`, what compiled torch calls) is nearly twice as quick as the BLAS of NumPy, faiss and torch on the
  machines measured (benchmarks/search.py). Where it is absent, or torch was told to round float32 products, NumPy's is used.
- A search with more contenders than `ROOM` beyond what it needs is called crowded and left to `exact_ranking`, with its floor.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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
        places: `(searches, most)` int64 places in the gallery, best first by float32, -1 beyond a search's own.
        scores: `(searches, most)` their float32 scores, -inf beyond.
        floor: `(searches,)` float32; nothing scoring below it in float32 is among the best.
        is_crowded: `(searches,)`, some contenders are not in `places`.
    """

    places: np.ndarray
    scores: np.ndarray
    floor: np.ndarray
    is_crowded: np.ndarray


def margin(queries: np.ndarray, longest: float) -> np.ndarray:
    """Twice the largest error of a float32 product of each query with a vector of length `longest`, `(searches,)`."""
    dim = queries.shape[1]
    unit = dim * 2.0**-24
    lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
    tiny = dim * float(np.finfo(np.float32).tiny)
    return (2.02 * (unit / (1 - unit) * lengths * longest + tiny)).astype(np.float32)


@torch.inference_mode()
def find_contenders(
    queries: np.ndarray,
    vectors: np.ndarray,
    need: int,
    margins: np.ndarray,
    hidden: np.ndarray,
    block: int = BLOCK,
) -> Contenders:
    """Contenders for the `need` best vectors of each query.

    Args:
        queries, vectors: `(searches, dim)` and `(items, dim)` float32, contiguous.
        margins: `(searches,)`, from `margin`.
        hidden: ascending places that are never found; at least `need` others.
        block: vectors multiplied at once.
    """
    held = _Held(len(queries), need, torch.from_numpy(margins))
    starts = range(0, len(vectors), block)
    num_first = min(FIRST_BLOCKS, -(-4 * need * GROUP // block), len(starts))
    first = [_scores(queries, vectors, start, block, hidden) for start in starts[:num_first]]
    maxima = [_maxima(scores) for scores in first]
    held.seed(torch.cat(maxima, dim=1))
    for start, scores, most in zip(starts, first, maxima, strict=False):
        held.add(scores, most, start)
    del first, maxima, scores, most
    for start in starts[num_first:]:
        scores = _scores(queries, vectors, start, block, hidden)
        held.add(scores, _maxima(scores), start)
        del scores  # the next block's have their memory, whose pages are there and warm
    return held.finish()


def _scores(
    queries: np.ndarray, vectors: np.ndarray, start: int, size: int, hidden: np.ndarray
) -> Tensor:
    """Products with a block, -inf at hidden places and where the block ends before a whole group does."""
    block = vectors[start : start + size]
    scores = products(queries, block)
    bounds = np.searchsorted(hidden, [start, start + size])
    if bounds[0] < bounds[1]:
        scores[:, torch.from_numpy(hidden[bounds[0] : bounds[1]] - start)] = -torch.inf
    if len(block) % GROUP:
        scores = torch.nn.functional.pad(scores, (0, -len(block) % GROUP), value=-torch.inf)
    return scores


def _maxima(scores: Tensor) -> Tensor:
    """The largest score of each group, `(searches, groups)`."""
    return scores.view(len(scores), -1, GROUP).amax(2)


def products(queries: np.ndarray, vectors: np.ndarray) -> Tensor:
    """Float32 inner products `(searches, vectors)`."""
    if _has_onednn() and torch.get_float32_matmul_precision() == "highest":
        given = torch.from_numpy(queries), torch.from_numpy(vectors)
        return torch.ops.mkldnn._linear_pointwise(*given, None, "none", [], "")
    return torch.from_numpy(queries @ vectors.T)


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class _Held:
    """The contenders so far: a row of `need + ROOM` scores and places a search, not in order."""

    def __init__(self, searches: int, need: int, margins: Tensor):
        self.need, self.width, self.margins = need, need + ROOM, margins
        self.scores = torch.full((searches, self.width), -torch.inf)
        self.places = torch.full((searches, self.width), -1, dtype=torch.int64)
        self.count = torch.zeros(searches, dtype=torch.int64)
        self.arrived = 0  # contenders since the floors were raised
        self.floor = torch.full((searches,), -torch.inf)
        self.lost = torch.full((searches,), -torch.inf)  # the best score that found no room

    def seed(self, maxima: Tensor) -> None:
        """Give the first floors: the `need`-th largest of the groups' `maxima` `(searches, groups)` is reached by as many vectors."""
        if maxima.shape[1] >= self.need:
            self.floor = maxima.topk(self.need, dim=1).values[:, -1] - self.margins

    def add(self, scores: Tensor, maxima: Tensor, start: int) -> None:
        """Take in a block's scores `(searches, block)`, whose first column is place `start`."""
        if start == 0 and scores.shape[1] > self.width and self.floor.max() == -torch.inf:
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
        places[scores == -torch.inf] = -1
        is_crowded = (self.lost >= self.floor) & (self.lost > -torch.inf)
        return Contenders(*(each.numpy() for each in (places, scores, self.floor, is_crowded)))

    def _above_floor(self, scores: Tensor, maxima: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Search, column and score of all that reach their search's floor, search by search."""
        search, group = (maxima >= self.floor[:, None]).nonzero(as_tuple=True)
        inside = scores.view(len(scores), -1, GROUP)[search, group]
        # no product is minus infinity: that is a hidden place, or padding
        reach = (inside >= self.floor[search][:, None]) & (inside > -torch.inf)
        hot, column = reach.nonzero(as_tuple=True)
        return search[hot], group[hot] * GROUP + column, inside[hot, column]

    def _tighten(self, searches: Tensor | None = None) -> None:
        """Sort what is held, of all searches or some, raise their floors, and forget what lies below."""
        if searches is None:
            searches, self.arrived = torch.arange(len(self.count)), 0
        most = max(int(self.count[searches].max()), self.need)
        scores, order = self.scores[searches, :most].sort(dim=1, descending=True)
        places = self.places[searches, :most].gather(1, order)
        floor = torch.maximum(
            self.floor[searches], scores[:, self.need - 1] - self.margins[searches]
        )
        # a search that holds less than it needs has floor -inf, as has every empty slot
        below = (scores < floor[:, None]) | (scores == -torch.inf)
        self.scores[searches, :most] = scores.masked_fill_(below, -torch.inf)
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
        floor = best[:, self.need - 1] - self.margins[searches]
        self.floor[searches] = torch.maximum(self.floor[searches], floor)
        self.count[searches] = (best[:, :-1] > -torch.inf).sum(1)
