"""The ablation's arms and its arithmetic."""

import argparse

import numpy as np
import polars as pl
import pytest

from benchmarks import ablation
from benchmarks.ablation import ADDED, arms, draw, summarise
from benchmarks.over_seeds import hits_by_seed, variance_of_mean
from moon_rec.errors import ConfigError
from representation.posttraining import PosttrainConfig
from representation.posttraining.mixture import check_mixture


def test_arms_lead_from_broad_to_refinement_one_part_at_a_time():
    settings = {"steps": 7, "learning_rate": 1e-4}
    found = arms(settings)
    assert list(found) == [name for name, _ in ADDED]
    configs = list(found.values())
    assert configs[0] == PosttrainConfig.preset("broad").model_copy(update=settings)
    assert configs[-1] == PosttrainConfig.preset("refinement").model_copy(update=settings)
    for (_, fields), before, after in zip(ADDED[1:], configs[:-1], configs[1:], strict=True):
        changed = {
            name
            for name in PosttrainConfig.model_fields
            if getattr(before, name) != getattr(after, name)
        }
        assert changed and changed <= set(fields)


def test_a_setting_that_no_arm_adds_is_named(monkeypatch):
    monkeypatch.setattr(ablation, "ADDED", ADDED[:-1])
    with pytest.raises(ConfigError, match="no arm adds loss"):
        arms({"steps": 7, "learning_rate": 1e-4})


def test_options_differ_from_the_first_in_one_thing_each():
    plain, *others = ablation.options_of({"steps": 7}).values()
    assert plain.engagement == "purchased"
    for name, other in zip(list(ablation.OPTIONS)[1:], others, strict=True):
        changed = {
            field
            for field in PosttrainConfig.model_fields
            if getattr(plain, field) != getattr(other, field)
        }
        assert changed == set(ablation.OPTIONS[name]), name
        PosttrainConfig.model_validate(other.model_dump(exclude_unset=True))  # they go together


def made_up(searches=400):
    """Arm 1 finds what arm 0 finds, and every fourth search besides."""
    frames = []
    for seed in (0, 1, 2):
        base = np.arange(searches) % 4 == 1
        for name, hits in (
            ("stage 1 only", base),
            ("+ purchase pairs", base | (np.arange(searches) % 4 == 2)),
        ):
            frame = {"search_id": np.arange(searches), **{f"hit@{k}": hits for k in ablation.KS}}
            frames.append(
                pl.DataFrame(frame).with_columns(
                    modality=pl.lit("image"), arm=pl.lit(name), seed=pl.lit(seed)
                )
            )
    return pl.concat(frames).sample(fraction=1.0, shuffle=True, seed=1).with_columns(num_items=50)


def test_differences_are_paired_and_the_picture_is_drawn(tmp_path):
    rows = summarise(made_up(), "test", 10)
    assert [row["recall"]["value"] for row in rows] == [0.25, 0.5]
    gap = rows[1]["minus_first"]
    assert gap["value"] == 0.25 and 0.2 < gap["low"] < 0.25 < gap["high"] < 0.3
    assert (
        rows[1]["by_seed"] == [0.5, 0.5, 0.5]
        and "400 image searches" in rows[0]["recall"]["definition"]
    )
    draw(tmp_path / "picture.png", rows, "made up")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


def test_without_the_first_arm_nothing_is_held_against_it():
    hits = made_up().with_columns(
        arm=pl.col("arm").replace({"stage 1 only": "+ curation", "+ purchase pairs": "+ queue"})
    )
    first, second = summarise(hits, "test", 10)
    assert "minus_previous" in second and "minus_first" not in second
    assert (
        "'+ curation'" in second["minus_previous"]["definition"] and "minus_previous" not in first
    )


def test_seeds_count_in_the_interval():
    """Three seeds that disagree make the mean vary however many searches there are: by .24 / sqrt(3)."""
    agree, differ = np.full((3, 5000), 0.5), np.repeat([[0.2], [0.5], [0.8]], 5000, axis=1)
    assert variance_of_mean(agree, 0) == pytest.approx(0)
    assert np.sqrt(variance_of_mean(differ, 0)) == pytest.approx(0.245 / np.sqrt(3), rel=0.05)


def test_arms_are_compared_on_the_seeds_that_both_have():
    """Seed 2 of the second arm, which finds nothing, has nothing to be held against."""
    hits = made_up()
    is_first = pl.col("arm") == "stage 1 only"
    nothing = pl.when(~is_first & (pl.col("seed") == 2)).then(False).otherwise(pl.col("hit@10"))
    hits = hits.with_columns(nothing.alias("hit@10")).filter(~is_first | (pl.col("seed") < 2))
    first, second = summarise(hits, "test", 10)
    assert first["by_seed"] == [0.25, 0.25] and second["by_seed"] == [0.5, 0.5, 0.0]
    gap = second["minus_first"]
    assert gap["value"] == 0.25 and gap["definition"].endswith("same seeds: 0, 1")
    found = hits_by_seed(hits, "stage 1 only", "image", 1)
    assert list(found) == [0, 1] and found[0].shape == (400,)


def test_collecting_trains_nothing_and_names_what_is_missing(tmp_path):
    class Nothing:
        digest = "of no shop"

    options = argparse.Namespace(
        backbone="demo",
        seeds=[0, 1],
        arms=[0, 5],
        batch_size=8,
        mixture="table2",
        threads=None,
        stage1_seed=None,
        stage1_steps=1,
        steps=1,
        learning_rate=1e-3,
        start=None,
        out=tmp_path / "cells",
        period="test",
        collect=True,
        keep=False,
        compare="parts",
        teacher=None,
    )
    with pytest.raises(ConfigError, match=r"no cell of these settings in .*cells; leave out"):
        ablation.train_cells(Nothing(), options)  # type: ignore[arg-type]
    assert not options.out.exists()


@pytest.mark.parametrize("name", ablation.MIXTURES)
def test_mixtures_are_of_known_kinds(name):
    check_mixture(ablation.MIXTURES[name])
