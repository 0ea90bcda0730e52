"""What a difference of two rankers varies by, and how probable it is that the verdict shows it. No torch.

The model is that of `ranking.significance`. The difference of one seed on n users is
`D_s = difference + U + S_s + I_s` (users, seeds, and how a seed suits these users), independent, normal,
with variances `shared / n`, `seeds` and `each / n`. The mean over k seeds therefore has

    V = shared / n + seeds / k + each / (n k)

**Table and verdict are one test.** The verdict is "shown" where zero is outside the interval over users and
seeds, |mean| > h(X): its half width h (`ranking.comparison.half_width`) depends on the seeds' sample variance X
alone, which is `seeds + each / n` times a chi-square of k - 1 degrees of freedom over k - 1, independent of
the mean. With a true difference d the verdict is therefore found with probability

    power(d) = E_X [Phi((d - h(X)) / sqrt(V)) + Phi((-d - h(X)) / sqrt(V))]

taken over quantiles of the chi-square. The smallest difference shown is the d at which that is `power`; the
users needed are the fewest n, the seeds needed the fewest k (on infinitely many users), at which it reaches
`power`. On infinitely many users this is the noncentral t of k - 1 degrees of freedom. A plan with z and
known variances, d = 2.80 sqrt(V), promises too much: with 2, 3 and 5 seeds that difference is found .59,
.71 and .77 of the time where seed noise matters, not .80.

With one seed a side no verdict is about rankers; where one seed was measured, the table is of these two
trainings, `X` is nothing, and h = z((1 + level) / 2) sqrt(V).

Two or three seeds know seed noise so badly that more users may show *less*: the more exact each seed is, the more the
verdict rests on k - 1 degrees of freedom (t = 12.7 with two seeds). That is a property of the interval.

What is assumed: further users are like those of the scored period, with as many impressions each; seeds
are independent; the planned variances are the true ones. They are estimates: with k seeds, `seeds` rests on k - 1
degrees of freedom, and zero is taken where the estimate falls below it. The users needed are therefore given a
second time, with `seeds` at the upper limit of its one-sided 80 % chi-square interval (`cautious`); the
use of such a limit for planning is Browne's (1995, "On the use of a pilot sample for sample size
determination"), its size our choice. Below `MIN_USERS` users there is no verdict to plan for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations
from math import ceil, inf, isfinite, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import chdtri, ndtr

from moon_rec.errors import RankingError
from ranking.comparison import Comparison, half_width
from ranking.groups import group_codes
from ranking.judging.resampling import MIN_USERS, resample, too_few
from ranking.metrics import Weight
from ranking.significance import Metric, metric_words, statistic_of

POWER, LEVEL = 0.8, 0.95
CAUTION = 0.8
"""Confidence of the upper limit of seed noise to plan with, as Browne (1995) takes of a pilot's deviation."""
NUM_QUANTILES = 400
"""Of the seeds' sample variance; the power is then exact to about .001."""
WIDEST = 1000.0
"""Standard errors; a difference that is not shown at so many is not shown at all."""
MOST_USERS, MOST_SEEDS = 10**12, 10**6


