"""`--recipe NAME`, the same on every command of a stage that a recipe has settings of.

Its settings stand under what is given besides, a file and `--set` over them, as a preset's do; and the recipe's card is said in a line, so that what is run is never taken for the paper itself.
"""

from argparse import ArgumentParser, Namespace, _ActionsContainer
from typing import Any

from moon_rec.config import Config
from moon_rec.progress import say
from representation.recipes.card import read_card
from representation.recipes.mark import RecipeMark, TrainingStage
from representation.recipes.recipe import Stage, recipe_values, with_stage


def add_recipe_option(parser: ArgumentParser | _ActionsContainer, stage: Stage) -> None:
    """Add the option to a command of the stage, or to a group of its options."""
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"settings of a system of the MOON family for this stage: {', '.join(with_stage(stage))} (python -m representation.recipes shows what of each is here); --set overrides them",
    )


def chosen_recipe(options: Namespace, stage: Stage) -> dict[str, Any]:
    """The settings that go under all others, empty without a recipe; says the recipe's card.

    Raises:
        ConfigError: as `recipe_values`.
    """
    if options.recipe is None:
        return {}
    values = recipe_values(options.recipe, stage)
    say(f"recipe {options.recipe}: {card_line(options)}")
    return values


def recipe_mark(options: Namespace, stage: TrainingStage, config: Config) -> RecipeMark | None:
    """What an encoder trained with `config` says of the chosen recipe; None without a recipe."""
    return None if options.recipe is None else RecipeMark.of(options.recipe, stage, config)


def card_line(options: Namespace) -> str | None:
    """The chosen recipe's card in a line; None without a recipe."""
    if options.recipe is None:
        return None
    return read_card(options.recipe.partition(".")[0]).line()
