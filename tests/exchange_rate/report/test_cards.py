"""Recipes and their cards, from a study's plan through the tracking store into its report."""

import html
import json
import shutil

import pytest

from exchange_rate.report.summary import summary_table
from exchange_rate.report.write import write_report
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.run import run_study
from moon_rec.config import make_config
from moon_rec.files import write_json
from representation.recipes.card import read_card
from representation.recipes.mark import RecipeMark

ELSEWHERE = RecipeMark(name="moon9.first", stage="posttraining", card="MOON 9 (as it was): 1 FAITHFUL | 0 OMITTED", departures=("steps",))  # fmt: skip


def by_recipe(name, recipe, **settings):
    given = {"steps": 40, "batch_size": 16, **settings}
    return make_config(EncoderRun, {"name": name, "recipe": recipe, "start": None, "posttraining": given})  # fmt: skip


@pytest.fixture
def tracked(shop, lean, planted, memory, tmp_path):
    """A study of two recipes, one without a part, and of a folder that says its own; cells are gone from disk."""
    folder = tmp_path / "brought"
    folder.mkdir()
    write_json(folder / "config.json", {"model_type": "qwen3_vl"})
    about = {"format_version": 1, "digest": "a", "config": {}}
    write_json(folder / "moon_rec.json", about | {"recipe": ELSEWHERE.model_dump(mode="json")})
    ours = (
        by_recipe("first", "moon1"),
        by_recipe("first without region", "moon1", core_region="none"),
        by_recipe("third", "moon3"),
        EncoderRun(name="brought", folder=str(folder)),
    )
    for place, one in enumerate(ours):
        planted.recall[one.name] = 0.2 + 0.1 * place
    few = lean.model_copy(update={"encoders": (*lean.encoders[:2], *ours)})
    run_study(shop, few, tmp_path / "work", memory, workers=1)
    shutil.rmtree(tmp_path / "work")
    return memory


def test_the_report_says_which_encoder_is_of_which_recipe_and_each_card_once(
    tracked, tmp_path, undrawn
):
    labels = {run["params"]["encoder"]: run["params"] for run in tracked.runs("encoder")}
    assert labels["third"]["recipe"] == "moon3" and "recipe" not in labels["pretrained"]
    assert labels["third"]["card"] == read_card("moon3").line()
    report = write_report(tracked, tmp_path / "report")
    lines = [read_card("moon1").line(), read_card("moon3").line(), ELSEWHERE.card]
    assert [one.line for one in report.results.cards] == lines
    assert [one.text.partition(". By it were trained: ")[2] for one in report.results.cards] == [
        "first (recipe moon1); first without region (recipe moon1, but for core_region)",
        "third (recipe moon3)",
        "brought (recipe moon9.first, but for steps)",
    ]
    page = html.unescape(report.page.read_text())
    text = (report.folder / "report.md").read_text().replace("\\", "")
    terminal = str(summary_table(report).caption)
    for one in report.results.cards:
        for shown in (page, text, terminal):
            assert shown.count(one.line) == 1 and one.text in shown
    assert page.index('id="encoders"') < page.index(lines[0]) < page.index('id="pairs"')


def test_a_study_without_recipes_or_of_an_older_version_says_nothing_of_them(
    tracked, planted_report, tmp_path, undrawn
):
    (study,) = tracked.runs("study")
    file = tracked.fetch(study["id"], "study.json")
    about = json.loads(file.read_text())
    for cell in about["cells"]:  # as they were tracked before
        for name in ("recipe", "card", "recipe_departures"):
            cell["labels"].pop(name, None)
    file.write_text(json.dumps(about))
    for report in (planted_report, write_report(tracked, tmp_path / "report")):
        assert report.results.cards == () and report.results.missing.left_out == ()
        assert "Recipes, each with" not in report.page.read_text()
        assert "Recipes" not in (report.folder / "report.md").read_text()
