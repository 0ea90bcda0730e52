"""What is marked of the recipe that an encoder was trained by."""

import importlib

import pytest

from moon_rec.command import run
from moon_rec.errors import EncoderError
from moon_rec.files import read_json, write_json
from representation import posttrain as posttrain_command
from representation.encoders.checkpoint import ABOUT_FILE, read_about, recipe_of
from representation.posttraining import PosttrainConfig
from representation.recipes.card import read_card
from representation.recipes.mark import RecipeMark
from representation.recipes.recipe import recipe_values
from tests.representation.keeping_store import KeepingStore
from tests.representation.recipes.test_recipes import of


@pytest.mark.parametrize(
    ("recipe", "words", "changed"),
    [
        ("moon1", (), ()),
        ("moon1", ("steps=7", "batch_size=4", "learning_rate=1e-3"), ()),
        ("moon1", ("core_region=none", "experts.num_experts=4"), ("core_region", "experts")),
        ("moon.refinement", ("loss=infonce", "learning_rate=1e-3"), ("learning_rate", "loss")),
        ("moon3", ("loss=circle",), ("loss",)),
    ],
)
def test_what_a_training_has_otherwise_is_named(recipe, words, changed):
    """Settings that the recipe says nothing of are nobody's change."""
    found = RecipeMark.of(recipe, "posttraining", of(recipe, *words))
    # settings of circle loss fall back with it
    named = [name for name in found.departures if not name.startswith("circle_")]
    assert (found.name, tuple(named)) == (recipe, changed)
    assert found.card == read_card(recipe.partition(".")[0]).line()


def test_an_encoder_trained_by_a_recipe_says_so(little_shop, encoder_path, tmp_path, monkeypatch):
    store = KeepingStore()
    monkeypatch.setattr("moon_rec.tracking.Tracker", store)
    words = [str(little_shop.path), "--start", str(encoder_path), "--set", "steps=1", "--set", "batch_size=4"]  # fmt: skip
    ours = ["--out", str(tmp_path / "ours"), "--recipe", "moon3", "--set", "residual_enhancement=none", "--track", "sqlite:///x.db"]  # fmt: skip
    assert run(posttrain_command.main, [*words, *ours]) == 0
    found = recipe_of(tmp_path / "ours")
    assert found is not None and found.card == read_card("moon3").line()
    assert (found.name, found.stage) == ("moon3", "posttraining")
    assert found.departures == ("residual_enhancement",)
    assert store.tags == found.labels() and store.tags["recipe"] == "moon3"
    words[2] = str(tmp_path / "ours")
    assert run(posttrain_command.main, [*words, "--out", str(tmp_path / "on")]) == 0
    assert recipe_of(tmp_path / "on") is None  # what was trained on without it is not of it


@pytest.mark.parametrize(
    ("command", "package", "recipe", "stage"),
    [
        ("pretrain", "pretraining", "moon", "pretraining"),
        ("reason", "reasoning", "moon3", "reasoning"),
    ],
)
def test_the_other_stages_hand_their_mark_on(
    command, package, recipe, stage, little_shop, encoder_path, tmp_path, monkeypatch
):
    class Found(Exception):
        pass

    def train(*_, recipe=None, **__):
        raise Found(recipe)

    monkeypatch.setattr(f"representation.{package}.train.train", train)
    words = [str(little_shop.path), "--start", str(encoder_path), "--out", str(tmp_path / "out")]
    main = importlib.import_module(f"representation.{command}").main
    with pytest.raises(Found) as raised:
        main([*words, "--recipe", recipe, "--graded", "0"])
    mark = raised.value.args[0]
    assert (mark.name, mark.stage, mark.departures) == (recipe, stage, ())


def test_a_mark_that_is_none_is_refused(tmp_path):
    about = {"format_version": 1, "digest": "a", "config": {}}
    mark = RecipeMark.of("moon2", "posttraining", PosttrainConfig.model_validate(recipe_values("moon2", "posttraining")))  # fmt: skip
    write_json(tmp_path / ABOUT_FILE, about | {"recipe": mark.model_dump(mode="json")})
    assert recipe_of(tmp_path) == mark
    for odd in ("moon2", {"name": "moon2"}, mark.model_dump(mode="json") | {"card": "a" * 2000}):
        write_json(tmp_path / ABOUT_FILE, about | {"recipe": odd})
        with pytest.raises(EncoderError, match=r"recipe is none: .*leave it out"):
            read_about(tmp_path)
    write_json(tmp_path / ABOUT_FILE, about)
    assert recipe_of(tmp_path) is None and "recipe" not in read_json(tmp_path / ABOUT_FILE)
