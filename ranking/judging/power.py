"""How many users and seeds it takes to see a difference; `python -m ranking.compare A [B]` prints it. No torch.

The model is that of `ranking.significance`. The difference of one seed on n users is
`D_s = difference + U + S_s + I_s` (users, seeds, and how a seed suits these users), independent, with
variances `shared / n`, `seeds` and `each / n`. The mean over k seeds therefore has

    variance(n, k) = shared / n + seeds / k + each / (n k)

Smallest difference shown with probability `power` by a two-sided test at `1 - level`. The test rejects
where |mean| > z' sqrt(variance), z' = z((1 + level) / 2). With a true difference d > 0 it does so with
probability Phi(d / sqrt(variance) - z') (the other tail is below 1e-5 at 80 %), which is `power` where

    d = (z((1 + level) / 2) + z(power)) sqrt(variance)          2.80 standard errors at 95 % and 80 %

Solved for the users: `n = (shared + each / k) / ((d / 2.80)^2 - seeds / k)`. Where the bracket is not
above zero, seed noise alone hides d and no number of users helps; more than `seeds (2.80 / d)^2` seeds do.

What is assumed: further users are like those of the scored period, with as many impressions each; seeds
are independent; the variances are known. They are estimates: with k seeds, `seeds` rests on k - 1 degrees
of freedom, and zero is taken where the estimate falls below it. The users needed are therefore given a
second time, with `seeds` at the upper limit of its one-sided 80 % chi-square interval (`cautious`); the
use of such a limit for planning is Browne's (1995, "On the use of a pilot sample for sample size
determination"), its size our choice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from math import ceil, floor, inf, isfinite, nan, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.special import chdtri

from moon_rec.errors import RankingError
from ranking.judging.resampling import resample
from ranking.metrics import Weight, group_codes
from ranking.significance import Comparison, Metric, metric_words, statistic_of

POWER, LEVEL = 0.8, 0.95
TARGET = 0.001
CAUTION = 0.8
"""Confidence of the upper limit of seed noise to plan with, as Browne (1995) takes of a pilot's deviation."""
SEEDS = (1, 2, 3, 5, 10)
USERS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)


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
        """The noise of a paired comparison; of one seed, all of its variance over users is shared."""
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
        between = self.seeds if isfinite(self.seeds) else 0.0
        return self.shared / users + between / seeds + self.each / (users * seeds)

    def smallest_difference(
        self, users: float, seeds: int, power: float = POWER, level: float = LEVEL
    ) -> float:
        """The difference that `users` and `seeds` show with probability `power`; `users` may be infinite."""
        return standard_errors(power, level) * sqrt(self.variance(users, seeds))

    def users_needed(
        self, difference: float, seeds: int, power: float = POWER, level: float = LEVEL
    ) -> int | None:
        """Users that show `difference` with `seeds` seeds; None where seed noise alone hides it."""
        if not difference > 0 or seeds < 1:
            raise RankingError(
                f"difference {difference}, seeds {seeds}: wanted above 0, at least 1"
            )
        between = self.seeds / seeds if isfinite(self.seeds) else 0.0
        left = (difference / standard_errors(power, level)) ** 2 - between
        if left <= 0:
            return None
        return max(1, ceil((self.shared + self.each / seeds) / left))

    def seeds_needed(
        self, difference: float, power: float = POWER, level: float = LEVEL
    ) -> int | None:
        """Fewest seeds with which some number of users shows `difference`; None where seeds were not measured."""
        if not isfinite(self.seeds):
            return None
        return floor(self.seeds * (standard_errors(power, level) / difference) ** 2) + 1

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


def standard_errors(power: float = POWER, level: float = LEVEL) -> float:
    """How many standard errors a difference must be to be shown with probability `power`: 2.80.

    Raises:
        RankingError: power or level outside (0, 1), or power not above half of `1 - level`.
    """
    if not 0 < level < 1 or not (1 - level) / 2 < power < 1:
        raise RankingError(
            f"power {power}, level {level}: wanted both inside (0, 1), as .8 and .95"
        )
    normal = NormalDist()
    return normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)


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
    point = np.array([one.value(np.ones(num_users)) for one in statistics])
    drawn = resample(statistics, num_users, num_resamples, seed, description)
    pairs = combinations(range(len(scores)), 2)
    each = float(np.mean([np.nanvar(drawn[:, i] - drawn[:, j], ddof=1) for i, j in pairs]))
    between = max(0.0, 2 * float(point.var(ddof=1)) - each)
    words = f"{metric_words(metric, weight)} of one ranker against itself with another seed"
    return Noise(0.0, each * num_users, between, num_users, len(scores), words)


