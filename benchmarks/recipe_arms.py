"""The arms that `benchmarks.recipes` trains: each recipe of the MOON family whole, and without each part of it that is a switch; and what the papers' own ablations say of these parts.

What the papers say is from notes of people who read them (docs/moon_family.md tells how each is known). Figures of a paper are points of recall@10 or accuracy on its own benchmark: their
direction alone is compared.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moon_rec.config import make_config, merged
from representation.posttraining import PosttrainConfig
from representation.recipes.card import RecipeName
from representation.recipes.recipe import recipe_values

PLAIN = "plain"
RECIPES: dict[RecipeName, str] = {
    "moon": "moon.refinement",
    "moon1": "moon1",
    "moon2": "moon2",
    "moon3": "moon3",
}
"""The part of each recipe's post-training that goes on from the common start; MOON Embedding's broad part is that start."""


@dataclass(frozen=True)
class Part:
    """A part of a recipe.

    Attributes:
        off: settings that switch it off.
        paper: what leaving it out did in the paper, by task, in points; empty where no figures are known.
        known: what else is known of it there.
    """

    off: dict[str, Any]
    paper: dict[str, float] = field(default_factory=dict)
    known: str = ""

    def is_lower(self, task: str) -> bool:
        """Whether the paper has it that leaving the part out lowers this task."""
        return self.paper[task] < 0 if self.paper else bool(self.known)


TASKS = ("t->mm", "i->mm", "mm->mm", "t->i", "i->t", "class", "attr")
"""MOON2.0's columns; of MOON v1 there are no figures of a part."""
_MOON2 = (63.09, 91.08, 94.21, 73.12, 64.91, 68.08, 84.29)


def _moon2(*without: float) -> dict[str, float]:
    return {
        task: round(part - whole, 2)
        for task, part, whole in zip(TASKS, without, _MOON2, strict=True)
    }


_ORDER = (
    "lowers, by the order of importance that a note tells: core region, guided experts, negatives"
)
PARTS: dict[RecipeName, dict[str, Part]] = {
    "moon": {
        "circle loss": Part({"loss": "infonce"}),
        "hard negatives": Part({"hard_negatives": 0}),
        "queue": Part({"num_negatives": "none"}),
        "curation": Part({"curation": "none"}),
    },
    "moon1": {
        "core region": Part({"core_region": "none"}, known=_ORDER),
        "guided experts": Part({"experts": "none"}, known=_ORDER),
        "spatial-temporal negatives": Part({"num_negatives": "none"}, known=_ORDER),
    },
    "moon2": {
        "experts": Part(
            {"experts": "none", "alignment": {"objective_weights": False}},
            _moon2(51.29, 74.59, 78.45, 62.16, 56.21, 62.55, 75.62),
        ),
        "dual-level alignment": Part(
            {"alignment": "none"}, _moon2(37.99, 65.72, 67.45, 31.45, 23.35, 57.12, 67.24)
        ),
        "co-augmentation": Part(
            {"co_augmentation": "none"}, _moon2(59.69, 78.17, 80.62, 64.79, 58.68, 66.21, 77.77)
        ),
        "filtering": Part(
            {"filtering": "none"}, _moon2(60.63, 83.40, 80.00, 70.40, 63.21, 67.99, 84.04)
        ),
    },
    "moon3": {
        "fusion": Part({"fusion": "none"}),
        "residual enhancement": Part({"residual_enhancement": "none"}),
    },
}
"""What is switched off in turn. Of MOON Embedding and of MOON3.0 no ablation is public."""


def whole(recipe: str) -> str:
    """The arm of a recipe with all its parts."""
    return recipe


def without(recipe: str, part: str) -> str:
    """The arm of a recipe without a part."""
    return f"{recipe} without {part}"


def arms_of(
    recipe: str,
    settings: dict[str, Any],
    num_experts: int | None = None,
    augmented: Path | None = None,
) -> dict[str, PosttrainConfig]:
    """A configuration an arm: the whole recipe first, then without each of its parts. `plain` is the start's own training going on, on purchases.

    Args:
        settings: over those of every arm.
        num_experts: of a layer, where a recipe has experts; None: the recipe's.
        augmented: folder of `representation.augment`, for MOON2.0's co-augmentation; None: without that part.
    """
    if recipe == PLAIN:
        values = {"preset": "broad", "engagement": "purchased", **settings}
        return {PLAIN: make_config(PosttrainConfig, values)}
    values = merged(recipe_values(RECIPES[recipe], "posttraining"), settings)  # type: ignore[index]
    if num_experts is not None and "experts" in values:
        values["experts"]["num_experts"] = num_experts
    if recipe == "moon2":
        shown = {} if augmented is None else {"folder": str(augmented)}
        values["co_augmentation"] = {**values.get("co_augmentation", {}), **shown} or "none"
    found = {whole(recipe): make_config(PosttrainConfig, values)}
    for name, part in PARTS[recipe].items():  # type: ignore[index]
        if all(values.get(setting) == "none" == off for setting, off in part.off.items()):
            continue  # it is not there to be left out
        found[without(recipe, name)] = make_config(PosttrainConfig, _over(values, part.off))
    return found


def _over(values: dict[str, Any], off: dict[str, Any]) -> dict[str, Any]:
    """`off` over them; the word `none` takes the place of a table."""
    return {**merged(values, off), **{name: one for name, one in off.items() if one == "none"}}
