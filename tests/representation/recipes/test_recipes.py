"""Recipes: what each sets, over what a user says, at every door."""

import argparse
import importlib
import json
import re
from typing import get_args

import pytest

from exchange_rate.study.encoder_plan import EncoderRun
from moon_rec.config import load_config, make_config, read_toml
from moon_rec.errors import ConfigError
from representation.co_augmentation.config import AugmentConfig
from representation.curation import CurationConfig
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig
from representation.reasoning import ReasonConfig
from representation.recipes.card import NAMES, read_card
from representation.recipes.option import chosen_recipe
from representation.recipes.recipe import SETTINGS, Stage, recipe_values, with_stage


def of(recipe: str, *words: str) -> PosttrainConfig:
    return load_config(PosttrainConfig, None, words, base=recipe_values(recipe, "posttraining"))


def test_every_recipe_is_short_settings_that_hold():
    assert {file.stem for file in SETTINGS.glob("*.toml")} == set(NAMES)
    for name in NAMES:
        text = (SETTINGS / f"{name}.toml").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 30
        for part in read_toml(SETTINGS / f"{name}.toml")["posttraining"]:
            assert of(f"{name}.{part}").idle() == {}


def test_moon_is_its_two_presets():
    assert of("moon.broad") == PosttrainConfig.preset("broad")
    assert of("moon.refinement") == PosttrainConfig.preset("refinement")
    assert (
        load_config(PretrainConfig, base=recipe_values("moon", "pretraining")) == PretrainConfig()
    )


def test_moon1_mixes_its_queries_twelve_three_two():
    found = of("moon1")
    shares = {kind.split("->")[0]: weight for kind, weight in found.mixture.items()}
    assert shares == {"image": 12.0, "text": 3.0, "title+image": 2.0}
    assert found.core_region is not None and found.experts is not None and found.experts.guided
    assert (found.engagement, found.loss, found.queue_term) == ("purchased", "infonce", "joint")
    assert found.has_queue and found.hard_negative_kinds == ("category",)


def test_moon2_aligns_and_filters():
    found = of("moon2")
    assert found.alignment is not None and found.alignment.objective_weights
    assert found.filtering is not None and found.filtering.threshold == 0.6
    assert found.experts is not None and not found.experts.guided and found.core_region is None


def test_what_a_user_says_goes_over_it():
    found = of("moon1", "steps=7", "core_region=none", "experts.num_experts=4")
    assert (found.steps, found.core_region) == (7, None)
    assert found.experts is not None and found.experts.num_experts == 4 and found.experts.guided


def test_no_recipe_has_what_its_card_leaves_out():
    """What is in a recipe's settings is not OMITTED in its card, and the other way round."""
    for name, subject, setting in (
        ("moon1", "core semantic region", "core_region"),
        ("moon1", "mixture of experts", "experts"),
        ("moon2", "mixture of experts", "experts"),
        ("moon2", "alignment", "alignment"),
        ("moon2", "sample filtering", "filtering"),
        ("moon3", "modality fusion", "fusion"),
        ("moon3", "fine detail", "residual_enhancement"),
    ):
        statuses = {one.status for one in read_card(name).of_subject(subject)}
        assert (getattr(of(name), setting) is not None) == (statuses != {"OMITTED"}), subject