@dataclass(frozen=True)
class Noise:
    """What a measured difference varies by.

    Attributes:
        shared: variance of a user's part that all seeds share; over n users it counts `shared / n`.
        each: the same of the part that each seed has for itself.
        seeds: variance between training seeds on infinitely many users; NaN where one seed was trained.
        num_users, num_seeds: what it was measured on.
        of: which metric of which rankers, in words.
    """

    shared: float
    each: float
    seeds: float
    num_users: int
    num_seeds: int
    of: str

    @classmethod
    def of_comparison(cls, found: Comparison, of: str = "") -> "Noise":
        """The noise of a paired comparison; of one seed, all of its variance over users is shared.

        Raises:
            RankingError: it has no interval, for too few users were counted.
        """
        if found.no_interval:
            raise RankingError(f"no power table of {of or found.definition}: {found.no_interval}")
        users = found.count
        return cls(
            shared=found.shared_variance * users,
            each=found.each_variance * users,
            seeds=found.seed_variance,
            num_users=users,
            num_seeds=found.num_seeds,
            of=of or found.definition,
        )

    def variance(self, users: float, seeds: int) -> float:
        """Of the mean difference over `seeds` seeds on `users` users; unmeasured seed noise counts as none."""
        if users <= 0 or seeds < 1:
            raise RankingError(f"users {users}, seeds {seeds}: wanted at least 1 of each")
        return self._of_users(users, seeds) + self._between / seeds

    def power(
        self, difference: float | np.ndarray, users: float, seeds: int, level: float = LEVEL
    ) -> np.ndarray:
        """Probability that the verdict shows a true difference; `users` may be infinite.

        Args:
            difference: any shape.

        Returns:
            Of that shape; 0 where there is no verdict: below `MIN_USERS` users, or with one seed a side
            where seed noise was measured.
        """
        difference = np.abs(np.asarray(difference, dtype=np.float64))
        variance = self.variance(users, seeds)
        if users < MIN_USERS or (seeds == 1 and isfinite(self.seeds)):
            return np.zeros(difference.shape)
        if variance <= 0:
            return np.where(difference > 0, 1.0, 0.0)
        return _power(difference / sqrt(variance), self._bars(users, seeds, level) / sqrt(variance))

    def _bars(self, users: float, seeds: int, level: float) -> np.ndarray:
        """Half widths of the verdict's interval at quantiles of the seeds' sample variance."""
        of_users = self._of_users(users, seeds)
        if seeds == 1:
            return np.array([NormalDist().inv_cdf((1 + level) / 2) * sqrt(of_users)])
        each = self.each / users
        spread = (self._between + each) * _chi_squares(seeds - 1)
        return half_width(of_users, each, spread, seeds, level)

    @property
    def _between(self) -> float:
        return self.seeds if isfinite(self.seeds) else 0.0

    def _of_users(self, users: float, seeds: int) -> float:
        return self.shared / users + self.each / (users * seeds)

    def smallest_difference(
        self, users: float, seeds: int, power: float = POWER, level: float = LEVEL
    ) -> float:
        """The difference that `users` and `seeds` show with probability `power`; infinite where none is.

        Args:
            users: may be infinite.
        """
        check_power(power, level)
        scale = sqrt(self.variance(users, seeds))
        if self.power(WIDEST * scale or 1.0, users, seeds, level) < power:
            return inf
        if scale == 0:
            return 0.0
        bars = self._bars(users, seeds, level) / scale
        low, high = 0.0, WIDEST
        while high - low > 1e-7 * high:
            grid = np.linspace(low, high, 18)
            place = int(np.argmax(_power(grid, bars) >= power))
            low, high = float(grid[place - 1]), float(grid[place])
        return high * scale

    def users_needed(
        self, difference: float, seeds: int, power: float = POWER, level: float = LEVEL
    ) -> int | None:
        """Fewest users that show `difference` with `seeds` seeds; None where no number of users does."""
        if not difference > 0 or seeds < 1:
            raise RankingError(
                f"difference {difference}, seeds {seeds}: wanted above 0, at least 1"
            )
        check_power(power, level)

        def is_enough(users: float) -> bool:
            return bool(self.power(difference, users, seeds, level) >= power)

        below, enough = MIN_USERS - 1, float(MIN_USERS)
        while not is_enough(enough):
            if enough > MOST_USERS:
                return None
            below, enough = int(enough), ceil(enough * 1.3)
        enough = int(enough)
        while enough - below > 1:
            middle = (below + enough) // 2
            below, enough = (below, middle) if is_enough(middle) else (middle, enough)
        return enough

    def seeds_needed(
        self, difference: float, power: float = POWER, level: float = LEVEL
    ) -> int | None:
        """Fewest seeds with which infinitely many users show `difference`; None where seeds were not measured."""
        if not isfinite(self.seeds):
            return None
        below, enough = 1, 2
        while self.power(difference, inf, enough, level) < power:
            if enough > MOST_SEEDS:
                return None
            below, enough = enough, 2 * enough
        while enough - below > 1:
            middle = (below + enough) // 2
            is_enough = self.power(difference, inf, middle, level) >= power
            below, enough = (below, middle) if is_enough else (middle, enough)
        return enough

    def seed_deviation_at(self, confidence: float) -> float:
        """Upper limit at `confidence` of the standard deviation between seeds (chi-square); NaN with one seed."""
        freedom = self.num_seeds - 1
        if freedom < 1:
            return nan
        # the chi-square is of the spread on these users, which is seeds + each / n
        by_users = self.each / self.num_users
        limit = (self.seeds + by_users) * freedom / chdtri(freedom, confidence)
        return sqrt(max(0.0, limit - by_users))

    def cautious(self, confidence: float = CAUTION) -> "Noise":
        """The same with the variance between seeds at its upper limit: what to plan with when seeds are few."""
        return replace(self, seeds=self.seed_deviation_at(confidence) ** 2)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _power(away: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Mean over `bars` of the probability that a normal value, `away` from zero, is beyond them."""
    away = away[..., None]
    return (ndtr(away - bars) + ndtr(-away - bars)).mean(axis=-1)


@cache
def _chi_squares(freedom: int) -> np.ndarray:
    """Chi-squares over their degrees of freedom at `NUM_QUANTILES` equally likely places."""
    places = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    return chdtri(freedom, 1 - places) / freedom


def check_power(power: float, level: float) -> None:
    """Raise RankingError for power or level outside (0, 1), or power not above half of `1 - level`."""
    if not 0 < level < 1 or not (1 - level) / 2 < power < 1:
        raise RankingError(
            f"power {power}, level {level}: wanted both inside (0, 1), as .8 and .95"
        )


def noise_of_one_ranker(
    labels: np.ndarray,
    scores: Sequence[np.ndarray],
    users: np.ndarray,
    metric: Metric = "auc",
    weight: Weight | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    description: str = "",
) -> Noise:
    """Noise of a difference, from a ranker against itself with other seeds: a plan before there is a B.

    Two seeds of one ranker differ by luck alone: in the model, `shared` is zero and each side adds its
    own seed and user-by-seed variance, so that `seeds + each / n` is twice the variance of the metric
    over seeds, and `each / n` is the mean variance over draws of users of two seeds' difference. A real
    B adds `shared`; sides that share their seeds (and so part of their luck) may have less of the rest.

    Args:
        scores: one `(rows,)` array a seed, two or more.

    Raises:
        RankingError: fewer than two seeds, or what `ranking.compare` refuses.
    """
    if len(scores) < 2:
        raise RankingError(
            f"{len(scores)} seed of one ranker: wanted two or more, for a seed against another"
        )
    codes = group_codes(users, np.asarray(labels).size)
    statistics = [statistic_of(metric, labels, one, codes, weight) for one in scores]
    num_users = int(codes.max()) + 1
    few = too_few(min(one.counted for one in statistics))
    if few:
        raise RankingError(f"no power table of {metric_words(metric, weight)}: {few}")
    point = np.array([one.value(np.ones(num_users)) for one in statistics])
    drawn = resample(statistics, num_users, num_resamples, seed, description)
    pairs = combinations(range(len(scores)), 2)
    each = float(np.mean([np.nanvar(drawn[:, i] - drawn[:, j], ddof=1) for i, j in pairs]))
    between = max(0.0, 2 * float(point.var(ddof=1)) - each)
    words = f"{metric_words(metric, weight)} of one ranker against itself with another seed"
    return Noise(0.0, each * num_users, between, num_users, len(scores), words)
