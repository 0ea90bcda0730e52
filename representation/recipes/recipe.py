"""A recipe: the settings that make a system of the family, stage by stage; plain TOML that reads as the paper's overview.

`settings/NAME.toml` has `[pretraining]`, where the system pretrains, `[posttraining.PART]` for each part of its post-training, `[reasoning]`, where it writes before it embeds, `[augmentation]`, where products are enriched for training, and `[benchmark]`, how its
paper's tables are taken. They are settings like any others, under whatever a user says besides; a preset may be among them. Curation is a part of post-training: its settings are those there. What of the paper
each is, and is not, the recipe's card says.
"""

from typing import Any, Literal

from moon_rec.config import merged, nearest, over_base, read_toml
from moon_rec.errors import ConfigError
from representation.recipes.card import FOLDER, NAMES

SETTINGS = FOLDER / "settings"
Stage = Literal["augmentation", "pretraining", "posttraining", "curation", "reasoning", "benchmark"]
_STARTS_LATER = ": it starts from weights that are there"


def recipe_values(recipe: str, stage: Stage) -> dict[str, Any]:
    """The settings of a stage of a recipe.

    Args:
        recipe: its name; of a post-training in several parts, and of its curation, with the part, such as `moon.refinement`.

    Raises:
        ConfigError: no such recipe or part, a recipe without that stage, or a part that is not named.
    """
    name, dot, part = recipe.partition(".")
    if name not in NAMES:
        raise ConfigError(f"no recipe {name!r}; there are {', '.join(NAMES)}{nearest(name, NAMES)}")
    stages = read_toml(SETTINGS / f"{name}.toml")
    if stage == "curation":
        return _curation(recipe, _part(name, dot, part, stages["posttraining"]))
    if stage not in stages:
        raise _without(name, stage)
    if stage == "posttraining":
        return _part(name, dot, part, stages[stage])
    if dot:
        raise ConfigError(f"recipe {name} has no parts of {stage}: leave out {part!r}")
    return stages[stage]


def with_stage(stage: Stage) -> list[str]:
    """What `recipe_values` takes for a stage, in the recipes' order."""
    found = []
    for name in NAMES:
        stages = read_toml(SETTINGS / f"{name}.toml")
        parts = stages["posttraining"]
        if stage in ("posttraining", "curation"):
            named = [f"{name}.{part}" if len(parts) > 1 else name for part in parts]
            is_there = [
                stage == "posttraining" or _curates(values) is not None for values in parts.values()
            ]
            found += [one for one, has in zip(named, is_there, strict=True) if has]
        elif stage in stages:
            found.append(name)
    return found


def _part(name: str, dot: str, part: str, parts: dict[str, Any]) -> dict[str, Any]:
    named = ", ".join(f"{name}.{each}" for each in parts)
    if dot and part not in parts:
        raise ConfigError(
            f"recipe {name} has no part {part!r}{nearest(part, parts)}; its parts are {named}"
        )
    if not dot and len(parts) > 1:
        raise ConfigError(f"recipe {name} has several parts of posttraining: name one of {named}")
    return parts[part] if dot else next(iter(parts.values()))


def _curates(values: dict[str, Any]) -> dict[str, Any] | None:
    """The curation of a part, its preset's where it names one; None where all pairs are kept."""
    from representation.posttraining.presets import PRESETS  # its package takes a second

    of_preset = PRESETS[values["preset"]] if "preset" in values else {}
    return merged(of_preset, values).get("curation")


def _curation(recipe: str, values: dict[str, Any]) -> dict[str, Any]:
    found = _curates(values)
    if found is None:
        raise _without(recipe, "curation")
    return found


def _without(name: str, stage: Stage) -> ConfigError:
    why = _STARTS_LATER if stage == "pretraining" else ""
    return ConfigError(
        f"recipe {name} has no {stage}{why}; leave out the recipe, or take one that has: {', '.join(with_stage(stage))}"
    )


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
    if isinstance(given.get("posttraining"), dict):
        from representation.posttraining import PosttrainConfig  # takes a second

        given["posttraining"] = over_base(
            PosttrainConfig, below.pop("posttraining"), given["posttraining"]
        )
    return merged(below, given)
