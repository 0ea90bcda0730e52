"""What one way of using content gains over the baseline, and what it costs."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ranking.comparison import Comparison
from ranking.ways.variations import FACTORISATION, NO_COUNTERS, TREES, TREES_SIMILARITY

if TYPE_CHECKING:
    from ranking.ways.step_cost import StepCost

TITLES = {
    NO_COUNTERS: "ids only, no counters",
    FACTORISATION: "matrix factorisation of ids",
    TREES: "trees on counters, no content",
    TREES_SIMILARITY: "trees on counters and similarities",
}


@dataclass(frozen=True)
class WayResult:
    """What one way gains over the baseline: ids and counters.

    Attributes:
        name: of the way.
        gains: metric, with its segment -> the paired difference, over users and seeds.
        permuted: the same with permuted vectors against the baseline, empty where not asked for.
        content: metric -> true against permuted vectors: what content itself is worth.
        cost: of a training step beside one of the baseline, None where not measured.
    """

    name: str
    gains: dict[str, Comparison]
    permuted: dict[str, Comparison]
    content: dict[str, Comparison]
    cost: "StepCost | None"

    @property
    def title(self) -> str:
        """The name, for people."""
        return TITLES.get(self.name, self.name)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        compared = {
            name: {metric: one.as_dict() for metric, one in getattr(self, name).items()}
            for name in ("gains", "permuted", "content")
        }
        return asdict(self) | compared
