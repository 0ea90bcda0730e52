"""What an encoder says of the recipe that its last training followed: `recipe` in its `moon_rec.json`, and the labels of its runs.

An encoder of settings that are nobody's recipe has no mark, nor has one that was trained on from an encoder of a recipe, without it.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from moon_rec.bounds import Name, Names
from moon_rec.config import Config, make_config
from moon_rec.errors import ConfigError, EncoderError
from representation.recipes.card import read_card
from representation.recipes.recipe import recipe_values

TrainingStage = Literal["pretraining", "posttraining", "reasoning"]


class RecipeMark(Config):
    """Which recipe, and how it was followed."""

    name: Name = Field(description="of the recipe, with its part where it has several")
    stage: TrainingStage = Field(description="the training whose settings were the recipe's")
    card: Name = Field(description="the recipe's card in a line, as it was then")
    departures: Names = Field(
        default=(), description="settings of the recipe that the training had otherwise"
    )

    @classmethod
    def of(cls, recipe: str, stage: TrainingStage, config: Config) -> "RecipeMark":
        """Of a training with these settings, which the recipe's stand under.

        Raises:
            ConfigError: as `recipe_values`.
        """
        whole = make_config(type(config), recipe_values(recipe, stage))
        departures = [name for name in whole.model_fields_set if getattr(config, name) != getattr(whole, name)]  # fmt: skip
        return cls(
            name=recipe,
            stage=stage,
            card=read_card(recipe.partition(".")[0]).line(),
            departures=tuple(sorted(departures)),
        )

    def labels(self) -> dict[str, str]:
        """As texts, for a tracking store."""
        return {
            "recipe": self.name,
            "card": self.card,
            "recipe_departures": ", ".join(self.departures),
        }


def mark_in(about: Mapping[str, Any], where: object) -> RecipeMark | None:
    """The mark in the fields of a `moon_rec.json`; None where it has none.

    Raises:
        EncoderError: something else stands there.
    """
    if about.get("recipe") is None:
        return None
    try:
        return make_config(RecipeMark, about["recipe"])
    except (ConfigError, TypeError) as error:
        raise EncoderError(
            f"{where}: recipe is none: {error}; leave it out, or save the encoder again"
        ) from None
