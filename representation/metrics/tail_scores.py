"""The largest scores that searches give to what is not relevant, and the score of the best relevant item: what a larger catalogue's recall is extrapolated from.

Exact to float32, in bounded memory: blocks of the gallery against chunks of searches, of which the `most` largest scores are kept.
"""

from dataclasses import dataclass

import numpy as np
import torch

from moon_rec.progress import progress
from representation.search.scores import BLOCK, margin, products, squares

SEARCHES_AT_ONCE = 512


@dataclass(frozen=True)
class TailScores:
    """Scores of searches at the upper end.

    Attributes:
        best: `(searches,)` float64, the largest score of a relevant row; -inf where none is in the gallery.
        num_best: `(searches,)` how many relevant rows have it.
        above, tied: `(searches,)` rows that are not relevant with a larger score, and with this one (to what float32 may be off).
        largest: `(searches, most)` float32, the largest scores of rows that are not relevant, falling; -inf beyond their number.
        num_others: `(searches,)` rows that are neither relevant nor excluded.
        moments: `(searches, 3)` float64: mean, deviation and skewness of the scores of those rows; nil where they are alike.
    """

    best: np.ndarray
    num_best: np.ndarray
    above: np.ndarray
    tied: np.ndarray
    largest: np.ndarray
    num_others: np.ndarray
    moments: np.ndarray

    def of(self, kept: np.ndarray) -> "TailScores":
        """Of some of the searches."""
        return TailScores(**{name: value[kept] for name, value in vars(self).items()})

    def thinned(self, ratio: float, random: np.random.Generator) -> "TailScores":
        """Among one in `ratio` of the rows that are not relevant, drawn for each search on its own; the relevant ones stay, and so do the moments, which a sample hardly moves."""
        kept = (random.random(self.largest.shape) < 1 / ratio) & np.isfinite(self.largest)
        order = np.argsort(~kept, axis=1, kind="stable")
        largest = np.where(kept, self.largest, -np.inf)
        inside = np.minimum(self.above, self.largest.shape[1])
        above = (kept & (np.arange(self.largest.shape[1]) < inside[:, None])).sum(axis=1)
        above += random.binomial(self.above - inside, 1 / ratio)
        tied = random.binomial(self.tied, 1 / ratio)
        others = np.maximum(np.round(self.num_others / ratio).astype(np.int64), above + tied)
        return TailScores(self.best, self.num_best, above, tied, np.take_along_axis(largest, order, axis=1), others, self.moments)  # fmt: skip


def tail_scores(
    queries: np.ndarray,
    gallery: np.ndarray,
    searches: np.ndarray,
    wanted: np.ndarray,
    removed: np.ndarray,
    most: int,
) -> TailScores:
    """The upper end of each search's scores.

    Args:
        queries, gallery: `(searches, dim)` and `(items, dim)` float32 unit rows, as `search_recall` checks them.
        searches: `(measured,)` ascending rows of `queries`.
        wanted, removed: ascending keys `search * items + row` of relevant rows, and of rows taken out of the ranking.
        most: scores kept a search.
    """
    longest = float(np.sqrt(squares(gallery).max(initial=0)))
    parts = []
    with progress("scores at the upper end", len(searches)) as bar:
        for start in range(0, len(searches), SEARCHES_AT_ONCE):
            chosen = searches[start : start + SEARCHES_AT_ONCE]
            asked = np.ascontiguousarray(queries[chosen], dtype=np.float32)
            near = margin(asked, longest)
            pairs = [_pairs_of(keys, chosen, len(gallery)) for keys in (wanted, removed)]
            parts.append(_chunk(asked, gallery, pairs, near, most))
            bar.advance(len(chosen))
    if not parts:
        none, count = np.zeros(0), np.zeros(0, np.int64)
        return TailScores(
            none, count, count, count, np.zeros((0, most), np.float32), count, np.zeros((0, 3))
        )
    return TailScores(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))  # fmt: skip


def _pairs_of(keys: np.ndarray, chosen: np.ndarray, num_items: int) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Places among the `chosen` searches, and gallery rows, of what `keys` names."""
    bounds = [np.searchsorted(keys, (chosen + side) * num_items) for side in (0, 1)]
    counts = bounds[1] - bounds[0]
    place = np.repeat(np.arange(len(chosen)), counts)
    inside = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
    return place, keys[bounds[0][place] + inside] % num_items


def _chunk(
    asked: np.ndarray,
    gallery: np.ndarray,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    near: np.ndarray,
    most: int,
) -> TailScores:
    (relevant, rows), (gone, gone_rows) = pairs
    own = np.full(len(asked), -np.inf)
    scores = np.einsum("pd,pd->p", asked[relevant].astype(np.float64), gallery[rows])
    np.maximum.at(own, relevant, scores)
    num_best = np.bincount(relevant[scores >= own[relevant] - near[relevant]], minlength=len(asked))
    above, tied = np.zeros((2, len(asked)), np.int64)
    largest = torch.full((len(asked), most), -torch.inf)
    sums = np.zeros((3, len(asked)))
    bars = [torch.from_numpy((own + side * near).astype(np.float32))[:, None] for side in (1, -1)]
    for start in range(0, len(gallery), BLOCK):
        block = products(asked, gallery[start : start + BLOCK])
        for place, row in ((relevant, rows), (gone, gone_rows)):
            inside = (row >= start) & (row < start + BLOCK)
            block[place[inside], row[inside] - start] = -torch.inf
        above += (block > bars[0]).sum(dim=1).numpy()
        # of a search that has nothing to find in the gallery nothing is tied
        tied += ((block <= bars[0]) & (block >= bars[1]) & torch.isfinite(bars[1])).sum(dim=1).numpy()  # fmt: skip
        scored = torch.where(torch.isfinite(block), block, 0.0)
        powers = (scored, scored * scored, scored * scored * scored)
        sums += np.stack([power.sum(dim=1, dtype=torch.float64).numpy() for power in powers])
        both = torch.cat([largest, block.topk(min(most, block.shape[1]), dim=1).values], dim=1)
        largest = both.topk(most, dim=1).values
    taken = np.concatenate([relevant, gone])
    others = len(gallery) - np.bincount(taken, minlength=len(asked))
    return TailScores(own, num_best, above, tied, largest.numpy(), others, _moments(sums, others))


def _moments(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Mean, deviation and skewness `(searches, 3)` of sums of first, second and third powers `(3, searches)`."""
    first, second, third = sums / np.maximum(count, 1)
    variance = np.maximum(second - first**2, 0.0)
    # of equal scores float32 leaves a deviation of rounding alone
    deviation = np.where(variance > 1e-12, np.sqrt(variance), 0.0)
    cubed = third - 3 * first * second + 2 * first**3
    skewness = np.divide(cubed, deviation**3, out=np.zeros_like(cubed), where=deviation > 0)
    return np.stack([first, deviation, skewness], axis=1)
