"""What folders of scores say of sampled non-clicks: beside their figures, and against one another."""

from pathlib import Path

from moon_rec.files import read_json
from moon_rec.progress import say
from moon_rec.shop.non_click_recipe import NonClickRecipe, non_clicks_said, other_recipes
from ranking.seed_folders import SCORES_FILE, files_by_seed

Recipes = tuple[NonClickRecipe | None, NonClickRecipe | None]


def recipes_of(folder: Path) -> Recipes:
    """How the non-clicks were sampled that the scores of a folder are of, and those that its ranker learnt from.

    None where they were observed, or where `ranking.evaluate` noted nothing.
    """
    for file in files_by_seed(folder, SCORES_FILE).values():
        try:
            about = read_json(file.parent / "metrics.json")
            scored = NonClickRecipe.read(about.get("non_clicks"))
            return scored, NonClickRecipe.read(about.get("trained_on_non_clicks"))
        except (OSError, ValueError, AttributeError):
            break
    return None, None


def sampled_in(folder: Path) -> str:
    """In a title: that a folder's scores are of sampled non-clicks; else ""."""
    return non_clicks_said(recipes_of(folder)[0], "; ", is_brief=True)


def print_non_clicks(*folders: Path) -> None:
    """Print how the non-clicks of the scores were sampled, and warn where the folders rest on different ones."""
    found = [recipes_of(folder) for folder in folders]
    for words in dict.fromkeys(non_clicks_said(scored) for scored, _ in found):
        if words:
            print(words)
    for what, sides in zip(("scored", "trained"), zip(*found, strict=True), strict=True):
        told = other_recipes(sides[0], sides[-1])
        if told:
            say(f"warning: the two rankers were {what} on {told}")
