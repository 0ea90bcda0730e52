"""What one way of using content gains over ids only, and what it costs."""

from dataclasses import asdict, dataclass
from typing import Any

from ranking.comparison import Comparison
from ranking.ways.step_cost import StepCost


@dataclass(frozen=True)
class WayResult:
    """What one way gains over ids only.

    Attributes:
        name: of the way.
        gains: metric, with its segment -> the paired difference, over users and seeds.
        permuted: the same with permuted vectors against ids only, empty where not asked for.
        content: metric -> true against permuted vectors: what content itself is worth.
        cost: of a training step beside one of ids only, None where not measured.
    """

    name: str
    gains: dict[str, Comparison]
    permuted: dict[str, Comparison]
    content: dict[str, Comparison]
    cost: StepCost | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        compared = {
            name: {metric: one.as_dict() for metric, one in getattr(self, name).items()}
            for name in ("gains", "permuted", "content")
        }
        return asdict(self) | compared
