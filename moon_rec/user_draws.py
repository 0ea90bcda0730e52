"""Users drawn once for everything that is measured on them: weights and halves that depend on a user's id and on nothing else.

All encoders of a study are measured on the same searches and all rankers on the same impressions, so what one test set has by luck they have in common. Noise that they
share is seen only where all of them are measured under the *same* draw. Their cells run in processes that know nothing of each other, so a draw is no state: the weight of
user u in draw r is a function of (seed, u, r), a counter-based generator as in Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3", SC11).

Notable choices
- Weights are exponential of mean 1: the Bayesian bootstrap (Rubin 1981, Annals of Statistics 9:1), whose Dirichlet weights are these over their sum. Against Poisson(1), the usual
  weight of a streamed bootstrap: no weight is 0, so what has a value on all users has one in every draw, however small its segment; and for a mean over n users the covariance over
  draws is exactly 1 / (n + 1) of the users' own (divided by n), which `tests/moon_rec/test_user_draws.py` holds it to. Their third moment is 2 and not 1, so percentiles of draws
  are more skew than a bootstrap's: draws are for variances and covariances. Verdicts keep their own (`ranking.significance`).
- A user is drawn with all searches and impressions.
- As under any bootstrap a share of 0 of n or of n of n is the same under every draw, which is no certainty: `moon_rec.shares` has the interval that has a width there.
- A split puts each user into one of two halves by a fair coin of its own. Two metrics of different halves share no user, and so no noise.
- The words are the output function of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA; constants by Stafford, variant 13) over the id, then over that and the draw's own word, a SHA-256 (`moon_rec.seeds`).
- Items are drawn the same way, in a stream of their own, for metrics of items.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from moon_rec.seeds import seed_of

SEED = 0
"""Of every study's draws: studies on one shop share them, whatever their seeds, and so do cells that several studies share."""
CHUNK_CELLS = 4_000_000
_SHIFTS = (30, 27, 31)
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class DrawCounts:
    """How often users are drawn, and how often split in halves.

    Attributes:
        draws: weights of all users, independent of each other.
        splits: in two halves each.
    """

    draws: int = 200
    splits: int = 20

    @property
    def rows(self) -> int:
        """Of weights: all users at 1, the draws, then the two halves of each split."""
        return 1 + self.draws + 2 * self.splits


def draw_weights(
    ids: np.ndarray, first: int, count: int, seed: int = SEED, units: str = "users"
) -> np.ndarray:
    """Weights of units in the draws `first`, `first + 1`, ...: exponential, of mean and variance 1.

    Args:
        ids: `(units,)` integers.
        units: what they are; each kind has a stream of its own.

    Returns:
        `(count, units)` float64, each above 0.
    """
    words = _words(ids, [f"draw {number}" for number in range(first, first + count)], seed, units)
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return -np.log(uniform)


def draw_halves(
    ids: np.ndarray, first: int, count: int, seed: int = SEED, units: str = "users"
) -> np.ndarray:
    """Which units are in the second half of the splits `first`, `first + 1`, ...; the others are in the first.

    Returns:
        `(count, units)` boolean.
    """
    words = _words(ids, [f"split {number}" for number in range(first, first + count)], seed, units)
    return words >> np.uint64(63) == 1


def weight_rows(
    ids: np.ndarray, counts: DrawCounts, seed: int = SEED, units: str = "users"
) -> Iterator[np.ndarray]:
    """All weights under which a statistic is taken, in blocks of bounded size: `(block, units)` float64, `counts.rows` rows in all.

    The first row is 1 for all; then come the draws; then for each split the weights of its first and of its second half, 1 inside and 0 outside.
    """
    step = max(1, CHUNK_CELLS // max(len(ids), 1))
    yield np.ones((1, len(ids)))
    for first in range(0, counts.draws, step):
        yield draw_weights(ids, first, min(step, counts.draws - first), seed, units)
    step = max(1, step // 2)
    for first in range(0, counts.splits, step):
        second = draw_halves(ids, first, min(step, counts.splits - first), seed, units)
        both = np.stack([~second, second], axis=1)
        yield both.reshape(-1, len(ids)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class UnitValues:
    """Metrics that are means over rows (searches, items), each row of some unit that is drawn (its user, itself).

    Attributes:
        units: what is drawn: `users` or `items`.
        ids: `(rows,)` integers, of each row's unit.
        names: of the metrics.
        values: `(rows, metrics)`, finite.
        is_log: the metrics are logs of the means.
    """

    units: str
    ids: np.ndarray
    names: tuple[str, ...]
    values: np.ndarray
    is_log: bool = False

    def only(self, names: Collection[str]) -> "UnitValues":
        """Those of these metrics that are among `names`."""
        kept = [place for place, name in enumerate(self.names) if name in names]
        own = tuple(self.names[place] for place in kept)
        return replace(self, names=own, values=self.values[:, kept])

    def under_draws(self, counts: DrawCounts, seed: int = SEED) -> np.ndarray:
        """The metrics under every row of `weight_rows`: `(counts.rows, metrics)`; NaN where a half has no row.

        A mean is the weighted sum of the units' sums over that of their numbers of rows, so the order of rows plays no part but in the sums of a unit.
        """
        ids, place, sizes = np.unique(self.ids, return_inverse=True, return_counts=True)
        sums = np.stack(
            [np.bincount(place.ravel(), one, len(ids)) for one in self.values.T], axis=1
        )
        both = np.column_stack([sums, sizes])
        # not BLAS, whose last bits depend on its threads
        totals = np.concatenate(
            [
                np.einsum("ru,um->rm", weights, both)
                for weights in weight_rows(ids, counts, seed, self.units)
            ]
        )
        with np.errstate(invalid="ignore"):
            means = totals[:, :-1] / totals[:, -1:]
        return np.log(means) if self.is_log else means


def _words(ids: np.ndarray, names: list[str], seed: int, units: str) -> np.ndarray:
    """64 random bits of each name and unit: `(names, units)` uint64."""
    keys = [seed_of(seed, "units drawn", units, name) for name in ["unit", *names]]
    own, *others = (np.uint64(key) for key in keys)
    first = _mixed(np.asarray(ids).astype(np.int64).view(np.uint64) + own)
    return _mixed(first[None, :] + np.array(others, dtype=np.uint64)[:, None])


def _mixed(words: np.ndarray) -> np.ndarray:
    """SplitMix64's output function: a permutation of 64 bits, in which each input bit moves half the output."""
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(_SHIFTS[-1]))
