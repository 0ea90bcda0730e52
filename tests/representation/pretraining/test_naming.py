"""Pretraining on the words that name a product: which words, the loss and its gradient by literal loops, what it moves, and what frozen towers keep."""

import math

import polars as pl
import pytest
import torch

from moon_rec.config import load_config
from moon_rec.errors import ConfigError
from representation.encoder import ProductEncoder
from representation.fusion import FusionConfig
from representation.picture_focus import CompressionConfig, LateFusionConfig
from representation.pretraining import PretrainConfig, pretrain
from representation.pretraining.naming import (
    MOST_WORDS,
    NamingBatches,
    _at_vector,
    bag_loss,
    naming_loss,
)
from representation.pretraining.naming import words_of as named_by
from representation.pretraining.objective import IGNORED
from representation.pretraining.train import _train_items
from representation.training.picture_file import PictureFile


def batches(shop, encoder, with_titles=True, size=6):
    items = _train_items(shop).filter("has_image")
    pictures = PictureFile.of(shop, "items", items["item_id"].to_numpy())
    return items, NamingBatches(encoder, items, pictures, size, with_titles, 0, 0)


def test_a_product_is_named_by_its_title_subject_and_attributes(little_shop, encoder):
    items = _train_items(little_shop).head(1)
    said = encoder.tokenizer.decode(named_by(encoder, items)[0])
    assert said.split() == ["red", "mug", "pale"]  # subject Mug and colour red are said already
    other = items.with_columns(category=pl.lit("Home/Lamp"))
    named = named_by(encoder, other)[0]
    assert encoder.tokenizer.decode(named).split() == ["red", "mug", "pale", "lamp"]


def test_words_are_named_alike_where_an_encoder_has_fusion(little_shop, encoder):
    items = little_shop.items.head(4).collect()
    wanted = named_by(encoder, items)
    encoder.add_fusion(FusionConfig(heads=2), 0)
    assert named_by(encoder, items) == wanted


def test_the_vector_that_names_is_the_encoders_whatever_parts_it_has(little_shop, encoder):
    encoder.add_fusion(FusionConfig(heads=2), 0)
    encoder.add_late_fusion(LateFusionConfig(), 0)
    encoder.add_compression_tokens(CompressionConfig(), 0)
    torch.nn.init.normal_(encoder.module.modality_fusion.output.weight)
    _, made = batches(little_shop, encoder)
    for side in made.make(0).sides:
        with torch.no_grad():
            found = torch.nn.functional.normalize(_at_vector(encoder, side), dim=1)
            torch.testing.assert_close(found, encoder.embed(side))


def test_the_loss_is_that_of_a_bag_of_words():
    scores = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    words = [[1, 4], [2, 3, 6]]
    padded = torch.tensor([[1, 4, IGNORED], [2, 3, 6]])
    literal = []
    for row, of_row in zip(scores, words, strict=True):
        total = sum(math.e**value for value in row)
        literal.append(-sum(torch.log(math.e ** row[word] / total) for word in of_row) / len(of_row))  # fmt: skip
    literal = torch.stack(literal)
    found = bag_loss(scores, padded)
    torch.testing.assert_close(found, literal)
    ours, theirs = (torch.autograd.grad(one.sum(), scores)[0] for one in (found, literal))
    torch.testing.assert_close(ours, theirs)


def test_it_is_read_where_the_objective_says(little_shop, encoder):
    _, made = batches(little_shop, encoder)
    batch = made.make(0)
    embeddings = encoder.module.get_input_embeddings().weight
    backbone, (pictures, titles) = encoder.backbone, batch.sides
    means = []
    for inputs in (pictures, titles):
        states = backbone.output_states(inputs, causal=False)
        means += [row[mask].mean(0) for row, mask in zip(states, inputs.mask, strict=True)]
    literal = bag_loss(torch.stack(means) @ embeddings.T, torch.cat(batch.words)).mean()
    torch.testing.assert_close(naming_loss(encoder, batch.sides, batch.words, True), literal)
    tokens = backbone.picture_tokens(pictures.pixels)[0].mean(1)
    literal = bag_loss(tokens @ embeddings.T, batch.words[0]).mean()
    found = naming_loss(encoder, batch.sides[:1], batch.words[:1], False)
    torch.testing.assert_close(found, literal)


