"""Post-training: it learns, its checkpoints are whole, and the same seed gives the same encoder."""

import json

import numpy as np
import polars as pl
import pytest

from moon_rec.config import make_config
from moon_rec.errors import ConfigError, MoonRecError
from representation.curation import curate
from representation.encoder import ProductEncoder
from representation.model.backbone import BackboneConfig
from representation.posttraining import PosttrainConfig, posttrain, preparation
from representation.posttraining.train import LOG_FILE

OWN_BACKBONE = {"backbone": BackboneConfig()}
"""For a training that goes on from an encoder's folder, whose backbone it has."""


@pytest.fixture
def settings(tiny_config) -> PosttrainConfig:
    return PosttrainConfig(
        backbone=tiny_config,
        steps=6,
        batch_size=16,
        learning_rate=4e-3,
        log_every=1,
        precision="float32",
        mixture={"image->richer-text+image": 1.0, "text->title+image": 1.0},
        alter_photos=False,  # where a shape is a quadrant, a mirror image is another shape
        own_picture_share=0.0,
    )


def recall_at_3(encoder, shop) -> float:
    """Photos and words of test-period searches -> the product bought, among all."""
    items = shop.items.filter(pl.col("image").is_not_null()).sort("item_id").collect()
    bought = shop.impressions.filter("purchased").select("search_id", "item_id")
    late = (
        shop.in_period(shop.searches, "test")
        .join(bought, on="search_id")
        .sort("search_id")
        .collect()
    )
    scores = (
        encoder.encode_queries(late, progress=False) @ encoder.encode_items(items, progress=False).T
    )
    rows = np.searchsorted(items["item_id"].to_numpy(), late["item_id"].to_numpy())
    own = scores[np.arange(len(rows)), rows][:, None]
    return float(((scores > own).sum(axis=1) < 3).mean())


def test_learns_to_find(little_shop, settings, encoder_path, tmp_path):
    """Chance is 3 in 47; so is what untrained weights find, near enough."""
    longer = settings.model_copy(update={"steps": 120, "num_threads": 1} | OWN_BACKBONE)
    losses = []
    (last,) = posttrain(
        little_shop,
        tmp_path / "out",
        longer,
        start=encoder_path,
        on_log=lambda _, numbers: losses.append(numbers["loss"]),
    )
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    trained = ProductEncoder.from_pretrained(last.path, device="cpu")
    before = recall_at_3(ProductEncoder.from_pretrained(encoder_path, device="cpu"), little_shop)
    after = recall_at_3(trained, little_shop)
    assert after > 0.35 > 3 * 3 / 47 and after > before + 0.1


def test_checkpoints(little_shop, settings, tmp_path):
    several = settings.model_copy(
        update={"checkpoint_steps": (2, 4, 6), "num_negatives": 4, "symmetric": True}
    )
    found = posttrain(little_shop, tmp_path / "out", several)
    assert [one.step for one in found] == [2, 4, 6]
    assert [one.num_pairs for one in found] == [32, 64, 96]
    assert found[0].num_tokens < found[1].num_tokens < found[2].num_tokens
    assert found[-1].path == tmp_path / "out" and found[0].path == tmp_path / "out-step-000002"
    digests = {ProductEncoder.from_pretrained(one.path).digest for one in found}
    assert len(digests) == 3
    for one in found:
        about = json.loads((one.path / "moon_rec.json").read_text())
        assert about["digest"] in digests
        written = json.loads((one.path / LOG_FILE).read_text())
        assert (written["step"], written["num_tokens"]) == (one.step, one.num_tokens)
        assert len(written["log"]) == one.step


