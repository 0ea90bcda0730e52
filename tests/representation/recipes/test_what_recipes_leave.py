"""An encoder as each recipe leaves it, with parts that have learnt something, before all that is published elsewhere: the odd products of a shop, pruning, merging, writing, heat maps."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from moon_rec.config import make_config
from moon_rec.errors import EncoderError
from representation.encoder import ProductEncoder, open_encoder
from representation.merging import merge_encoders
from representation.model.added_parts import is_new
from representation.posttraining import PosttrainConfig
from representation.reasoning.encoder import ReasoningEncoder
from representation.reasoning.written import WrittenAttributes, write_answers
from representation.recipes.recipe import recipe_values
from representation.report.heat_map_sheet import draw_attention
from representation.training.added_fusion import ADDED

RECIPES = ("moon1", "moon2", "moon3")


def picture(mode: str, size: tuple[int, int], form: str = "PNG", frames: int = 1) -> bytes:
    """Noise."""
    draws = np.random.default_rng(sum(size))
    made = [
        Image.fromarray(draws.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).convert(mode)
        for _ in range(frames)
    ]
    buffer = io.BytesIO()
    made[0].save(buffer, form, **({"save_all": True, "append_images": made[1:]} if frames > 1 else {}))  # fmt: skip
    return buffer.getvalue()


def odd_products() -> pl.DataFrame:
    """Without a picture, a title, a category, attributes, all of them; texts of other scripts and of 5,000 characters; pictures of one pixel, of no colours, of inks, that move."""
    blank = io.BytesIO()
    Image.new("RGB", (16, 16), (9, 9, 9)).save(blank, "PNG")
    rows = [
        ("red mug", "Things/Mug", picture("RGB", (24, 24))),
        ("运动鞋 男款", None, blank.getvalue()),
        ("حذاء رياضي", "Things", picture("RGB", (1, 1))),
        ("x" * 5_000, "Things/Lamp", picture("RGBA", (20, 30))),
        ("", None, picture("CMYK", (20, 20), "JPEG")),
        ("long " * 1_000, None, picture("RGB", (20, 20), "GIF", frames=3)),
        ("a title alone", None, None),
        ("", None, None),
        ("", "Things/Hat", picture("L", (200, 3))),
    ]
    frame = pl.DataFrame(rows, schema=["title", "category", "image"], orient="row")
    said = [[{"name": "colour", "value": "red"}], None, []] * 3
    return frame.with_columns(pl.Series("attributes", said), item_id=pl.int_range(100, 109))


@pytest.fixture(params=RECIPES)
def left(request, encoder) -> ProductEncoder:
    """What the recipe's post-training has put into the small encoder, moved from where it starts."""
    config = settings(request.param)
    if config.core_region is not None:
        encoder.add_core_region(config.core_region)
    if config.experts is not None:
        encoder.add_experts(config.experts, 0)
    for name in ADDED:
        if (part := getattr(config, name)) is not None:
            getattr(encoder, f"add_{name}")(part, 0)
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, value in encoder.module.named_parameters():
            if is_new(name) or ".experts." in name:
                value.add_(torch.randn(value.shape, generator=draws) / 5)
    return encoder


def settings(recipe: str) -> PosttrainConfig:
    return make_config(PosttrainConfig, recipe_values(recipe, "posttraining"))


def check_batches(encode, frame: pl.DataFrame) -> np.ndarray:
    """Unit vectors, the same whatever the batch and the order."""
    together = encode(frame)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encode(frame, batch_size=1), together, atol=1e-5)
    turned = encode(frame.reverse(), batch_size=4)[::-1]
    np.testing.assert_allclose(turned, together, atol=1e-5)
    return together


def test_it_reads_odd_products_and_is_opened_pruned_merged_and_looked_at(
    left, encoder_path, little_shop, tmp_path
):
    frame = odd_products()
    found = check_batches(lambda rows, **more: left.encode_items(rows, progress=False, **more), frame)  # fmt: skip
    pruned = left.with_pruned_pictures(0.5)
    fewer = check_batches(lambda rows, **more: pruned.encode_items(rows, progress=False, **more), frame)  # fmt: skip
    has = frame["image"].is_not_null().to_numpy()
    assert np.abs(fewer - found)[has].max() > 1e-4
    np.testing.assert_allclose(fewer[~has], found[~has], atol=1e-5)

    path = left.save_pretrained(tmp_path / "left")
    again = open_encoder(path, device="cpu")
    assert again.digest == left.digest
    np.testing.assert_array_equal(again.encode_items(frame, progress=False), found)
    assert open_encoder(merge_encoders([path, path], tmp_path / "merged")).digest == left.digest
    with pytest.raises(EncoderError, match=r"left does not go with .* is set, wanted None"):
        merge_encoders([encoder_path, path], tmp_path / "both")
    if left.config.core_region is not None:
        with pytest.raises(EncoderError, match="heat maps are of one picture"):
            draw_attention(tmp_path / "maps.html", little_shop, left, ["red mug"], item_ids=[100])
    else:
        maps = draw_attention(tmp_path / "maps.html", little_shop, left, ["red mug"], item_ids=[100])  # fmt: skip
        assert np.isfinite(maps["red mug"].gradient).all()


def test_it_writes_about_odd_products_and_embeds_behind_what_was_written(left, tmp_path):
    frame = odd_products()
    config = left.config.model_copy(update={"reasoning_tokens": 3})
    writing = ReasoningEncoder(left.module, left.tokenizer, config)
    found, answers = writing.written(frame, progress=False)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    alone, of_alone = writing.written(frame.reverse(), batch_size=2, progress=False)
    assert answers == of_alone[::-1]
    np.testing.assert_allclose(alone[::-1], found, atol=1e-5)
    table = tmp_path / "written.parquet"
    write_answers(table, frame["item_id"].to_list(), answers, writing.digest)
    behind = writing.with_written(WrittenAttributes.open(table, writing.digest))
    np.testing.assert_allclose(behind.encode_items(frame, progress=False), found, atol=1e-5)
