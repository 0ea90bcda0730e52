"""Recall@k of searches among a million or a hundred million items, from their scores among those that there are.

A search's best relevant item has score s; so many other items of today's catalogue lie above it. Of items that a larger catalogue has besides, each lies above it with the probability
p = P(score of an item that is not relevant > s), so the number above is today's plus Binomial(new items, p), and the search hits where that is below k. At today's size this is
the measured recall itself. Notable choices:
- Up to the scores that today's items have, p is their share. Beyond, a tail: excesses over a high threshold follow a generalised Pareto distribution (Pickands 1975; the "Pareto
  tail" of score-distribution models of search, whose skew-normal body is not required here: where s is in the body, k others are above it already).
- Fitted for each search by probability-weighted moments (Hosking and Wallis 1987, our k is their -k), which are closed and quick; the shapes of all searches are then drawn towards their mean by how much
  less they vary than their own errors explain (empirical Bayes, Morris 1983). A search's p is a mean over the shape's remaining uncertainty.
- The interval: users are drawn with replacement, with all their searches; each draw takes the shapes anew, and one of several thresholds, for the tail holds only in the limit.
- **Assumed**: items of the larger catalogue that are not relevant are drawn like today's; nothing relevant is added. A catalogue that grows by more of the same (copies, one category) has more
  near ones, one that grows by new categories has fewer. `benchmarks/larger_catalogues.py` holds it out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from representation.evaluation.tail_scores import TailScores, tail_scores
from representation.metrics.recall import Rows, prepared

ASSUMED = "items that are not relevant are assumed to be drawn like today's, and none that is relevant to be added"
SHARES = (0.0125, 0.025, 0.05)
"""Shares of the items whose scores are a search's tail; the middle one is the value's, all are the interval's."""
FEWEST, MOST = 50, 2000
"""Scores of a tail."""
NODES, WEIGHTS = special.roots_hermitenorm(7)
"""Where a normal variable is taken, and how much each counts (Gauss and Hermite)."""
FLATTEST, STEEPEST = -2.0, 0.45
"""Shapes are kept between; beyond .5 the variance of an excess does not exist."""
LARGEST_SIZE = 10**12
NEAREST = 1e-7
"""1 - score of equal vectors, which float32 does not tell from none."""


@dataclass(frozen=True)
class Tails:
    """A generalised Pareto tail for each search, in `nearness`: `P(nearness > t) = share * (1 + shape (t - threshold) / scale)^(-1 / shape)` beyond the threshold.

    Attributes:
        count: `(searches,)` scores of each tail.
        threshold, share, mean_excess: `(searches,)`; scale is `mean_excess (1 - shape)`.
        ratio: `(searches,)` the second probability-weighted moment over the first; NaN where all scores of the tail are alike.
    """

    count: np.ndarray
    threshold: np.ndarray
    share: np.ndarray
    mean_excess: np.ndarray
    ratio: np.ndarray

    def shape(self, weights: np.ndarray) -> float:
        """The one shape of all tails: a0 / (a0 - 2 a1) - 2 is minus it (Hosking and Wallis 1987, eq. 5), of the weighted mean of a1 / a0."""
        known = weights * np.isfinite(self.ratio)
        mean = float(known @ np.nan_to_num(self.ratio)) / max(float(known.sum()), 1e-12)
        return float(np.clip(2 - 1 / (1 - 2 * min(mean, 0.49)), FLATTEST, STEEPEST)) if mean > 0 else 0.0  # fmt: skip

    def log_excess(self, weights: np.ndarray, shape: float) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of the mean excesses, drawn towards what others of this threshold have, and the standard deviations that remain, `(searches,)` each."""
        known = weights * (self.mean_excess > 0)
        own = np.log(np.maximum(self.mean_excess, 1e-12))
        # of a mean of `count` excesses; their variance is (mean excess)^2 / (1 - 2 shape)
        variance = 1 / ((1 - 2 * shape) * self.count)
        line = _line(self.threshold, own, known)
        total = max(float(known.sum()), 1e-12)
        between = max(float(known @ ((own - line) ** 2 - variance)) / total, 0.0)
        kept = np.where(self.mean_excess > 0, between / (between + variance), 0.0)
        return line + kept * (own - line), np.sqrt(kept * variance)

    def beyond(self, nearness: np.ndarray, shape: float, log_excess: np.ndarray) -> np.ndarray:
        """P(another item is nearer) `(searches,)`, at the threshold or beyond."""
        excess = np.maximum(nearness - self.threshold, 0) / (np.exp(log_excess) * (1 - shape))
        if abs(shape) < 1e-6:
            return self.share * np.exp(-excess)
        return self.share * np.maximum(1 + shape * excess, 0) ** (-1 / shape)


def fit_tails(scores: TailScores, count: np.ndarray) -> Tails:
    """Tails of each search's `count` largest scores, by probability-weighted moments: a0 the mean excess, a1 the mean of (1 - p_j) y_j over ascending excesses, p_j = (j - .35) / n."""
    largest = nearness(scores.largest)
    threshold = largest[np.arange(len(count)), np.minimum(count, largest.shape[1] - 1)]
    place = np.arange(largest.shape[1])
    excess = np.where(place < count[:, None], largest - threshold[:, None], 0.0)
    first = excess.sum(axis=1) / count
    # in falling order the j-th of n has 1 - p = (j - 1 + .35) / n
    second = (excess * (place + 0.35)).sum(axis=1) / count**2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(first > 0, second / first, np.nan)
    return Tails(count, threshold, count / np.maximum(scores.num_others, 1), first, ratio)


