"""The typed result of an analysis, and the JSON schema that follows from it: `report.json` is exactly this.

Notable choices
- Evidence (tracked runs, or a table of points) becomes a `Results` once; page, Markdown, terminal, figures and `--against` read it and work nothing out.
- The models are the schema (pydantic): `docs/report.schema.json` is written from these classes, with their docstrings as descriptions.
- Every printed number is a `Number`: value, interval, definition, and what it was measured on. `null` is "nothing identifies one"; no field is NaN.
- Rankers are named by the plan and told apart by their role; encoders by `is_trained`, `origin` and `path`. Nothing here knows what any of them is called.
"""

from typing import Any, Literal

from exchange_rate.analysis.results.laws import Law
from exchange_rate.analysis.results.metrics import Blend, Candidate, Choice, Disagreement
from exchange_rate.analysis.results.moved import Moved
from exchange_rate.analysis.results.numbers import Result, Role
from exchange_rate.analysis.results.plan import Plan
from exchange_rate.analysis.results.rankers import Comparison, Ranker
from exchange_rate.analysis.results.rate import PairRow, Rate
from exchange_rate.analysis.results.study import (
    About,
    Card,
    Counts,
    Definition,
    Encoder,
    Missing,
    Run,
    Sentence,
)

FORMAT_VERSION = 3
"""Of `report.json`; raised when a field changes its meaning or goes away. Reports before 3 have no number."""


class Results(Result):
    """Everything that a report says."""

    format_version: Literal[3] = FORMAT_VERSION
    """Raised when a field changes its meaning or goes away."""
    headline: tuple[Sentence, ...] = ()
    """The answer, first sentence first."""
    scope: str = ""
    """What all numbers were measured on."""
    about: About
    """What was analysed."""
    counts: Counts
    """How much there is."""
    rates: tuple[Rate, ...]
    """The headline's first; then its ranker's other outcomes, then AUC of other rankers."""
    encoders: tuple[Encoder, ...]
    """In the plan's order."""
    cards: tuple[Card, ...] = ()
    """Of the recipes that encoders were trained by, each once; empty where none was, and of points."""
    choice: Choice
    """Which metric to steer by."""
    candidates: tuple[Candidate, ...]
    """All measured metrics, the best first."""
    blend: Blend | None
    """The best mixture of metrics; null where none can be made."""
    disagreements: tuple[Disagreement, ...]
    """Pairs of encoders of which metric and AUC prefer different ones."""
    not_retrieved: str = ""
    """Why no pair stands with what its encoders find; empty where one does, and where there is no pair."""
    rankers: tuple[Ranker, ...]
    """All rankers side by side; the headline's first."""
    comparisons: tuple[Comparison, ...]
    """Rankers on the chosen encoder, and references without vectors, on the same rows."""
    chosen_encoder: str
    """The encoder of the comparisons."""
    is_chosen_on_validation: bool
    """Whether the validation period has chosen it."""
    laws: tuple[Law, ...]
    """Scaling laws along every axis that has enough points."""
    plan: Plan | None
    """What it takes to know the rate better; null where nothing can be said."""
    pairwise: tuple[PairRow, ...]
    """Each encoder against the first."""
    runs: tuple[Run, ...]
    """The tracked runs; empty of points."""
    coverage: str
    """How much of the shop the vectors cover, in words."""
    missing: Missing
    """What the study is without."""
    definitions: tuple[Definition, ...]
    """The terms that every number rests on."""
    moved: Moved | None = None
    """What moved against an older report; null where none was named."""

    @property
    def rate(self) -> Rate:
        """The headline's rate."""
        return self.rates[0]

    @property
    def ranker(self) -> Ranker:
        """The headline's ranker."""
        return self.rankers[0]

    @property
    def references(self) -> list[Comparison]:
        """Models without vectors beside the headline's baseline, against it."""
        return [
            one
            for one in self.comparisons
            if (one.ranker, one.role) == (self.about.ranker, "reference")
        ]

    def comparison(self, role: Role, against: Role) -> Comparison | None:
        """The headline's ranker in one role against another, on the chosen encoder."""
        for one in self.comparisons:
            if (one.ranker, one.role, one.against_role) == (self.about.ranker, role, against):
                return one
        return None


def schema() -> dict[str, Any]:
    """The JSON schema of `report.json` (draft 2020-12)."""
    own = Results.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **own}