def test_the_log_says_what_was_trained(little_shop, settings, encoder_path, tmp_path):
    """The settings' backbone where it is read; where a training goes on from an encoder, that encoder, and no backbone that it has not."""
    one = settings.model_copy(update={"steps": 1})
    with pytest.raises(ConfigError, match=r"backbone\.image_size = 16 changes nothing"):
        posttrain(little_shop, tmp_path / "no", one, start=encoder_path)
    assert not (tmp_path / "no").exists()
    posttrain(little_shop, tmp_path / "random", one)
    own = one.model_copy(update=OWN_BACKBONE)
    posttrain(little_shop, tmp_path / "on", own, start=encoder_path)
    logs = [json.loads((tmp_path / name / LOG_FILE).read_text()) for name in ("random", "on")]
    assert logs[0]["config"]["backbone"]["text_dim"] == 32 and logs[0]["start"] is None
    assert "backbone" not in logs[1]["config"]
    assert logs[1]["start"] == ProductEncoder.from_pretrained(encoder_path).digest


def test_curation_draws_by_the_seed_of_the_training(little_shop, encoder, monkeypatch):
    seeds = []

    def curated(shop, pairs, config, items, queries):
        seeds.append(config.seed)
        return curate(shop, pairs, config, items, queries)

    monkeypatch.setattr(preparation, "curate", curated)
    mixture = {"image->richer-text+image": 1.0}
    for seed in (0, 3):
        config = PosttrainConfig(
            steps=2, batch_size=4, seed=seed, mixture=mixture, curation={"hardest_query": False}
        )
        preparation.prepare(little_shop, config, encoder)
    assert seeds == [0, 3]


def test_same_seed_same_bits(little_shop, settings, tmp_path):
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        posttrain(
            little_shop, tmp_path / name, settings.model_copy(update={"seed": seed, "steps": 3})
        )
        digests.append(ProductEncoder.from_pretrained(tmp_path / name).digest)
    assert digests[0] == digests[1] != digests[2]


def test_bfloat16_learns_much_the_same(little_shop, settings, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        told: list[float] = []
        chosen = settings.model_copy(update={"precision": precision})
        posttrain(
            little_shop,
            tmp_path / precision,
            chosen,
            on_log=lambda _, numbers, told=told: told.append(numbers["loss"]),
        )
        losses[precision] = told
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.15)


def test_a_fixed_temperature_stays(little_shop, settings, tmp_path):
    told = {}
    for learns in (False, True):
        chosen = settings.model_copy(update={"learn_temperature": learns})
        posttrain(
            little_shop,
            tmp_path / str(learns),
            chosen,
            on_log=lambda _, numbers, learns=learns: told.update({learns: numbers["temperature"]}),
        )
    assert told[False] == pytest.approx(0.07) and told[True] != pytest.approx(0.07)


def test_refusals(little_shop, settings, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(MoonRecError, match="exists already"):
        posttrain(little_shop, tmp_path / "taken", settings)
    with pytest.raises(ConfigError, match="no kind 'x'"):
        make_config(PosttrainConfig, {"mixture": {"x": 1.0}})


def test_a_shop_without_searches_learns_from_its_catalogue(
    little_shop, settings, encoder_path, tmp_path
):
    """Titles find pictures of the same colour and shape, three shades of each: far more often than untrained weights do."""
    mixture = {"text->image": 1.0, "image->richer-text+image": 0.5, "text->richer-text+image": 9.0}
    catalogue = settings.model_copy(
        update={"pairs": "catalogue", "mixture": mixture, "steps": 90, "num_threads": 1}
        | OWN_BACKBONE
    )
    (last,) = posttrain(little_shop, tmp_path / "out", catalogue, start=encoder_path)
    items = little_shop.items.filter(pl.col("image").is_not_null()).sort("item_id").collect()
    kinds = items["title"].str.split(" ").list.head(2).list.join(" ").to_numpy()
    found = []
    for path in (encoder_path, last.path):
        encoder = ProductEncoder.from_pretrained(path, device="cpu")
        titles = encoder.encode_queries(
            pl.DataFrame({"query_text": items["title"]}), progress=False
        )
        pictures = encoder.encode_items(items, modality="image", progress=False)
        nearest = (titles @ pictures.T).argmax(axis=1)
        found.append((kinds[nearest] == kinds).mean())
    assert found[1] > 0.4 and found[1] > found[0] + 0.2
    log = json.loads((last.path / LOG_FILE).read_text())["log"]
    assert {one["kind"] for one in log} == {"text->image", "image->richer-text+image"}
