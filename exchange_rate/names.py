"""What the rankers and runs of a study are called, made of the plan's settings: the one source of every label of tables, runs, reports and figures.

A ranker of the plan is trained in three roles:

    baseline   reads no vectors; otherwise the same settings, or those that the plan gives
    content    reads an encoder's vectors
    permuted   reads the vectors of an encoder dealt out anew among items: what it gains is not content

Beside them may stand references, which read no vectors either and are of another kind than the ranker.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ranking.config import RankerConfig

Role = Literal["baseline", "content", "permuted", "reference"]
BASELINE: Role = "baseline"
CONTENT: Role = "content"
PERMUTED: Role = "permuted"
REFERENCE: Role = "reference"

Reference = Literal["trees", "factorisation"]
"""Gradient-boosted trees (`ranking.trees`), matrix factorisation of ids (`ranking.factorisation`)."""

WAYS = {
    "vector": "target vector",
    "scores": "similarity scores",
    "simtier": "SimTier",
    "sata": "SA-TA",
    "dmf": "DMF",
    "make": "MAKE",
    "cube": "CUBE",
    "semantic_ids": "semantic ids",
}
"""Ways of using content, as people call them."""

_OF_CONTENT_ALONE = (
    "content",
    "projection_dim",
    "scores",
    "num_tiers",
    "temperature",
    "learn_temperature",
    "num_code_levels",
    "num_codes",
    "make_epochs",
    "make_hidden",
)
"""Settings that a ranker without vectors has no use for: in these the two rankers may differ and still differ in content alone."""


@dataclass(frozen=True)
class RankerNames:
    """What a ranker of the plan is called.

    Attributes:
        name: in the plan; the label `ranker` of its runs.
        content, baseline, permuted: in words, by role.
        differences: settings other than those of content in which ranker and baseline differ, each `name = value (baseline: value)`; then a gain over the baseline
            is not content's alone.
    """

    name: str
    content: str
    baseline: str
    permuted: str
    differences: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, ranker: RankerConfig, baseline: RankerConfig, has_counters: bool = False
    ) -> "RankerNames":
        """From the settings of the two, and whether they read counters of the log."""
        content = name or ranker_name(ranker)
        ours, theirs = ranker.model_dump(), baseline.model_dump()
        differences = tuple(
            f"{one} = {ours[one]} (baseline: {theirs[one]})"
            for one in ours
            if one not in _OF_CONTENT_ALONE and ours[one] != theirs[one]
        )
        return cls(
            content,
            content,
            ranker_name(baseline, has_counters),
            f"{content} on permuted vectors",
            differences,
        )

    @classmethod
    def of_trees(cls, name: str, has_counters: bool = False) -> "RankerNames":
        """Of gradient-boosted trees, which read similarities of vectors; the baseline's read none."""
        plain = reference_name("trees", has_counters)
        content = name or f"{plain} and similarities"
        return cls(content, content, plain, f"{content} on permuted vectors")

    def of_role(self, role: Role) -> str:
        """In words."""
        return {BASELINE: self.baseline, CONTENT: self.content, PERMUTED: self.permuted}[role]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "differences": list(self.differences)}


def ranker_name(config: RankerConfig, has_counters: bool = False) -> str:
    """`SimTier + SA-TA`, `BST on ids only`, `DIN on ids and counters`, `CUBE over DIEN, content search`."""
    sequence = config.sequence.upper()
    if config.ways:
        name = " + ".join(WAYS[way] for way in config.ways)
        name += f" over {sequence}" if config.sequence != "din" else ""
    else:
        name = f"{sequence} on ids {'and counters' if has_counters else 'only'}"
    return name + (f", {config.search} search" if config.search != "none" else "")


def reference_name(reference: Reference, has_counters: bool = False) -> str:
    """`trees on counters`, `matrix factorisation of ids`."""
    if reference == "factorisation":
        return "matrix factorisation of ids"
    return f"trees on {'counters' if has_counters else 'plain features'}"


def run_name(ranker: str, encoder: str | None, seed: int) -> str:
    """A ranker run's: `recall-tuned · CUBE · seed 1`."""
    return " · ".join(filter(None, (encoder, ranker, f"seed {seed}")))