@dataclass(frozen=True)
class PowerTable:
    """Smallest differences shown, users down and seeds across, and the users that `target` needs.

    Attributes:
        noise: what it is made from.
        users: rows; the last is infinitely many (unless one seed was trained). seeds: columns.
        differences: `differences[row][column]`.
        target: the difference asked for.
        users_needed: for each of `seeds`, None where seed noise alone hides the target.
        users_needed_cautious: the same of `noise.cautious()`; equal to it where one seed was trained.
        seeds_needed: fewest seeds that can show the target at all; None where it was not measured.
    """

    noise: Noise
    users: tuple[float, ...]
    seeds: tuple[int, ...]
    differences: tuple[tuple[float, ...], ...]
    target: float
    users_needed: tuple[int | None, ...]
    users_needed_cautious: tuple[int | None, ...]
    seeds_needed: int | None
    power: float
    level: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinitely many users are null."""
        plain = asdict(self)
        plain["users"] = [users if isfinite(users) else None for users in self.users]
        return plain


def power_table(
    noise: Noise,
    target: float = TARGET,
    users: Sequence[int] = USERS,
    seeds: Sequence[int] = SEEDS,
    power: float = POWER,
    level: float = LEVEL,
) -> PowerTable:
    """The table of a noise; the users it was measured on and infinitely many are rows as well.

    Where one seed was trained there is one column and no row of infinitely many users: what more seeds
    and users would show is not known then.
    """
    if not isfinite(noise.seeds):
        seeds = (1,)
    rows = tuple(sorted({*users, noise.num_users}))
    rows = (*rows, inf) if isfinite(noise.seeds) else rows
    return PowerTable(
        noise=noise,
        users=rows,
        seeds=tuple(seeds),
        differences=tuple(
            tuple(noise.smallest_difference(row, count, power, level) for count in seeds)
            for row in rows
        ),
        target=target,
        users_needed=tuple(noise.users_needed(target, count, power, level) for count in seeds),
        users_needed_cautious=tuple(
            noise.cautious().users_needed(target, count, power, level) for count in seeds
        ),
        seeds_needed=noise.seeds_needed(target, power, level),
        power=power,
        level=level,
    )


def power_text(table: PowerTable) -> str:
    """The table in plain text, with what it assumes."""
    noise = table.noise
    head = f"{'users':>12} " + "".join(f"{count:>11}" for count in table.seeds) + "  seeds a side"
    lines = [
        f"smallest difference shown at {table.power:.0%} power, {1 - table.level:.0%} two-sided: "
        f"{noise.of}",
        head,
    ]
    for users, row in zip(table.users, table.differences, strict=True):
        mark = "  <- these" if users == noise.num_users else ""
        name = f"{users:,.0f}" if isfinite(users) else "any number"
        lines.append(f"{name:>12} " + "".join(f"{value:>11.5f}" for value in row) + mark)
    lines.append(f"{f'for {table.target:+g}':>12} {_counts(table.users_needed)}  users needed")
    if isfinite(noise.seeds):
        lines.append(f"{'cautiously':>12} {_counts(table.users_needed_cautious)}  users needed")
    return "\n".join([*lines, *seed_words(table)])


def _counts(counts: Sequence[int | None]) -> str:
    return "".join(f"{'never' if count is None else f'{count:,}':>11}" for count in counts)


def seed_words(table: PowerTable) -> list[str]:
    """What the table cannot show by itself: the seed noise behind it, and what that makes impossible."""
    noise = table.noise
    lines = []
    if not isfinite(noise.seeds):
        lines.append(
            "one seed a side: seed noise is not measured and not in these numbers, which are of these two "
            "trained rankers; for a claim about a way of training score three or more seeds"
        )
    else:
        lines.append(
            f"between seeds: standard deviation {sqrt(noise.seeds):.5f} of a difference, from "
            f"{noise.num_seeds} seeds; at most {noise.seed_deviation_at(CAUTION):.5f} with "
            f"{CAUTION:.0%} confidence, reckoned with where it says cautiously"
        )
        if any(count is None for count in table.users_needed):
            lines.append(
                f"never: seed noise alone hides {table.target:+g}; it takes {table.seeds_needed} seeds "
                "or more, whatever the number of users"
            )
    lines.append(
        "assumed: users and impressions a user as in these scores, seeds independent, normal"
    )
    return lines
