"""A number as it should be printed: with its interval, its count and what it means."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: the figure.
        low, high: the ends of its interval at `level`.
        count: how many units (searches, users, items ...) it was measured on.
        definition: what it is, in words that stand beside it wherever it is printed.
        level: the interval's coverage, such as 0.95.
    """

    value: float
    low: float
    high: float
    count: int
    definition: str
    level: float = 0.95

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"