def _line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted least-squares line through the points, at each."""
    total = max(float(weights.sum()), 1e-12)
    centre, middle = float(weights @ x) / total, float(weights @ y) / total
    spread = float(weights @ (x - centre) ** 2)
    slope = float(weights @ ((x - centre) * (y - middle))) / spread if spread > 1e-12 else 0.0
    return middle + slope * (x - centre)


def nearness(scores: np.ndarray) -> np.ndarray:
    """-log(1 - score): where vectors lie near a query as a cloud of D dimensions does, P(score > s) falls as (1 - s)^(D / 2), which is exponential in this."""
    finite = np.where(np.isfinite(scores), scores, -1.0).astype(np.float64)
    return -np.log(np.maximum(1 - finite, NEAREST))


def recall_in_larger_catalogues(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Rows,
    sizes: Sequence[int],
    ks: Sequence[int] = (10,),
    *,
    num_missing: np.ndarray | None = None,
    excluded: Rows | None = None,
    users: np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 200,
) -> dict[int, dict[int, Estimate]]:
    """Hit recall of the searches of `search_recall`, by k and by size of the catalogue.

    Args:
        queries, gallery, relevant, ks, num_missing, excluded, users: as there.
        sizes: items with a vector, today's at least.
        seed: of the draws of users and tails.
        level: of the intervals.

    Raises:
        TableError: as there; a size below today's; a k that no tail reaches (a tenth of the scores of the shortest), or too few items for a tail.
    """
    queries, gallery, cuts, searches, wanted, removed, _ = prepared(
        queries, gallery, relevant, ks, num_missing, excluded, users
    )
    sizes = _sizes(sizes, len(gallery))
    counts = _counts(len(gallery))
    if len(gallery) <= 2 * FEWEST or cuts[-1] > counts[0] // 2:
        raise TableError(
            f"recall@{cuts[-1]} among more than {len(gallery):,} items needs the scores of {2 * cuts[-1]:,} near ones; wanted k of at most {counts[0] // 2:,}, or a larger catalogue to measure on"
        )
    scores = tail_scores(queries, gallery, searches, wanted, removed, counts[-1] + 1)
    groups = None if users is None else np.asarray(users)[searches]
    return extrapolate(scores, len(gallery), sizes, cuts, groups, seed, level, num_resamples)


def extrapolate(
    scores: TailScores,
    num_items: int,
    sizes: Sequence[int],
    cuts: Sequence[int],
    users: np.ndarray | None = None,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 200,
) -> dict[int, dict[int, Estimate]]:
    """As `recall_in_larger_catalogues`, of scores at hand."""
    tails = [fit_tails(scores, np.minimum(count, np.maximum(scores.num_others - 1, 1))) for count in _counts(num_items)]  # fmt: skip
    new = np.array([size - num_items for size in sizes], dtype=np.float64)
    count = len(scores.best)
    if not count:
        nothing = float("nan")
        return {k: {size: Estimate(nothing, nothing, nothing, 0, _definition(k, size, num_items), level) for size in sizes} for k in cuts}  # fmt: skip
    values = _expected_hits(scores, tails[1], new, cuts)
    drawn = np.array([*_draws(scores, tails, new, cuts, users, seed, num_resamples)])
    ends = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    found: dict[int, dict[int, Estimate]] = {}
    for at, k in enumerate(cuts):
        found[k] = {}
        for place, size in enumerate(sizes):
            value = float(values[:, at, place].mean())
            low, high = (float(end[at, place]) for end in ends)
            found[k][size] = Estimate(value, min(low, value), max(high, value), count, _definition(k, size, num_items), level)  # fmt: skip
    return found


def _expected_hits(
    scores: TailScores, tails: Tails, new: np.ndarray, cuts: Sequence[int]
) -> np.ndarray:
    """Probability that each search hits, `(searches, cuts, sizes)`, the mean over what its tail may be."""
    weights = np.ones(len(scores.best))
    shape = tails.shape(weights)
    excess, spread = tails.log_excess(weights, shape)
    total = np.zeros((len(excess), len(cuts), len(new)))
    for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
        total += weight * _hits(scores, tails, shape, excess + node * spread, new, cuts)
    return total


def _draws(
    scores: TailScores,
    tails: list[Tails],
    new: np.ndarray,
    cuts: Sequence[int],
    users: np.ndarray | None,
    seed: int,
    num_resamples: int,
) -> Iterator[np.ndarray]:
    """Recalls `(cuts, sizes)` of users drawn anew, with a threshold and shapes drawn anew."""
    random = generator(seed, "larger catalogues")
    count = len(scores.best)
    group = np.arange(count) if users is None else np.unique(users, return_inverse=True)[1].ravel()
    num_groups = int(group.max()) + 1
    for _ in range(num_resamples):
        weights = random.multinomial(num_groups, np.full(num_groups, 1 / num_groups))[group]
        own = tails[int(random.integers(len(tails)))]
        shape = own.shape(weights.astype(np.float64))
        excess, spread = own.log_excess(weights.astype(np.float64), shape)
        hits = _hits(scores, own, shape, excess + spread * random.normal(size=count), new, cuts)
        yield np.einsum("s,sck->ck", weights, hits) / max(weights.sum(), 1)


def _hits(
    scores: TailScores,
    tails: Tails,
    shape: float,
    log_excess: np.ndarray,
    new: np.ndarray,
    cuts: Sequence[int],
) -> np.ndarray:
    """Probability that each search hits among today's and `new` items, `(searches, cuts, sizes)`."""
    best = nearness(scores.best)
    is_tail = best > tails.threshold
    share = scores.above / np.maximum(scores.num_others, 1)
    beyond = np.where(is_tail, tails.beyond(best, shape, log_excess), share)  # fmt: skip
    # a random order puts a tied item above the first of r relevant ones with probability 1 / (r + 1)
    tie = 1 / (scores.num_best + 1.0)
    beyond = np.clip(beyond + scores.tied / np.maximum(scores.num_others, 1) * tie, 0, 1)
    now = scores.above + np.round(scores.tied * tie)
    left = np.array(cuts)[None, :] - 1 - now[:, None]
    # P(Binomial(n, p) <= k) = 1 - I_p(k + 1, n - k)
    free = np.maximum(left, 0)[:, :, None]
    found = 1 - special.betainc(free + 1, np.maximum(new - free, 0.5), beyond[:, None, None])
    found = np.where(new[None, None, :] <= left[:, :, None], 1.0, found)
    is_lost = (left < 0)[:, :, None] | ~np.isfinite(scores.best)[:, None, None]
    return np.where(is_lost, 0.0, found)


def _counts(num_items: int) -> list[int]:
    """Scores of each tail."""
    return [int(np.clip(share * num_items, FEWEST * 2**at, MOST)) for at, share in enumerate(SHARES)]  # fmt: skip


def _sizes(sizes: Sequence[int], num_items: int) -> list[int]:
    for size in sizes:
        if not num_items <= size <= LARGEST_SIZE:
            raise TableError(
                f"a catalogue of {size:,} items cannot be extrapolated to from {num_items:,}: wanted at least as many, and at most {LARGEST_SIZE:,}"
            )
    return sorted({int(size) for size in sizes})


def _definition(k: int, size: int, num_items: int) -> str:
    return f"extrapolated from {num_items:,} items: share of searches whose top {k} of {size:,} items would hold at least one item engaged with; {ASSUMED}"
