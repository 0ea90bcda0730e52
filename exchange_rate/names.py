"""What a study's rankers are called: every label of the report, its figures, its sentences and its definitions comes from here, made of the plan's settings.

Three rankers meet in a study, by their role: `ids` reads no vectors, `content` reads each encoder's, `permuted` reads those of one encoder dealt out anew.
"""

from dataclasses import asdict, dataclass

from ranking.config import RankerConfig

IDS, CONTENT, PERMUTED = "ids", "content", "permuted"

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
    """The names of a study's rankers.

    Attributes:
        ids, content, permuted: of each role.
        differences: settings other than those of content in which the two rankers differ, each `name = value (ids only: value)`; then a gain over ids
            only is not content's alone.
    """

    ids: str
    content: str
    permuted: str
    differences: tuple[str, ...] = ()

    @classmethod
    def of(cls, ids_ranker: RankerConfig, ranker: RankerConfig) -> "RankerNames":
        """From the settings of the two rankers."""
        content = ranker_name(ranker)
        ours, theirs = ranker.model_dump(), ids_ranker.model_dump()
        differences = tuple(
            f"{name} = {ours[name]} (ids only: {theirs[name]})"
            for name in ours
            if name not in _OF_CONTENT_ALONE and ours[name] != theirs[name]
        )
        return cls(ranker_name(ids_ranker), content, f"{content} on permuted vectors", differences)

    def of_role(self, role: str) -> str:
        """The name of `ids`, `content` or `permuted`."""
        return {IDS: self.ids, CONTENT: self.content, PERMUTED: self.permuted}[role]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "differences": list(self.differences)}


def ranker_name(config: RankerConfig) -> str:
    """`SimTier + SA-TA`, `BST on ids only`, `CUBE over DIEN, content search`."""
    sequence = config.sequence.upper()
    if config.ways:
        name = " + ".join(WAYS[way] for way in config.ways)
        name += f" over {sequence}" if config.sequence != "din" else ""
    else:
        name = f"{sequence} on ids only"
    return name + (f", {config.search} search" if config.search != "none" else "")
