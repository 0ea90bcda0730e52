"""A number as it should be printed: with its interval, its count and what it means."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri


def standard_error(low: ArrayLike, high: ArrayLike, level: float = 0.95) -> np.ndarray:
    """Standard errors that intervals of any kind stand for: the width over that of a normal variable's interval, `(high - low) / (2 z)`.

    A share's interval by `shares` has a width at 0 of n and at n of n too, where `sqrt(p (1 - p) / n)` is 0. NaN where an end is NaN: no interval is no
    certainty.
    """
    width = np.asarray(high, np.float64) - np.asarray(low, np.float64)
    return width / (2 * ndtri((1 + level) / 2))


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: the figure.
        low, high: the ends of its interval at `level`.
        count: how many units (searches, users, items ...) it was measured on.
        definition: what it is, in words that stand beside it wherever it is printed.
        level: the interval's coverage, such as 0.95.
        tied: the share of the units that hang on a tie (the cut of a ranking, the nearest of several) and count what a random order of it would give.
    """

    value: float
    low: float
    high: float
    count: int
    definition: str
    level: float = 0.95
    tied: float = 0.0

    @property
    def standard_error(self) -> float:
        """What its interval says of its spread; see the function `standard_error`."""
        return float(standard_error(self.low, self.high, self.level))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"
