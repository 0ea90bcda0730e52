"""Own photos of held-out products, on a little shop with small random towers."""

import json

import numpy as np
import pytest

from benchmarks import photo_training
from benchmarks.held_out_photos import main
from moon_rec.errors import ConfigError
from moon_rec.shop.pictures import decode
from representation.core_region.box import Box, crop
from representation.model.pixels import square
from tests.benchmarks.test_title_to_picture import model, starters  # noqa: F401
from tests.representation.conftest import little_shop  # noqa: F401
from tests.representation.encoders.conftest import checkpoints  # noqa: F401


def given(shop, starters, work, *more):  # noqa: F811
    words = [str(shop.path), "--weights", str(starters), "--work", str(work), "--out", str(work / "out.json")]  # fmt: skip
    return [*words, "--held-out", "6", "--validation", "4", "--side", "32", "--batch-size", "8", "--dim", "8", *more]  # fmt: skip


def test_a_stopped_tuning_goes_on_and_photos_are_of_what_is_held_out(
    little_shop,  # noqa: F811
    starters,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    more = ["--steps", "3", "--region", "foreground", "--views", "rendered", "--near", "2", "--look", "2", "--late", "8", "--places", "3", "--frozen"]  # fmt: skip
    main(given(little_shop, starters, whole, *more))
    record = json.loads((whole / "out.json").read_text())
    assert record["tuned, both"]["recall"]["R@10"]["count"] == 6
    save = photo_training.saved_state
    monkeypatch.setattr(photo_training, "STEPS_BETWEEN", 2)

    def stop(*saved):
        save(*saved)
        raise KeyboardInterrupt

    monkeypatch.setattr(photo_training, "saved_state", stop)
    with pytest.raises(KeyboardInterrupt):
        main(given(little_shop, starters, parts, *more))
    monkeypatch.setattr(photo_training, "saved_state", save)
    main(given(little_shop, starters, parts, *more))
    again = json.loads((parts / "out.json").read_text())
    assert again["curve"][-1]["loss"] == record["curve"][-1]["loss"]
    assert again["tuned, both"]["recall"] == record["tuned, both"]["recall"]
    with pytest.raises(ConfigError, match="take a smaller --late, or --places of 8 at most"):
        main(given(little_shop, starters, whole, *more, "--places", "9"))
    few = ["--steps", "1", "--photos", "3", "--gallery", "20", "--region", "both"]
    main(given(little_shop, starters, whole, *few, "--frozen", "efficientnet-lite0"))
    fewer = json.loads((whole / "out.json").read_text())
    assert fewer["products"] == 20 and fewer["efficientnet-lite0"]["recall"]["R@10"]["count"] == 3


def test_a_picture_is_cut_to_its_box_before_it_is_squared(little_shop, monkeypatch):  # noqa: F811
    data = little_shop.items.select("image").drop_nulls("image").head(1).collect()["image"][0]
    box = Box(2, 3, 9, 14)
    monkeypatch.setattr(photo_training, "foreground_box", lambda _: box)
    (cut,) = photo_training.squares_of([data], 16, region=True)
    assert (cut == square(crop(decode(data), box), 16)).all()
    (whole,) = photo_training.squares_of([data], 16)
    assert (whole == square(decode(data), 16)).all() and not np.array_equal(cut, whole)


def test_groups_are_of_the_nearest_pictures_trained_on_and_never_of_others(
    little_shop,  # noqa: F811
    starters,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    seen = []

    def rows_of(self, alike, random):
        seen.append(
            (self._split, self.seeing.kept(self._plain)[0].numpy(), drawn(self, alike, random))
        )
        return seen[-1][2]

    drawn = photo_training.Tuning._drawn
    monkeypatch.setattr(photo_training.Tuning, "_drawn", rows_of)
    monkeypatch.setattr(photo_training, "AMONG", 1)
    main(given(little_shop, starters, tmp_path, "--steps", "1", "--views", "rendered", "--near", "3", "--batch-size", "3", "--frozen"))  # fmt: skip
    ((split, vectors, rows),) = seen
    assert set(rows) <= set(split.train) and len(rows) == 3
    scores = vectors[split.train] @ vectors[split.train].T
    alike_three = [set(split.train[np.argsort(-line)[1:4]]) for line in scores]
    assert any(
        set(rows) - {own} <= alike for own, alike in zip(split.train, alike_three, strict=True)
    )
