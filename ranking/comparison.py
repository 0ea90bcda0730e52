"""The difference of two rankers as it is reported: value, intervals, and the verdict that they allow.

How the intervals are made, and why one training a side is no ranker: `ranking.significance`.
"""

from dataclasses import asdict, dataclass
from math import isnan
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ranking.judging.resampling import NOTHING, too_few

NO_DIFFERENCE = "no difference shown"
TRAININGS_DIFFER = "these two trainings differ (one seed a side tells no more)"
ONE_SEED = (
    "one seed a side: trained with another seed the same ranker may differ as much, so no ranker is called "
    "better; train three or more of each (python -m ranking.train ... --seeds 3)"
)
TWO_SEEDS = (
    "two seeds a side know their own noise badly: where it is most of the noise, a verdict errs up to 13 % of the "
    "time in place of 5; with three at most 8, with five 6"
)
MOST_FREEDOM = 1e6
"""Degrees of freedom beyond which Student's t is the normal."""
SMALLEST = 1e-200


@dataclass(frozen=True)
class Comparison:
    """The difference of two rankers on the same rows.

    Attributes:
        value: metric of B minus metric of A (for log loss and normalised entropy, below zero is better).
        low, high: ends of its interval over users at `level`; NaN where too few are counted.
        a, b: the metric of each.
        count: how many users were resampled.
        definition: what was compared, in words to print beside it.
        level: coverage of the interval.
        seed_values: the difference of each seed (one value where there is one seed).
        seed_spread: their standard deviation, 0 with one seed; not part of the interval.
        standard_error: of `value` over draws of users.
        seed_standard_error: the same of one seed's difference (root mean square over seeds).
        wide_low, wide_high: ends of the interval over users *and* seeds; NaN with one seed or too few users.
        counted: users that the metric rests on, see `ranking.judging.resampling.Statistic`.
        lower_is_better: whether the metric is a loss.
    """

    value: float
    low: float
    high: float
    a: float
    b: float
    count: int
    definition: str
    level: float
    seed_values: tuple[float, ...]
    seed_spread: float
    standard_error: float = NOTHING
    seed_standard_error: float = NOTHING
    wide_low: float = NOTHING
    wide_high: float = NOTHING
    counted: int = 0
    lower_is_better: bool = False

    @property
    def verdict_interval(self) -> tuple[float, float]:
        """The interval that the verdict comes from: over users and seeds, with one seed over users alone."""
        return (self.low, self.high) if self.num_seeds == 1 else (self.wide_low, self.wide_high)

    @property
    def is_shown(self) -> bool:
        """Whether zero is outside the verdict's interval."""
        low, high = self.verdict_interval
        return low > 0 or high < 0

    @property
    def verdict(self) -> str:
        """Which ranker is better, which only several seeds can tell; or why that is not said."""
        if self.no_interval:
            return self.no_interval
        if self.num_seeds == 1:
            return TRAININGS_DIFFER if self.is_shown else NO_DIFFERENCE
        if self.is_shown:
            return "A better" if (self.value > 0) == self.lower_is_better else "B better"
        return f"{NO_DIFFERENCE}, of these seeds alone" if self.is_significant else NO_DIFFERENCE

    @property
    def no_interval(self) -> str:
        """Why there is no interval; empty where there is one."""
        return too_few(self.counted) if isnan(self.low) else ""

    def is_shown_at(self, level: float) -> bool:
        """Whether the difference is shown at another level, such as Bonferroni's; by normal theory."""
        if self.no_interval:
            return False
        if self.num_seeds == 1:
            half = float(stdtrit(self.counted - 1, (1 + level) / 2)) * self.standard_error
        else:
            half = self.half_width(level)
        return abs(self.value) > half

    def half_width(self, level: float) -> float:
        """Of the interval over users and seeds at a level; two seeds or more."""
        return float(
            half_width(
                self.standard_error**2,
                self.each_variance,
                np.array(self.seed_spread**2),
                self.num_seeds,
                level,
            )
        )

    @property
    def is_significant(self) -> bool:
        """Whether zero is outside the interval over users: these trained rankers differ."""
        return self.low > 0 or self.high < 0

    @property
    def is_significant_over_seeds(self) -> bool:
        """Whether zero is outside the wider interval: the ways of training differ. False with one seed."""
        return self.wide_low > 0 or self.wide_high < 0

    @property
    def shared_variance(self) -> float:
        """Variance over draws of users that all seeds have in common, `shared / n`; all of it with one seed."""
        whole, single, seeds = self.standard_error**2, self.seed_standard_error**2, self.num_seeds
        if seeds == 1:
            return whole
        # Var(mean) = single / k + (k - 1) / k * covariance
        return max(0.0, (seeds * whole - single) / (seeds - 1))

    @property
    def each_variance(self) -> float:
        """The rest of one seed's variance over draws of users, `each / n`; zero with one seed."""
        if self.num_seeds == 1:
            return 0.0
        return max(0.0, self.seed_standard_error**2 - self.shared_variance)

    @property
    def seed_variance(self) -> float:
        """Variance between seeds beyond what these users make of them, `seeds`; NaN with one seed."""
        if self.num_seeds == 1:
            return NOTHING
        return max(0.0, self.seed_spread**2 - self.each_variance)

    @property
    def num_seeds(self) -> int:
        """Seeds of each side."""
        return len(self.seed_values)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"verdict": self.verdict}

    def __str__(self) -> str:
        if self.no_interval:
            return f"{self.value:+.4f} ({self.no_interval})"
        low, high = self.verdict_interval
        return f"{self.value:+.4f} [{low:+.4f}, {high:+.4f}]"


def half_width(
    of_mean: float, each: float, spread: np.ndarray, num_seeds: int, level: float
) -> np.ndarray:
    """Half the interval over users and seeds, where the seeds' sample variance is `spread`.

    The verdict is made with it and the power table plans with it, so both are one test. Its error, by the same
    reckoning at a difference of zero, is at most .13, .08 and .06 with 2, 3 and 5 seeds (where `shared / n` is a
    twentieth of `seeds`), .05 where the users' noise prevails, and less where `each / n` does.

    Args:
        of_mean: variance of the mean difference over draws of users, `shared / n + each / (n k)`.
        each: `each / n`, the part of one seed's variance over draws of users that is its own.
        spread: sample variances of the seeds' differences, any shape.
        num_seeds: k, two or more.
    """
    variance = of_mean + np.maximum(0.0, spread - each) / num_seeds
    # no spread, no end to the degrees of freedom
    ratio = np.minimum(variance / np.maximum(spread / num_seeds, SMALLEST), MOST_FREEDOM)
    # one at least: where nothing varies (a ranker against itself) the ratio is 0, and the interval a point
    freedom = np.clip((num_seeds - 1) * ratio**2, 1, MOST_FREEDOM)
    return stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
