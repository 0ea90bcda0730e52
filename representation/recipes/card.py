"""Fidelity cards: every mechanism of a paper, what of it is here, and the test that pins it.

A card is a TOML file beside this one, of the system's name. Its mechanisms have one of four statuses:

    FAITHFUL      as the paper has it, as far as that is known; a test of the project holds it there, and is named
    APPROXIMATED  another way to the same end, or a part of it; the reason says what differs
    CHOSEN        the paper is silent, or its value is not public; the choice is ours and an option
    OMITTED       not built

The papers were not at hand in full. `evidence` says how each mechanism is known: read off one of the paper's own figures or tables, said in its abstract, told by somebody's notes
on the whole paper, inferred by us, or not known.
"""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from moon_rec.bounds import Name
from moon_rec.config import Config, load_config, nearest
from moon_rec.errors import ConfigError

FOLDER = Path(__file__).parent
RecipeName = Literal["moon", "moon1", "moon2", "moon3"]
NAMES: tuple[RecipeName, ...] = get_args(RecipeName)
"""The systems, in the order of the pages that show them."""

Status = Literal["FAITHFUL", "APPROXIMATED", "CHOSEN", "OMITTED"]
STATUSES: tuple[Status, ...] = get_args(Status)
Evidence = Literal["figure", "abstract", "note", "inferred", "unknown"]
Subject = Literal[
    "stages",
    "backbone",
    "pretraining",
    "output vector",
    "core semantic region",
    "mixture of experts",
    "modality fusion",
    "fine detail",
    "reasoning",
    "positives",
    "training pairs",
    "negatives",
    "loss",
    "alignment",
    "co-augmentation",
    "sample filtering",
    "training run",
    "benchmark",
    "heat maps",
    "downstream",
    "exchange rate",
    "serving",
]
SUBJECTS: tuple[Subject, ...] = get_args(Subject)
"""What a mechanism is about; rows of the table over all systems, in this order."""


def _is_node_id(value: str) -> str:
    path, _, function = value.partition("::")
    if not (path.startswith("tests/") and path.endswith(".py") and function.startswith("test_")):
        raise ValueError("wanted a pytest node id, such as tests/folder/test_file.py::test_name")
    return value


NodeId = Annotated[str, AfterValidator(_is_node_id)]


class Mechanism(Config):
    """One mechanism of a paper."""

    name: Name = Field(description="in a few words, unique in its card")
    subject: Subject = Field(description="what it is about")
    where: Name = Field(
        description="section, equation, figure or table of the paper, or `not located`"
    )
    evidence: Evidence = Field(description="how it is known")
    status: Status = Field(description="how near to the paper this is")
    paper: Name = Field(description="what the paper has, as far as it is known")
    here: Name | None = Field(
        default=None, description="what is here; left out where it is OMITTED"
    )
    reason: Name | None = Field(
        default=None,
        description="why it is not, or not quite, the paper's; left out where it is FAITHFUL",
    )
    test: NodeId | None = Field(default=None, description="the test that pins what is here")

    @model_validator(mode="after")
    def _says_what_its_status_needs(self) -> "Mechanism":
        if self.status == "FAITHFUL" and self.test is None:
            raise ValueError(
                f"{self.name!r} is FAITHFUL without a test; name the test that pins it, or call it APPROXIMATED"
            )
        if self.status == "FAITHFUL" and self.evidence in ("inferred", "unknown"):
            raise ValueError(
                f"{self.name!r} is FAITHFUL to what is {self.evidence}; what the paper does not say is CHOSEN"
            )
        if self.status != "FAITHFUL" and self.reason is None:
            raise ValueError(f"{self.name!r} is {self.status} without a reason; give one")
        if (self.here is None) != (self.status == "OMITTED"):
            raise ValueError(
                f"{self.name!r} is {self.status}: `here` says what is built, of all but the OMITTED"
            )
        if self.status == "OMITTED" and self.test is not None:
            raise ValueError(f"{self.name!r} is OMITTED with a test; a test pins what is built")
        return self


class Card(Config):
    """What of a system is here."""

    name: RecipeName = Field(description="of the recipe")
    title: Name = Field(description="of the system")
    paper: Name = Field(description="number and version of the paper")
    summary: Name = Field(description="the system in plain words")
    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1)] = Field(
        description="all of the paper's that are known"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Card":
        names = [one.name for one in self.mechanisms]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"mechanism {twice[0]!r} stands twice; give each a name of its own")
        return self

    def counts(self) -> dict[Status, int]:
        """How many mechanisms have each status."""
        found = Counter(one.status for one in self.mechanisms)
        return {status: found[status] for status in STATUSES}

    def of_subject(self, subject: Subject) -> list[Mechanism]:
        """The mechanisms about it, in the card's order."""
        return [one for one in self.mechanisms if one.subject == subject]

    def line(self) -> str:
        """The card in a line, as tables of results show it."""
        counts = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        return f"{self.title} ({self.paper}): {counts}"


@cache
def read_card(name: str) -> Card:
    """The card of a system.

    Raises:
        ConfigError: no such system, or a card that is not one.
    """
    if name not in NAMES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(NAMES)}{nearest(name, NAMES)}")
    return load_config(Card, FOLDER / f"{name}.toml")


def read_cards() -> list[Card]:
    """All cards."""
    return [read_card(name) for name in NAMES]


def as_json(card: Card) -> dict[str, Any]:
    """A card with its counts, for other programs."""
    return card.model_dump(mode="json") | {"counts": card.counts()}
