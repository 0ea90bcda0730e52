"""Recipes that do not exist, or do not go with what is asked beside them."""

import pytest

from tests.bad_inputs.harness import Case, check

CASES = [
    Case("recipes: one that is unknown", "representation.recipes.__main__ moon4", ("no recipe 'moon4'", "moon, moon1, moon2, moon3", "did you mean 'moon")),
    Case("recipes: two at once", "representation.recipes.__main__ moon1 moon2", ("unrecognized arguments: moon2",)),
    Case("recipes: a part of a post-training that does not exist", "representation.posttrain shop --out new --recipe moon.refine", ("recipe moon has no part 'refine'", "did you mean 'refinement'", "moon.broad")),
    Case("recipes: a system of two parts without its part", "representation.posttrain shop --out new --recipe moon", ("several parts of posttraining", "moon.broad, moon.refinement")),
    Case("recipes: beside a preset", "representation.posttrain shop --out new --recipe moon2 --preset broad", ("--preset", "not allowed with argument --recipe")),
    Case("recipes: pretraining of one that has none", "representation.pretrain shop --out new --recipe moon1", ("recipe moon1 has no pretraining",)),
    Case("recipes: curation of one that has none", "representation.curate shop --out new --recipe moon1", ("recipe moon1 has no curation", "moon.refinement")),
    Case("recipes: reasoning of one that has none", "representation.reason shop --start encoder --out new --recipe moon2", ("recipe moon2 has no reasoning", "take one that has: moon3")),
    Case("recipes: a benchmark of one that is unknown", "representation.benchmark shop --encoder encoder --out new --recipe moon33", ("no recipe 'moon33'", "did you mean 'moon3'")),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recipes(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