def test_every_epoch_names_every_product_once_on_either_side(little_shop, encoder):
    items, made = batches(little_shop, encoder, size=8)
    rows = [row for step in range(items.height // 4) for row in made._rows(step)]
    assert sorted(rows) == list(range(len(rows))) or len(set(rows)) == len(rows)
    batch, other = made.make(0), made.make(1)
    assert [len(side) for side in batch.sides] == [4, 4] and batch.num_pairs == 8
    assert batch.sides[0].pixels is not None and batch.sides[1].pixels is None
    starts = [one.sides[0].token_ids[0, 0].item() for one in (batch, other)]
    prompts = [encoder.config.prompt.item_prompt, encoder.config.prompt.query_prompt]
    assert encoder.tokenizer.convert_ids_to_tokens(starts) == prompts
    assert batch.words[0].shape == (4, MOST_WORDS)


@pytest.mark.parametrize("objective", ["picture_words", "vector_words"])
def test_loss_falls_and_no_more_than_is_named_moves(little_shop, encoder_path, tmp_path, objective):
    parts = ("projector",) if objective == "picture_words" else ("projector", "language")
    settings = PretrainConfig(objective=objective, steps=25, batch_size=16, learning_rate=1e-2, trained_parts=parts, log_every=1)  # fmt: skip
    told = []
    made = pretrain(
        little_shop,
        tmp_path / "out",
        settings,
        start=encoder_path,
        on_log=lambda _, numbers: told.append(numbers["loss"]),
    )
    assert sum(told[-5:]) < 0.9 * sum(told[:5])
    before = ProductEncoder.from_pretrained(encoder_path)
    after = dict(ProductEncoder.from_pretrained(made[-1].path).module.named_parameters())
    moved = {before.part_of(name) for name, value in before.module.named_parameters() if not torch.equal(value, after[name])}  # fmt: skip
    assert moved == set(parts)


@pytest.mark.parametrize("objective", ["answers", "vector_words"])
def test_a_frozen_towers_pictures_are_kept_and_change_nothing(
    little_shop, encoder_path, tmp_path, monkeypatch, objective
):
    """To the last bits: a tower gives a picture of a batch the same numbers but for rounding."""
    settings = PretrainConfig(objective=objective, steps=2, batch_size=8, trained_parts=("language",), log_every=1, precision="float32")  # fmt: skip
    losses = {}

    def log(name):
        return lambda _, numbers: losses.setdefault(name, []).append(numbers["loss"])

    plain = {"start": encoder_path, "on_log": log("plain")}
    pretrain(little_shop, tmp_path / "plain", settings, **plain)
    kept = {"start": encoder_path, "features": tmp_path / "features"}
    pretrain(little_shop, tmp_path / "kept", settings, on_log=log("kept"), **kept)
    assert losses["kept"] == pytest.approx(losses["plain"], rel=1e-5)
    backbone = type(ProductEncoder.from_pretrained(encoder_path).backbone)
    runs = []
    monkeypatch.setattr(backbone, "tower_states", lambda self, pixels, run=backbone.tower_states: (runs.append(len(pixels)), run(self, pixels))[1])  # fmt: skip
    pretrain(little_shop, tmp_path / "again", settings, on_log=log("again"), **kept)
    assert losses["again"] == losses["kept"] and len(runs) == 1  # the blank that tells the shape


def test_fewer_products_are_the_same_for_every_seed(little_shop):
    items = _train_items(little_shop, 9)
    assert items.height == 9 and set(items["item_id"]) < set(_train_items(little_shop)["item_id"])
    assert _train_items(little_shop, 10**6).height == 44


def test_refusals(little_shop, encoder_path, tmp_path):
    with pytest.raises(ConfigError, match=r"objective = 'vector_words' asks no questions"):
        load_config(PretrainConfig, None, ["objective=vector_words", "questions=['title']"])
    for parts in (None, ("projector", "language")):  # a Qwen-VL's projector is its tower's own
        settings = PretrainConfig(steps=2, trained_parts=parts)
        with pytest.raises(ConfigError, match="change nothing: only an encoder whose towers stay"):
            pretrain(little_shop, tmp_path / "x", settings, encoder_path, features=tmp_path)
