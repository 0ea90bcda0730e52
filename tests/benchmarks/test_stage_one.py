"""What the first stage is worth, in two steps a training: which cells there are, what is held out, that measured cells are kept, and the paired differences."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import stage_one
from benchmarks.stage_one import main, summarise
from benchmarks.stage_one_searches import held_out_searches
from benchmarks.stage_one_trainings import Cell, Trainings
from moon_rec.errors import ConfigError, ShopError
from representation.encoder import ProductEncoder
from representation.encoders.composed import compose_encoder
from representation.posttraining import PosttrainConfig
from representation.pretraining import PretrainConfig
from tests.representation.conftest import (  # noqa: F401
    encoder,
    encoder_path,
    little_shop,
    tiny_config,
)
from tests.representation.encoders.composed_parts import language_folder, vision_folder

QUICK = ["--steps", "2", "--batch-size", "4", "--threads", "1", "--rate", "random=1e-4"]
QUICK += ["--pretraining", "objective=picture_words", "steps=1", "--pretraining", "steps=2"]


def test_searches_are_of_products_listed_from_the_cut_on(little_shop):  # noqa: F811
    searches = held_out_searches(little_shop, 3, 0)
    later = little_shop.items.filter(pl.col("listed_at") >= little_shop.cut_time).collect()
    assert len(searches.items) == 3 and set(searches.items) <= set(later["item_id"])
    titles = dict(later.select("item_id", "title").iter_rows())
    assert searches.queries["text"]["query_text"].to_list() == [
        titles[item] for item in searches.items.tolist()
    ]
    photos = searches.queries["picture"]["query_image"].to_list()
    pictures = dict(later.select("item_id", "image").iter_rows())
    assert all(
        photo != pictures[item] for photo, item in zip(photos, searches.items.tolist(), strict=True)
    )
    whole = little_shop.items.filter(pl.col("image").is_not_null()).collect()
    assert searches.gallery["item_id"].to_list() == sorted(whole["item_id"])


def test_a_smaller_gallery_holds_what_is_sought(little_shop):  # noqa: F811
    whole = held_out_searches(little_shop, 3, 0).gallery["item_id"].to_list()
    small = held_out_searches(little_shop, 3, 0, 5)
    found = small.gallery["item_id"].to_list()
    assert len(found) == 5 and found == sorted(found) and set(small.items) <= set(found)
    assert set(found) < set(whole)
    fewer = held_out_searches(little_shop, 3, 0, 2).gallery["item_id"].to_list()
    assert fewer == small.items.tolist()


def test_a_shop_with_nothing_listed_later_is_refused(little_shop, monkeypatch):  # noqa: F811
    monkeypatch.setattr(type(little_shop), "cut_time", little_shop.test_time.replace(year=2099))
    with pytest.raises(ShopError, match="0 products with a title and a picture are listed from"):
        held_out_searches(little_shop, 3, 0)


def test_validation_seeks_other_products(little_shop):  # noqa: F811
    measured, chosen_on = (held_out_searches(little_shop, 2, 0, None, one) for one in (False, True))
    assert len(chosen_on.items) == 2 and not set(chosen_on.items) & set(measured.items)
    with pytest.raises(ShopError, match="1 are left for validation; lower --searches"):
        held_out_searches(little_shop, 3, 0, None, True)


def test_a_rate_of_a_start_that_there_is_not_is_refused(little_shop, tmp_path):  # noqa: F811
    for wrong in ("reall=1e-3", "real=much", "real=0"):
        with pytest.raises(ConfigError, match=f"--rate {wrong}: wanted START=RATE"):
            main([str(little_shop.path), "--out", str(tmp_path), "--rate", wrong])


@pytest.mark.slow
def test_cells_are_trained_once_and_the_table_is_written(
    little_shop,  # noqa: F811
    encoder_path,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    words = [str(little_shop.path), "--out", str(tmp_path), "--start", str(encoder_path), *QUICK]
    words += ["--seeds", "0", "--shares", "0", "1"]
    main(words)
    said = capsys.readouterr().out
    assert "random + pretrained" in said and "minus random" in said
    found = json.loads((tmp_path / "stage_one.json").read_text())
    rows = found["rows"]
    assert len(rows) == 2 * 2 * 5
    assert {row["start"] for row in rows if "minus real" in row} == {"real + pretrained"}
    assert len(list(tmp_path.glob("cell-*.parquet"))) == 10
    assert not [path for path in tmp_path.glob("cell-*") if path.is_dir()]

    def no_more(*_):
        raise AssertionError("a measured cell is measured again")

    monkeypatch.setattr(stage_one, "measure", no_more)
    main([*words, "--collect"])
    assert json.loads((tmp_path / "stage_one.json").read_text())["rows"] == rows


def test_random_weights_are_of_the_starts_architecture(
    little_shop,  # noqa: F811
    encoder_path,  # noqa: F811
    tmp_path,
):
    made = Trainings(
        little_shop, tmp_path, encoder_path, [PretrainConfig()], PosttrainConfig(), True
    )
    paths = [made.made(Cell("random", 0, seed)) for seed in (0, 1)]
    real = load_file(encoder_path / "model.safetensors")
    drawn = [load_file(path / "model.safetensors") for path in paths]
    assert [drawn[0].keys(), drawn[1].keys()] == [real.keys()] * 2
    name = next(name for name in real if "q_proj.weight" in name)
    assert not (drawn[0][name] == real[name]).all() and not (drawn[0][name] == drawn[1][name]).all()
    assert made.made(Cell("random", 0, 0)) == paths[0]
    opened = ProductEncoder.from_pretrained(paths[0])
    assert opened.config == ProductEncoder.from_pretrained(encoder_path).config
    assert made.made(Cell("real", 0, 5)) == encoder_path


def test_a_random_tower_tells_pictures_apart_and_the_real_one_stays(
    little_shop,  # noqa: F811
    tmp_path,
):
    """A tower of this depth, drawn as its class draws it, says the same of all pictures: its batch normalisation has seen none."""
    parts = (
        vision_folder("efficientnet_lite", tmp_path / "tower"),
        language_folder("llama", tmp_path / "language"),
    )
    start = compose_encoder(*parts).save_pretrained(tmp_path / "start")
    given = {"trained_parts": ("projector", "language")}
    settings = [PretrainConfig(**given)], PosttrainConfig(**given)
    made = Trainings(little_shop, tmp_path / "made", start, *settings, True)
    paths = {name: made.made(Cell(name, 0, 0)) for name in ("random", "real tower")}
    states = {name: load_file(path / "model.safetensors") for name, path in paths.items()}
    real = load_file(start / "model.safetensors")
    shown = little_shop.items.filter(pl.col("image").is_not_null()).head(8).collect()
    for name, weight in real.items():
        if not weight.is_floating_point() or weight.std() == 0:  # counts, norms' ones and zeros
            continue
        assert torch.equal(states["real tower"][name], weight) == ("vision_tower" in name), name
        assert not torch.equal(states["random"][name], weight), name
    vectors = ProductEncoder.from_pretrained(paths["random"]).encode_items(shown, "image")
    assert (vectors @ vectors.T).min() < 0.999
    assert made.features == (tmp_path / "made" / "features", little_shop.digest)
    moved = Trainings(little_shop, tmp_path, start, [PretrainConfig()], settings[1], True)
    assert moved.features is None


def test_differences_are_paired_by_search_and_seed():
    frames = []
    for seed, (plain, better) in enumerate([([0, 1, 0, 0], [1, 1, 0, 0]), ([0] * 4, [0, 0, 1, 1])]):
        for start, hits in (("random", plain), ("real", better)):
            frames.append(
                pl.DataFrame(
                    {"search_id": [4, 3, 2, 1], "hit@10": hits, "modality": "text", "arm": f"{start} at 1", "seed": seed}
                )
            )  # fmt: skip
    cells = [Cell(start, 1, seed) for seed in (0, 1) for start in ("random", "real")]
    rows = {row["start"]: row for row in summarise(pl.concat(frames), cells, 9)}
    assert rows["random"]["recall"]["value"] == 1 / 8
    assert rows["real"]["minus random"]["value"] == pytest.approx(3 / 8)
    assert rows["real"]["by_seed"] == [0.5, 0.5] and "minus random" not in rows["random"]
    assert np.isfinite(rows["real"]["minus random"]["low"])