@pytest.mark.parametrize(
    ("recipe", "stage", "said"),
    [
        ("moon4", "posttraining", "no recipe 'moon4'; there are moon, moon1, moon2, moon3"),
        ("moon", "posttraining", "moon has several parts of posttraining: name one of moon.broad, moon.refinement"),
        ("moon.refine", "posttraining", "moon has no part 'refine'; did you mean 'refinement'?"),
        ("moon1.broad", "posttraining", "moon1 has no part 'broad'"),
        ("moon2", "pretraining", "recipe moon2 has no pretraining: it starts from weights that are there"),
        ("moon1", "curation", "recipe moon1 has no curation; leave out the recipe, or take one that has: moon.refinement"),
        ("moon", "curation", "name one of moon.broad, moon.refinement"),
        ("moon2", "reasoning", "recipe moon2 has no reasoning; leave out the recipe, or take one that has: moon3"),
        ("moon3.one", "benchmark", "recipe moon3 has no parts of benchmark: leave out 'one'"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(recipe, stage, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        recipe_values(recipe, stage)


def test_every_stage_that_a_recipe_has_makes_settings():
    kinds = {"augmentation": AugmentConfig, "pretraining": PretrainConfig, "posttraining": PosttrainConfig, "curation": CurationConfig, "reasoning": ReasonConfig, "benchmark": BenchmarkConfig}  # fmt: skip
    assert set(kinds) == set(get_args(Stage))
    for stage, kind in kinds.items():
        names = with_stage(stage)
        assert names, stage
        for name in names:
            assert load_config(kind, base=recipe_values(name, stage)).idle() == {}
    assert with_stage("posttraining") == ["moon.broad", "moon.refinement", "moon1", "moon2", "moon3"]  # fmt: skip
    of_part = of("moon.refinement").curation
    assert load_config(CurationConfig, base=recipe_values("moon.refinement", "curation")) == of_part


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        ("augment", "augmentation"),
        ("pretrain", "pretraining"),
        ("posttrain", "posttraining"),
        ("curate", "curation"),
        ("reason", "reasoning"),
        ("benchmark", "benchmark"),
    ],
)
def test_every_command_of_a_stage_takes_a_recipe(command, stage, capsys):
    module = importlib.import_module(f"representation.{command}")
    with pytest.raises(SystemExit):
        module.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"for this stage: {', '.join(with_stage(stage))}" in said


def test_the_card_is_said_where_a_recipe_is_chosen(capsys):
    options = argparse.Namespace(recipe="moon.refinement")
    assert chosen_recipe(options, "posttraining") == {"preset": "refinement"}
    assert f"recipe moon.refinement: {read_card('moon').line()}" in capsys.readouterr().err
    assert chosen_recipe(argparse.Namespace(recipe=None), "posttraining") == {}


def test_an_encoder_of_a_study_may_be_a_recipe():
    made = make_config(EncoderRun, {"name": "a", "recipe": "moon1", "posttraining": {"steps": 9}})
    assert made.posttraining == of("moon1", "steps=9") and made.pretraining is None
    assert make_config(EncoderRun, made.model_dump(mode="json")) == made
    first = make_config(EncoderRun, {"name": "a", "recipe": "moon.broad"})
    assert first.pretraining == PretrainConfig() and first.source == "training"
    assert (
        make_config(EncoderRun, {"name": "a", "recipe": "moon.broad", "start": "x"}).pretraining
        is None
    )
    assert (
        make_config(
            EncoderRun, {"name": "a", "recipe": "moon.refinement", "start": "x"}
        ).pretraining
        is None
    )
    with pytest.raises(ConfigError, match="no recipe 'mon'"):
        make_config(EncoderRun, {"name": "a", "recipe": "mon"})


@pytest.mark.parametrize(
    ("recipe", "stage", "kind", "off", "gone"),
    [
        ("moon2", "posttraining", PosttrainConfig, "hard_negatives=0", "filtering"),
        ("moon1", "posttraining", PosttrainConfig, "hard_negatives=0", "hard_negative_kinds"),
        ("moon1", "posttraining", PosttrainConfig, "num_negatives=none", "queue_term"),
        ("moon.refinement", "curation", CurationConfig, "hardest_query=false", "hardest_keep"),
    ],
)
def test_a_part_goes_off_with_what_hangs_on_it(recipe, stage, kind, off, gone):
    """What the recipe says of a part that is switched off is not refused as changing nothing; what a user says of it is."""
    values = recipe_values(recipe, stage)
    found = load_config(kind, None, [off], base=values)
    assert gone not in found.changed()
    told = getattr(load_config(kind, None, [], base=values), gone)
    kept = json.dumps(told.model_dump() if hasattr(told, "model_dump") else told)
    with pytest.raises(ConfigError, match=f"{gone} = .* changes nothing"):
        load_config(kind, None, [off, f"{gone}={kept}".replace(": ", " = ")], base=values)


def test_a_part_of_a_studys_recipe_goes_off_with_what_hangs_on_it():
    off = {"name": "one", "recipe": "moon2", "start": "folder", "posttraining": {"hard_negatives": 0}}  # fmt: skip
    found = EncoderRun.model_validate(off).posttraining
    assert found is not None and found.filtering is None and found.experts is not None
    off["posttraining"] |= {"filtering": {"threshold": 0.5}}
    with pytest.raises(ValueError, match=r"filtering = .* changes nothing"):
        EncoderRun.model_validate(off)
