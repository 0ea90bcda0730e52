"""A recipe: the settings that make a system of the family, stage by stage; plain TOML that reads as the paper's overview.

`settings/NAME.toml` has `[pretraining]`, where the system pretrains, and `[posttraining.PART]` for each part of its post-training. They are settings like any others, under whatever a user says besides; a
preset may be among them. What of the paper each is, and is not, the recipe's card says.
"""

from typing import Any, Literal

from moon_rec.config import merged, nearest, read_toml
from moon_rec.errors import ConfigError
from representation.recipes.card import FOLDER, NAMES

SETTINGS = FOLDER / "settings"
Stage = Literal["pretraining", "posttraining"]


def recipe_values(recipe: str, stage: Stage) -> dict[str, Any]:
    """The settings of a stage of a recipe.

    Args:
        recipe: its name; of a post-training in several parts with the part, such as `moon.refinement`.

    Raises:
        ConfigError: no such recipe or part, a recipe without that stage, or a part that is not named.
    """
    name, dot, part = recipe.partition(".")
    if name not in NAMES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(NAMES)}{nearest(name, NAMES)}")
    stages = read_toml(SETTINGS / f"{name}.toml")
    if stage not in stages:
        raise ConfigError(
            f"recipe {name} has no {stage}: it starts from weights that are there; leave out the recipe, or this stage"
        )
    if stage == "pretraining":
        return stages[stage]
    parts = stages[stage]
    named = ", ".join(f"{name}.{each}" for each in parts)
    if dot and part not in parts:
        raise ConfigError(
            f"recipe {name} has no part {part!r}{nearest(part, parts)}; its parts are {named}"
        )
    if not dot and len(parts) > 1:
        raise ConfigError(f"recipe {name} has several parts of {stage}: name one of {named}")
    return parts[part] if dot else next(iter(parts.values()))


def with_recipe(values: dict[str, Any]) -> dict[str, Any]:
    """What an encoder of a study says, with the settings of its `recipe` under them: post-training, and pretraining where its part begins the system and nothing says what it starts from.

    Raises:
        ConfigError: as `recipe_values`.
    """
    recipe = values.get("recipe")
    if not isinstance(recipe, str):
        return values
    below: dict[str, Any] = {"posttraining": recipe_values(recipe, "posttraining")}
    name, _, part = recipe.partition(".")
    stages = read_toml(SETTINGS / f"{name}.toml")
    is_first = part in ("", next(iter(stages["posttraining"])))
    if is_first and "pretraining" in stages and values.get("start") is None:
        below["pretraining"] = stages["pretraining"]
    given = {
        name: value for name, value in values.items() if name not in below or value is not None
    }
    return merged(below, given)
