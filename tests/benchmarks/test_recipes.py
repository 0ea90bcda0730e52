"""The recipes' ablations: what each arm leaves out, what a budget buys, and what is said beside the paper."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import recipe_arms
from benchmarks.recipe_arms import PARTS, PLAIN, RECIPES, TASKS, Part, arms_of, without
from benchmarks.recipes import beside_paper, budget_of, summarise, tables_of
from exchange_rate.study.plan import StudyConfig
from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from moon_rec.files import read_json
from representation.posttraining import PosttrainConfig
from representation.recipes.recipe import recipe_values

SETTINGS = {"steps": 7, "batch_size": 8, "seed": 3}


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_arm_leaves_out_what_its_part_says_and_nothing_else(recipe):
    first, *others = arms_of(recipe, SETTINGS, augmented=Path("made")).items()
    assert first[0] == recipe and (first[1].steps, first[1].seed) == (7, 3)
    of_recipe = recipe_values(RECIPES[recipe], "posttraining")
    beside = {"co_augmentation": {"folder": "made"}} if recipe == "moon2" else {}
    assert first[1] == PosttrainConfig.model_validate(of_recipe | SETTINGS | beside)
    assert [name for name, _ in others] == [without(recipe, part) for part in PARTS[recipe]]
    for (_, config), part in zip(others, PARTS[recipe].values(), strict=True):
        changed = {
            name
            for name in PosttrainConfig.model_fields
            if getattr(config, name) != getattr(first[1], name)
        }
        # a part's own settings fall back where they count for nothing without it
        assert set(part.off) <= changed
        assert changed <= set(part.off) | first[1].model_fields_set | set(of_recipe)


def test_what_is_not_there_is_not_left_out():
    """Without a folder of augmented products MOON2.0 has no co-augmentation."""
    assert without("moon2", "co-augmentation") not in arms_of("moon2", SETTINGS)
    assert arms_of("moon2", SETTINGS)["moon2"].co_augmentation is None


def test_experts_are_as_many_as_asked_for_where_a_recipe_has_them():
    counts = {
        name: config.experts.num_experts if config.experts else None
        for recipe in (PLAIN, "moon1", "moon2")
        for name, config in arms_of(recipe, SETTINGS, 4).items()
    }
    assert counts[PLAIN] is counts["moon1 without guided experts"] is None
    assert counts["moon1"] == counts["moon2"] == counts["moon1 without core region"] == 4


def test_moon2_s_own_ablation_lowers_every_task():
    """As its table has it: 51.29 - 63.09 is the first entry of the row without experts."""
    parts = {name: part for name, part in PARTS["moon2"].items() if part.paper}
    assert parts["experts"].paper["t->mm"] == -11.8 and parts["filtering"].paper["i->t"] == -1.7
    assert all(part.is_lower(task) for part in parts.values() for task in TASKS)


def test_a_budget_of_tokens_or_seconds_buys_steps():
    rows = [{"recipe": PLAIN, "tokens_a_step": 100, "seconds_a_step": 0.1}, {"recipe": "moon1", "tokens_a_step": 300, "seconds_a_step": 0.8}]  # fmt: skip
    costs = {"rows": rows}
    assert [budget_of(80, "moon1", one, costs) for one in ("steps", "tokens", "seconds")] == [80, 27, 10]  # fmt: skip
    with pytest.raises(ConfigError, match="give --costs FILE"):
        budget_of(80, "moon1", "tokens", None)
    with pytest.raises(ConfigError, match="--costs has no 'moon2'; it has plain, moon1"):
        budget_of(80, "moon2", "tokens", costs)


def test_the_study_over_the_recipes_is_a_plan():
    """All four recipes and some without a part, one start and one number of pairs; each part is one that `PARTS` switches off."""
    plan = load_config(StudyConfig, Path(recipe_arms.__file__).with_name("recipes_study.toml"))
    first, *trained = plan.encoders
    assert len(trained) >= 8 and {RECIPES[name] for name in RECIPES} <= {one.recipe for one in trained}  # fmt: skip
    assert {one.start for one in trained} == {first.folder}
    made = [one.posttraining for one in trained if one.posttraining is not None]
    assert len({(one.steps, one.batch_size, one.learning_rate) for one in made}) == 1
    names = {PLAIN, *RECIPES} | {without(name, part) for name in RECIPES for part in PARTS[name]}
    assert {one.name for one in trained} <= names
    assert all(plan.is_permuted(one.name) for one in plan.encoders)  # else the rate is of the gain


def test_the_study_at_equal_tokens_buys_what_fifty_steps_of_plain_read():
    """By the tokens that the study of as many steps logged, to half a step; all else is as there."""
    folder = Path(recipe_arms.__file__).parent
    by_steps, by_tokens = (
        {one.name: one for one in load_config(StudyConfig, folder / name).encoders}
        for name in ("recipes_study.toml", "recipes_study_tokens.toml")
    )
    logged = read_json(folder / "results" / "2026-11-27-recipes-study-simulated.json")
    tokens = {one["name"]: one["posttraining_tokens"] / 50 for one in logged["encoders"]}
    assert [*by_tokens] == ["start", PLAIN, *RECIPES]
    for name in (PLAIN, *RECIPES):
        steps = by_tokens[name].posttraining.steps
        assert steps == round(50 * tokens[PLAIN] / tokens[name])
        same = by_steps[name].posttraining.model_copy(update={"steps": steps})
        assert by_tokens[name].posttraining == same


@pytest.mark.parametrize(
    ("low", "high", "direction"),
    [(-0.2, -0.1, "agrees"), (0.1, 0.2, "disagrees"), (-0.1, 0.1, "not told")],
)
def test_what_is_said_beside_the_paper(low, high, direction):
    row = {"minus_whole": {"low": low, "high": high}}
    lower = Part({}, paper={"t->mm": -3.0})
    assert beside_paper(row, lower, "t->mm") == {"paper": -3.0, "direction": direction}
    assert beside_paper(row, Part({}, known="lowers"), "class")["direction"] == direction
    assert beside_paper(row, lower, "class, picture") == {"paper": None}
    assert beside_paper(row, Part({}), "t->mm") == {"paper": None}


def test_a_part_is_held_against_the_whole_recipe_and_a_recipe_against_plain():
    frames = []
    for arm, share in ((PLAIN, 4), ("moon2", 2), (without("moon2", "experts"), 1)):
        rows = np.arange(100)
        hit = (rows % 4 < share).astype(np.float64)
        frames.append(pl.DataFrame({"arm": arm, "seed": 0, "modality": "t->mm", "search_id": rows, "hit@1": hit, "hit@10": hit, "num_items": 9}))  # fmt: skip
    hits = pl.concat(frames)
    found = {row["arm"]: row for row in summarise(hits, ["moon2"], "parts")}
    gap = found["moon2 without experts"]
    assert gap["minus_whole"]["value"] == -0.25 and gap["direction"] == "agrees"
    assert "minus_plain" not in found["moon2"]
    (table,) = tables_of(list(found.values()), ["moon2"], "parts")
    assert table.startswith("moon2: MOON2.0 (arXiv 2511.12449")
    assert "| moon2 | 1 | 0.500 [" in table and "| moon2 without experts | 1 | -0.250 [" in table
    assert table.endswith("| the paper | | -11.8: agrees |")
    found = {row["arm"]: row for row in summarise(hits, [PLAIN, "moon2"], "budgets")}
    assert found["moon2"]["minus_plain"]["value"] == -0.5
    assert "top 10 of 9 products" in found[PLAIN]["recall"]["definition"]
