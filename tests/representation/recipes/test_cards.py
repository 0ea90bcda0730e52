"""Cards: what they must say, that what they call pinned is pinned, and the command and the page made of them."""

import ast
import json
from functools import cache
from pathlib import Path

import pytest

from moon_rec.command import run
from moon_rec.config import make_config
from moon_rec.errors import ConfigError
from representation.recipes.card import FOLDER, NAMES, Card, read_card, read_cards
from representation.recipes.command import main
from representation.recipes.page import PAGE, page

ROOT = Path(__file__).parents[3]
GOOD = {
    "name": "moon2",
    "title": "A system",
    "paper": "of 2026",
    "summary": "What it is.",
    "mechanisms": [
        {
            "name": "one",
            "subject": "loss",
            "where": "Fig. 1",
            "evidence": "figure",
            "status": "FAITHFUL",
            "paper": "A loss.",
            "here": "That loss.",
            "test": "tests/representation/losses/test_infonce.py::test_equals_the_formula",
        }
    ],
}


@cache
def functions(path: str) -> set[str]:
    """Tests of a file: what pytest collects of it by name."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}


def test_every_card_names_tests_that_exist():
    """With the rule that FAITHFUL has a test: none is FAITHFUL without one that exists. That it passes is the suite's business."""
    named = [one.test for card in read_cards() for one in card.mechanisms if one.test]
    assert len(named) > 40
    for test in named:
        path, _, function = test.partition("::")
        assert (ROOT / path).is_file(), test
        assert function in functions(path), test


def test_a_card_is_of_its_files_name_and_every_file_is_a_card():
    assert {file.stem for file in FOLDER.glob("*.toml")} == set(NAMES)
    assert [read_card(name).name for name in NAMES] == list(NAMES)


def changed(**values) -> dict:
    return GOOD | {"mechanisms": [GOOD["mechanisms"][0] | values]}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (changed(test=None), r"'one' is FAITHFUL without a test; name the test"),
        (changed(evidence="unknown"), r"'one' is FAITHFUL to what is unknown; .* is CHOSEN"),
        (changed(status="CHOSEN"), r"'one' is CHOSEN without a reason; give one"),
        (changed(status="OMITTED", reason="No.", here=None), r"'one' is OMITTED with a test"),
        (changed(status="OMITTED", reason="No.", test=None), r"'one' is OMITTED: `here` says"),
        (changed(status="CHOSEN", reason="So.", here=None), r"'one' is CHOSEN: `here` says"),
        (changed(status="faithful"), r"status = 'faithful': .*did you mean 'FAITHFUL'"),
        (changed(test="tests/test_docs.py"), r"test = .*wanted a pytest node id, such as"),
        (changed(subject="love"), r"subject = 'love': "),
        (GOOD | {"mechanisms": GOOD["mechanisms"] * 2}, r"mechanism 'one' stands twice"),
        (GOOD | {"mechanisms": []}, r"mechanisms = \[\]: "),
        (GOOD | {"name": "moon4"}, r"name = 'moon4': .*did you mean 'moon"),
    ],
)
def test_a_card_that_says_too_little_is_refused(values, said):
    assert make_config(Card, GOOD).counts()["FAITHFUL"] == 1
    with pytest.raises(ConfigError, match=said) as caught:
        make_config(Card, values)
    assert "\n" not in str(caught.value)


def test_the_command_lists_recipes_and_shows_a_card(capsys):
    assert run(main, []) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in listed] == list(NAMES)
    card = read_card("moon2")
    assert f"{card.counts()['OMITTED']} OMITTED" in listed[2]
    assert run(main, ["moon2"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for one in card.mechanisms:
        for text in (f"{one.status}: {one.name}", one.paper, one.here, one.reason, one.test):
            assert " ".join((text or "").split()) in shown


def test_as_json_it_is_the_card(capsys):
    assert run(main, ["moon1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.pop("counts") == read_card("moon1").counts()
    assert make_config(Card, found) == read_card("moon1")
    assert run(main, ["--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == list(NAMES)


def test_the_page_is_made_of_the_cards():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m representation.recipes.page"
