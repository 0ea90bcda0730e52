"""Recipes that do not exist, or do not go with what is asked beside them."""

import pytest

from moon_rec.files import write_json
from tests.bad_inputs.harness import Case, check


def marked(recipe):
    """An encoder's folder whose own file says that of its recipe."""

    def mutate(folder):
        (folder / "marked").mkdir()
        write_json(folder / "marked" / "config.json", {"model_type": "qwen3_vl"})
        about = {"format_version": 1, "digest": "a", "config": {}, "recipe": recipe}
        write_json(folder / "marked" / "moon_rec.json", about)

    return mutate


CASES = [
    Case("recipes: one that is unknown", "representation.recipes.__main__ moon4", ("no recipe 'moon4'", "moon, moon1, moon2, moon3", "did you mean 'moon")),
    Case("recipes: two at once", "representation.recipes.__main__ moon1 moon2", ("unrecognized arguments: moon2",)),
    Case("recipes: a part of a post-training that does not exist", "representation.posttrain shop --out new --recipe moon.refine", ("recipe moon has no part 'refine'", "did you mean 'refinement'", "moon.broad")),
    Case("recipes: a system of two parts without its part", "representation.posttrain shop --out new --recipe moon", ("several parts of posttraining", "moon.broad, moon.refinement")),
    Case("recipes: beside a preset", "representation.posttrain shop --out new --recipe moon2 --preset broad", ("--preset", "not allowed with argument --recipe")),
    Case("recipes: pretraining of one that has none", "representation.pretrain shop --out new --recipe moon1", ("recipe moon1 has no pretraining",)),
    Case("recipes: curation of one that has none", "representation.curate shop --out new --recipe moon1", ("recipe moon1 has no curation", "moon.refinement")),
    Case("recipes: reasoning of one that has none", "representation.reason shop --start encoder --out new --recipe moon2", ("recipe moon2 has no reasoning", "take one that has: moon3")),
    Case("recipes: a mark in an encoder's folder that is none", "representation.embed shop --encoder marked --out new", ("marked/moon_rec.json: recipe is none", "RecipeMark.card is missing", "save the encoder again"), marked({"name": "moon1", "stage": "posttraining"})),
    Case("recipes: a benchmark of one that is unknown", "representation.benchmark shop --encoder encoder --out new --recipe moon33", ("no recipe 'moon33'", "did you mean 'moon3'")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recipes(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
