"""ProductEncoder: what it accepts, what it gives, and that neither batching nor saving shows in it."""

import numpy as np
import polars as pl
import pytest
import torch

from moon_rec.errors import EncoderError, MoonRecError, ShopError
from representation.encoder import ProductEncoder, build_encoder


@pytest.fixture(scope="module")
def items(little_shop) -> pl.DataFrame:
    return little_shop.items.collect()


@pytest.fixture(scope="module")
def searches(little_shop) -> pl.DataFrame:
    return little_shop.searches.collect().head(60)


def test_shape_and_length(encoder, items, searches):
    assert (encoder.dim, encoder.widths) == (32, (8, 16, 32))
    for vectors in (
        encoder.encode_items(items, progress=False),
        encoder.encode_items(items, modality="text", progress=False),
        encoder.encode_queries(searches, progress=False),
    ):
        assert vectors.dtype == np.float32 and vectors.shape[1] == 32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batching_changes_nothing(encoder, items, searches, batch_size):
    for encode, frame in ((encoder.encode_items, items), (encoder.encode_queries, searches)):
        together = encode(frame, progress=False)
        apart = encode(frame, batch_size=batch_size, progress=False)
        np.testing.assert_allclose(apart, together, atol=1e-5)


def test_order_of_rows_changes_nothing(encoder, items):
    vectors = encoder.encode_items(items, progress=False)
    backwards = encoder.encode_items(items.reverse(), progress=False)
    np.testing.assert_allclose(backwards[::-1], vectors, atol=1e-5)


def test_each_modality_counts(encoder, items):
    pictured = items.filter(pl.col("image").is_not_null())
    found = {
        name: encoder.encode_items(pictured, name, progress=False)
        for name in ("both", "text", "image")
    }
    assert np.abs(found["both"] - found["text"]).max() > 1e-3
    assert np.abs(found["both"] - found["image"]).max() > 1e-3
    without_pictures = pictured.with_columns(image=pl.lit(None, pl.Binary))
    hidden = encoder.encode_items(without_pictures, progress=False)
    np.testing.assert_allclose(hidden, found["text"], atol=1e-6)
    only_titles = pictured.with_columns(title=pl.lit("something else"))
    np.testing.assert_array_equal(
        encoder.encode_items(only_titles, "image", progress=False), found["image"]
    )


def test_saved_and_opened_gives_the_same_bits(encoder, items, tmp_path):
    path = encoder.save_pretrained(tmp_path / "copy")
    again = ProductEncoder.from_pretrained(path, device="cpu")
    assert again.digest == encoder.digest and again.config == encoder.config
    wanted = encoder.encode_items(items, progress=False)
    np.testing.assert_array_equal(again.encode_items(items, progress=False), wanted)
    kinds = {file.suffix for file in path.iterdir()}
    assert kinds <= {".json", ".safetensors", ".jinja"}
    with pytest.raises(MoonRecError, match="exists already"):
        encoder.save_pretrained(path)


def test_digest_tells_weights_apart(encoder, encoder_path):
    other = ProductEncoder.from_pretrained(encoder_path, device="cpu")
    with torch.no_grad():
        other.module.model.language_model.norm.weight[0] += 1e-3
    assert other.digest != encoder.digest


def test_the_same_seed_builds_the_same_encoder(little_shop, tiny_config, encoder, tmp_path):
    digests = [
        ProductEncoder.from_pretrained(
            build_encoder(little_shop, tmp_path / str(seed), tiny_config, seed), device="cpu"
        ).digest
        for seed in (3, 4)
    ]
    assert digests[0] == encoder.digest != digests[1]


def test_a_checkpoint_is_taken_as_it_is(little_shop, tiny_config, encoder, tmp_path):
    """A Qwen3-VL folder stands in for a hub's; here it is our own."""
    plain = tmp_path / "qwen"
    encoder.module.save_pretrained(plain)
    encoder.tokenizer.save_pretrained(plain)
    config = tiny_config.model_copy(update={"checkpoint": str(plain)})
    path = build_encoder(little_shop, tmp_path / "built", config)
    assert ProductEncoder.from_pretrained(path, device="cpu").digest == encoder.digest


def test_refusals(encoder, items, searches, tmp_path):
    empty = pl.DataFrame(
        {"search_id": [1, 2], "query_text": ["x", None], "query_image": [None, None]},
        schema_overrides={"query_image": pl.Binary},
    )
    with pytest.raises(EncoderError, match="search 2 has neither query_text nor query_image"):
        encoder.encode_queries(empty)
    with pytest.raises(EncoderError, match=r"items\.image of item 107 is null"):
        encoder.encode_items(items, modality="image")
    with pytest.raises(EncoderError, match="modality 'sound'"):
        encoder.encode_items(items, modality="sound")
    with pytest.raises(EncoderError, match="no column 'title'"):
        encoder.encode_items(items.drop("title"))
    broken = items.head(1).with_columns(image=pl.lit(b"no picture"))
    with pytest.raises(ShopError, match=r"items\.image of item 100"):
        encoder.encode_items(broken)
    with pytest.raises(EncoderError, match="no encoder at"):
        ProductEncoder.from_pretrained(tmp_path)


def test_an_empty_frame_gives_no_vectors(encoder, items):
    assert encoder.encode_items(items.head(0), progress=False).shape == (0, 32)
