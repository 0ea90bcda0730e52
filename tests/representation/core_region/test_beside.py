"""The core region beside the picture: 2M + L_t states of a row, for embedding and for training."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from moon_rec.errors import ConfigError, EncoderError
from moon_rec.shop import Shop, ShopWriter
from representation.core_region.box import Box
from representation.core_region.config import CoreRegionConfig
from representation.core_region.crops import CoreRegion, known_boxes
from representation.core_region.foreground import foreground_box
from representation.encoder import ProductEncoder
from representation.model.pixels import square, with_frames
from representation.model.qwen import rotary_positions
from representation.posttraining import PosttrainConfig, posttrain
from representation.posttraining.augmentation import AugmentationConfig, draw_views
from representation.posttraining.batches import _altered
from representation.training.picture_store import PictureStore


@pytest.fixture
def seeing(encoder_path) -> ProductEncoder:
    """An encoder that sees the core region, too."""
    found = ProductEncoder.from_pretrained(encoder_path, "cpu")
    found.add_core_region(CoreRegionConfig())
    return found


@pytest.fixture(scope="module")
def shop(little_shop, items, tmp_path_factory) -> Shop:
    """With these pictures, and the boxes of three products in a column."""
    sides = pl.concat_list(*(pl.lit(side) for side in (1.0, 1.0, 9.0, 8.0)))
    about = {"name": "boxed", "source": "a test", "is_simulated": True}
    times = {"cut_time": little_shop.cut_time, "test_time": little_shop.test_time}
    out = tmp_path_factory.mktemp("boxed") / "shop"
    with ShopWriter(out, **about, **times) as writer:
        writer.write(
            "items", items.with_columns(core_box=pl.when(pl.col("item_id") < 103).then(sides))
        )
        writer.write("searches", little_shop.searches.collect())
        writer.write("impressions", little_shop.impressions.collect())
    return Shop.open(out)


def test_both_squares_are_the_picture_and_its_crop(items):
    picture = Image.open(io.BytesIO(items["image"][0])).convert("RGB")
    whole, region = CoreRegion(CoreRegionConfig(margin=0.0)).in_box(picture, 16, Box(4, 2, 12, 14))
    assert (whole == square(picture, 16)).all()
    assert (region == square(picture.crop((4, 2, 12, 14)), 16)).all()
    cut = CoreRegion(CoreRegionConfig())
    box = foreground_box(picture)
    assert box is not None
    assert (cut(picture, 16) == cut.in_box(picture, 16, box)).all()
    blank = Image.new("RGB", (20, 20), (9, 9, 9))
    assert (cut(blank, 16) == square(blank, 16)).all()
    assert (cut.num_pictures, cut.num_without) == (3, 1)


def test_two_pictures_a_row_equal_transformers(seeing):
    """Positions and causal states of rows with two pictures, one of words alone among them."""
    composer, config, layout = seeing.composer, seeing.module.config, seeing.layout
    prompt, texts = (
        composer.prompt("<|product|>"),
        composer.texts(["red mug", "a", "blue lamp deep"], 20),
    )
    rows = [
        composer.row(prompt, has, text)
        for has, text in zip([True, False, True], texts, strict=True)
    ]
    assert rows[0].count(config.image_token_id) == 2 * layout.num_tokens
    assert len(rows[0]) == len(prompt) + 2 * (layout.num_tokens + 2) + len(texts[0])
    squares = np.random.default_rng(0).integers(0, 255, (2, 2, 16, 16, 3), dtype=np.uint8)
    inputs = composer.batch(rows, squares)
    assert inputs.pixels is not None and len(inputs.pixels) == 4
    grid = torch.tensor([[1, layout.grid, layout.grid]] * 4)
    kinds = (inputs.token_ids == config.image_token_id).int()
    wanted, _ = seeing.module.model.get_rope_index(
        inputs.token_ids,
        mm_token_type_ids=kinds,
        image_grid_thw=grid,
        attention_mask=inputs.mask.long(),
    )
    found = rotary_positions(kinds.bool(), layout)
    real = inputs.mask.expand_as(found)
    assert torch.equal(found[real], wanted[real])
    original = seeing.module.model(
        input_ids=inputs.token_ids, attention_mask=inputs.mask.long(), mm_token_type_ids=kinds,
        pixel_values=with_frames(inputs.pixels, layout), image_grid_thw=grid,
    ).last_hidden_state  # fmt: skip
    mine = seeing.backbone.output_states(inputs, causal=True)
    torch.testing.assert_close(mine[inputs.mask], original[inputs.mask], rtol=0, atol=1e-5)


def test_a_vector_is_the_mean_over_both_pictures_and_the_text(seeing, items):
    few = items.filter(pl.col("image").is_not_null()).head(4)
    vectors = seeing.encode_items(few, progress=False)
    store = PictureStore(few["image"].to_list(), ["p"] * 4, 16, keep=False, cut=seeing.cut)
    from representation.model.prompt import product_texts

    ids = seeing.tokens(product_texts(few, "richer"), "item", "richer")
    for place, text in enumerate(ids):
        inputs = seeing.prepare("item", [text], store.take([place]))
        assert (
            int((inputs.token_ids == seeing.module.config.image_token_id).sum())
            == 2 * seeing.layout.num_tokens
        )
        with torch.inference_mode():
            states = seeing.backbone.output_states(inputs, causal=False)[0].numpy()
        mean = states.sum(axis=0) / len(states)
        np.testing.assert_allclose(vectors[place], mean / np.linalg.norm(mean), atol=2e-5)


def test_neither_batch_nor_order_shows_and_saved_it_is_the_same(seeing, encoder, items, tmp_path):
    vectors = seeing.encode_items(items, progress=False)
    again = seeing.encode_items(items.reverse(), batch_size=7, progress=False)[::-1]
    np.testing.assert_allclose(again, vectors, atol=1e-5)
    opened = ProductEncoder.from_pretrained(seeing.save_pretrained(tmp_path / "seeing"), "cpu")
    assert (
        opened.config.core_region == CoreRegionConfig()
        and opened.digest == seeing.digest != encoder.digest
    )
    assert (opened.encode_items(items, progress=False) == vectors).all()
    plain = encoder.encode_items(items, progress=False)
    has = items["image"].is_not_null().to_numpy()
    assert np.abs(plain - vectors)[has].max() > 1e-3 and np.abs(plain - vectors)[~has].max() < 1e-5


def test_known_boxes_go_before_the_detector(seeing, items, capsys):
    few = items.filter(pl.col("image").is_not_null()).head(3)
    found = [foreground_box(Image.open(io.BytesIO(data)).convert("RGB")) for data in few["image"]]
    boxed = few.with_columns(core_box=pl.Series([list(box[:4]) for box in found]))
    plain = seeing.encode_items(few, progress=False)
    np.testing.assert_allclose(seeing.encode_items(boxed, progress=False), plain, atol=1e-6)
    other = few.with_columns(
        core_box=pl.Series([[0.0, 0.0, 3.0, 3.0], None, None], dtype=pl.List(pl.Float64))
    )
    moved = np.abs(seeing.encode_items(other, progress=False) - plain).max(axis=1)
    assert moved[0] > 1e-4 and moved[1:].max() < 1e-6
    seeing.config = seeing.config.model_copy(
        update={"core_region": CoreRegionConfig(detector="none")}
    )
    capsys.readouterr()
    seeing.encode_items(other)
    assert "2 of 3 pictures have no box" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", [[1.0, 2.0, 3.0], [5.0, 1.0, 2.0, 9.0], [0.0, 0.0, float("nan"), 1.0]]
)
def test_a_box_that_is_none_is_named(seeing, items, value):
    few = items.head(2).with_columns(core_box=pl.Series([None, value], dtype=pl.List(pl.Float64)))
    with pytest.raises(
        EncoderError, match=r"item 101: core_box is \[.*; wanted \[x0, y0, x1, y1\] in pixels"
    ):
        seeing.encode_items(few, progress=False)


def test_boxes_come_from_a_column_of_the_shop(shop, little_shop, seeing, encoder):
    ids, names = np.array([104, 100, 102]), ["a", "b", "c"]
    wanted = [None, Box(1, 1, 9, 8), Box(1, 1, 9, 8)]
    assert known_boxes(shop, "items", ids, names, seeing.cut) == wanted
    assert known_boxes(little_shop, "items", ids, names, seeing.cut) is None
    assert known_boxes(shop, "items", ids, names, encoder.cut) is None


def test_a_picture_and_its_region_are_altered_alike():
    random = np.random.default_rng(3)
    one = torch.from_numpy(random.integers(0, 255, (4, 16, 16, 3), dtype=np.uint8))
    views = draw_views(4, 16, AugmentationConfig(), np.random.default_rng(1), new_ground=False)
    both = _altered(torch.stack([one, one], 1), views)
    alone = _altered(
        one,
        draw_views(4, 16, AugmentationConfig(), np.random.default_rng(1), new_ground=False),
    )
    assert both.shape == (4, 2, 16, 16, 3)
    assert (both[:, 0] == alone).all() and (both[:, 1] == alone).all()


SETTINGS = {
    "steps": 2,
    "batch_size": 8,
    "own_words_share": 0.5,
    "own_picture_share": 0.5,
    "log_every": 1,
}


def test_a_part_of_a_batch_has_both_pictures_of_its_rows(seeing):
    """What gradient caching embeds a few rows at a time."""
    squares = np.random.default_rng(0).integers(0, 255, (5, 2, 16, 16, 3), dtype=np.uint8)
    inputs = seeing.prepare("item", seeing.tokens(["mug"] * 5, "item", "title"), squares)
    with torch.inference_mode():
        whole = seeing.embed(inputs)
        parts = [seeing.embed(inputs.part(first, first + 2)) for first in (0, 2, 4)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)
    assert (whole[0] - whole[1]).abs().max() > 1e-4


def test_it_trains_and_a_training_from_it_goes_on_so(shop, encoder_path, tmp_path):
    """From an encoder without a core region, in chunks: the encoder saved has one; another cannot be given to it."""
    config = PosttrainConfig(**SETTINGS, core_region=CoreRegionConfig(), chunk_size=3)
    (made,) = posttrain(shop, tmp_path / "whole", config, encoder_path)
    found = ProductEncoder.from_pretrained(made.path, "cpu")
    assert found.config.core_region == CoreRegionConfig()
    assert np.isfinite(found.encode_items(shop.items.head(6).collect(), progress=False)).all()
    with pytest.raises(ConfigError, match=r"core_region: the encoder of --start has one already"):
        posttrain(
            shop,
            tmp_path / "again",
            PosttrainConfig(**SETTINGS, core_region=CoreRegionConfig()),
            tmp_path / "whole",
        )
    (made,) = posttrain(shop, tmp_path / "on", PosttrainConfig(**SETTINGS), tmp_path / "whole")
    assert ProductEncoder.from_pretrained(made.path, "cpu").config.core_region is not None


def test_pretraining_shows_both(shop, seeing, tmp_path):
    from representation.pretraining import PretrainConfig, pretrain

    start = seeing.save_pretrained(tmp_path / "start")
    (made,) = pretrain(shop, tmp_path / "out", PretrainConfig(steps=1, batch_size=8), start)
    assert ProductEncoder.from_pretrained(made.path, "cpu").config.core_region is not None
