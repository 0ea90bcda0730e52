"""One `[[encoders]]` of a plan: where an encoder comes from, and the encoders of the study that it yields.

An entry says exactly one of

    random = true                         random weights, untrained
    pretraining = {..}, posttraining = {..}   trained here, from random weights or from `start`, a folder; each of `checkpoint_steps` is a further encoder
    folder = "path", hub = "name"         any encoder that `representation.open_encoder` reads
    items = "vectors.parquet"             vectors made elsewhere, with `searches` where searches have some
    mixture = { "a" = 0.5, "b" = 0.5 }    other encoders of the plan, side by side

A name alone says nothing and is refused. Paths are those seen from where the command runs.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from moon_rec.bounds import Name, RisingWidths
from moon_rec.config import Config, CountsWhen, Rules
from moon_rec.errors import ConfigError
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig
from representation.recipes.mark import RecipeMark
from representation.recipes.recipe import with_recipe

Source = Literal["random", "training", "folder", "hub", "brought", "mixture"]
Weight = Annotated[float, Field(gt=0, le=1e6)]
_SAYS: dict[str, Source] = {
    "random": "random",
    "pretraining": "training",
    "posttraining": "training",
    "folder": "folder",
    "hub": "hub",
    "items": "brought",
    "mixture": "mixture",
}
"""Which setting says which source."""


@dataclass(frozen=True)
class PlannedEncoder:
    """An encoder of the study.

    Attributes:
        name: unique in the study.
        step: of a post-training; None where it has none.
        width: Matryoshka width, of which the encoder is a prefix; None: the full one.
    """

    name: str
    step: int | None = None
    width: int | None = None


def _is_brought(entry: "EncoderRun") -> bool:
    return entry.items is not None


class EncoderRun(Config):
    """Where an encoder comes from."""

    name: Name = Field(
        description="of the encoder; a checkpoint before its end is called `<name> at step <step>`, a width `<name> at width <width>`"
    )
    path: Name | None = Field(
        default=None,
        description="what it shares with other encoders that are no independent points; by default its own name, which its checkpoints and widths share",
    )
    trained: bool | None = Field(
        default=None,
        description="false marks an encoder as untrained: the headline is the rate among trained ones. By default trained is what has a post-training, comes from "
        "outside, or mixes trained ones alone",
    )
    random: bool = Field(default=False, description="random weights, of the plan's backbone")
    start: Name | None = Field(
        default=None,
        description="folder of an encoder that trainings start from, instead of random weights: one of moon_rec, or a plain text or dual encoder, which is post-trained alone",
    )
    recipe: Name | None = Field(
        default=None,
        description="a system of the MOON family, with its part where it has several, such as `moon.refinement`: its settings under those of pretraining and posttraining",
    )
    pretraining: PretrainConfig | None = Field(
        default=None, description="a table of pretraining's settings; left out: none"
    )
    posttraining: PosttrainConfig | None = Field(
        default=None,
        description="a table of post-training's settings; left out: none. Its `checkpoint_steps` are further encoders",
    )
    folder: Name | None = Field(
        default=None, description="folder of any encoder that representation.embed opens"
    )
    hub: Name | None = Field(
        default=None,
        description="a name on the Hugging Face hub; without a network it must lie in the local cache",
    )
    items: Name | None = Field(
        default=None,
        description="vectors of items: a file as representation.bring takes it, by the ids of one's log, or a folder that it made",
    )
    item_ids: Name | None = Field(
        default=None,
        description="the file of the items' ids, for a file of vectors that has none (npy)",
    )
    searches: Name | None = Field(
        default=None,
        description="vectors of searches; without them only what items alone tell is measured",
    )
    search_ids: Name | None = Field(
        default=None,
        description="the file of the searches' ids, for a file of vectors that has none",
    )
    mixture: dict[Name, Weight] | None = Field(
        default=None,
        min_length=2,
        description="encoders that stand before it, with weights: their unit vectors side by side, so that its cosine is the weighted mean of theirs",
    )
    widths: RisingWidths = Field(
        default=(),
        description="further encoders: the first so many numbers of each vector (Matryoshka)",
    )

    counts_when: ClassVar[Rules] = {
        "start": CountsWhen(
            lambda entry: entry.pretraining is not None or entry.posttraining is not None,
            "nothing is trained; give posttraining = {{...}}, or folder to take it as it is",
        ),
        "item_ids": CountsWhen(_is_brought, "no items are brought"),
        "searches": CountsWhen(_is_brought, "it goes with items, the vectors of items"),
        "search_ids": CountsWhen(
            lambda entry: entry.searches is not None, "no searches are brought"
        ),
    }

    @model_validator(mode="before")
    @classmethod
    def _of_recipe(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        try:
            return with_recipe(values)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _says_one_thing(self) -> "EncoderRun":
        said = dict.fromkeys(
            source for name, source in _SAYS.items() if getattr(self, name) not in (None, False)
        )
        if not said:
            raise ValueError(
                f"{self.name!r} does not say what it is: give pretraining or posttraining, folder, hub, items or mixture, or random = true for random weights"
            )
        if len(said) > 1:
            raise ValueError(
                f"{self.name!r} is said to be {' and '.join(said)}: one encoder comes from one source; give each its own [[encoders]]"
            )
        return self

    @property
    def source(self) -> Source:
        """What it is."""
        return next(
            source for name, source in _SAYS.items() if getattr(self, name) not in (None, False)
        )

    def recipe_mark(self) -> RecipeMark | None:
        """What is said of the recipe that it is trained by; None without one."""
        if self.recipe is None or self.posttraining is None:
            return None
        return RecipeMark.of(self.recipe, "posttraining", self.posttraining)

    def encoders(self) -> list[PlannedEncoder]:
        """Those that it yields: its checkpoints, itself, its widths."""
        found = []
        last = None
        if self.posttraining is not None:
            last = self.posttraining.steps
            steps = sorted({step for step in self.posttraining.checkpoint_steps if step < last})
            found = [PlannedEncoder(f"{self.name} at step {step}", step) for step in steps]
        widths = [
            PlannedEncoder(f"{self.name} at width {width}", last, width) for width in self.widths
        ]
        return [*found, PlannedEncoder(self.name, last), *widths]

    def is_trained(self, trained: dict[str, bool]) -> bool:
        """Whether it counts as trained, given whether those before it do."""
        if self.trained is not None:
            return self.trained
        if self.mixture is not None:
            return all(trained[name] for name in self.mixture)
        return self.source in ("folder", "hub", "brought") or self.posttraining is not None
