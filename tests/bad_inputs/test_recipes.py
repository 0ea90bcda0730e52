"""Recipes that do not exist, or do not go with what is asked beside them."""

import pytest

from tests.bad_inputs.harness import Case, check

CASES = [
    Case("recipes: one that is unknown", "representation.recipes.__main__ moon4", ("no recipe 'moon4'", "moon, moon1, moon2, moon3", "did you mean 'moon")),
    Case("recipes: two at once", "representation.recipes.__main__ moon1 moon2", ("unrecognized arguments: moon2",)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recipes(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
