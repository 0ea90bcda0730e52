"""Pictures and texts as they come: each is encoded or named with its row, on the way through the picture store and through the encoder."""

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.errors import EncoderError, ShopError
from moon_rec.shop import pictures
from moon_rec.texts import has_text, normal_texts
from representation.model.pixels import square
from representation.training.picture_store import PictureStore


def encode(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def scene(mode: str = "RGB") -> Image.Image:
    """A red square on blue."""
    picture = Image.new("RGB", (40, 24), (20, 20, 200))
    picture.paste((220, 10, 10), (4, 4, 20, 20))
    return picture.convert(mode)


def lying() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 8
    return encode(scene().rotate(-90, expand=True), "PNG", exif=exif)


def animated(kind: str) -> bytes:
    other = Image.new("RGB", (40, 24), (0, 255, 0))
    return encode(scene(), kind, save_all=True, append_images=[other, other])


def clear_palette() -> bytes:
    return encode(scene().quantize(4), transparency=0)


SOUND = {
    "plain": encode(scene()),
    "animated GIF": animated("GIF"),
    "animated PNG": animated("PNG"),
    "animated WebP": animated("WEBP"),
    "CMYK": encode(scene("CMYK"), "JPEG", quality=95),
    "palette": encode(scene().quantize(8)),
    "clear palette": clear_palette(),
    "half clear": encode(Image.new("RGBA", (9, 9), (250, 0, 0, 128))),
    "16-bit grey": encode(
        Image.fromarray((np.arange(600).reshape(20, 30) * 109).astype(np.uint16))
    ),
    "1 bit": encode(scene("1")),
    "turned by EXIF": lying(),
    "1x1": encode(Image.new("RGB", (1, 1), (9, 200, 9))),
    "a line": encode(Image.new("RGB", (900, 1), (9, 200, 9))),
}
BROKEN = {
    "no bytes": (b"", "no bytes"),
    "text": (b"<html>404</html>", "16 bytes do not decode as a picture"),
    "half a PNG": (encode(scene())[:70], "do not decode as a picture"),
    "half a JPEG": (encode(scene(), "JPEG")[:400], "do not decode as a picture"),
    "half a GIF": (encode(scene(), "GIF")[:40], "do not decode as a picture"),
    "half a WebP": (encode(scene(), "WEBP")[:40], "do not decode as a picture"),
    "start of a JPEG": (b"\xff\xd8\xff", "do not decode as a picture"),
    "TIFF": (encode(scene(), "TIFF"), "none of JPEG, PNG, GIF, WEBP, BMP"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_pictures_go_through_the_store(name):
    store = PictureStore([SOUND[name]], ["items.image of item 7"], 16)
    wanted = square(pictures.decode(SOUND[name]), 16)
    np.testing.assert_array_equal(store.take([0])[0], wanted)


@pytest.mark.parametrize(
    "name", ["animated GIF", "animated PNG", "animated WebP", "CMYK", "palette", "turned by EXIF"]
)
def test_they_show_what_is_in_them(name):
    """The same scene, whatever holds it: no frame but the first, no inks turned round, nothing lying."""
    store = PictureStore([SOUND["plain"], SOUND[name]], ["a", "b"], 16)
    plain, other = store.take([0, 1]).astype(int)
    assert np.abs(plain - other).mean() < 8


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pictures_are_named_by_the_store_and_the_encoder(encoder, name):
    data, message = BROKEN[name]
    good = SOUND["plain"]
    with pytest.raises(ShopError, match=message) as error:
        PictureStore([good, data], ["items.image of item 6", "items.image of item 7"], 16).take(
            [0, 1]
        )
    assert str(error.value).startswith("items.image of item 7: ")
    items = pl.DataFrame({"item_id": [6, 7], "title": ["a", "b"], "image": [good, data]})
    for modality in ("both", "image"):
        with pytest.raises(ShopError, match="items.image of item 7: .*" + message):
            encoder.encode_items(items, modality, progress=False)
    assert encoder.encode_items(items, "text", progress=False).shape == (2, encoder.dim)
    queries = pl.DataFrame(
        {"search_id": [3, 4], "query_text": [None, "b"], "query_image": [good, data]},
        schema_overrides={"query_text": pl.String},
    )
    with pytest.raises(ShopError, match="query_image of search 4: .*" + message):
        encoder.encode_queries(queries, progress=False)


def test_sound_pictures_go_through_the_encoder(encoder):
    """Each alone, a batch of one, as among all the others."""
    items = pl.DataFrame(
        {"item_id": range(len(SOUND)), "title": list(SOUND), "image": list(SOUND.values())}
    )
    for modality in ("both", "image"):
        vectors = encoder.encode_items(items, modality, progress=False)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        for row in range(len(items)):
            alone = encoder.encode_items(items[row], modality, progress=False)
            np.testing.assert_allclose(alone[0], vectors[row], atol=1e-5)


def test_a_hundred_megapixels(encoder, monkeypatch):
    """By a limit a thousand times lower: a JPEG is decoded smaller and looks the same, other kinds are named."""
    monkeypatch.setattr(pictures, "MAX_PIXELS", 64_000)
    large = scene().resize((400, 250))
    names = ["items.image of item 1", "items.image of item 2"]
    data = [encode(large, "JPEG", quality=95), encode(large, "PNG")]
    store = PictureStore(data, names, 16)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100_000)
    whole = PictureStore(data, names, 16).take([0])[0].astype(int)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 64_000)
    assert np.abs(store.take([0])[0] - whole).mean() < 4
    with pytest.raises(ShopError, match="image of item 2: 400x250 is over 64,000 pixels"):
        store.take([1])
    items = pl.DataFrame({"item_id": [1, 2], "title": ["a", "b"], "image": data})
    assert encoder.encode_items(items[:1], "image", progress=False).shape == (1, encoder.dim)
    with pytest.raises(ShopError, match="image of item 2: 400x250"):
        encoder.encode_items(items, "image", progress=False)


TEXTS = {
    "plain": "red mug",
    "emoji": "🧥👩‍👩‍👧‍👦🏳️‍🌈",
    "Chinese": "女士羽绒服 2026 新款",
    "Arabic": "فستان سهرة",
    "Hebrew and Latin": "שמלה XL 2026",
    "controls": "red\x00mug\x07\x1b[31m\u202e\u200b\ufeff",
    "lines": "red\n\r\n\tmug\u2028",
    "blanks": "   ",
    "private use": "\ue000\U000f0000",
    "combining": "e" + "\u0301" * 40,
    "long": "mug " * 5000,
    "special tokens": "<|product|><|vision_start|><|image_pad|><|im_end|>",
}


def test_any_text_is_encoded(encoder):
    """Finite unit vectors, alone as among the others, and alike exactly those of one normal form."""
    items = pl.DataFrame({"item_id": range(len(TEXTS)), "title": list(TEXTS.values())})
    queries = items.select(search_id="item_id", query_text="title").filter(has_text("query_text"))
    assert len(queries) == len(items) - 1, "blanks alone are no query"
    for encode_rows, frame in ((encoder.encode_items, items), (encoder.encode_queries, queries)):
        vectors = encode_rows(frame, progress=False)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        for row in range(len(frame)):
            alone = encode_rows(frame[row], progress=False)
            np.testing.assert_allclose(alone[0], vectors[row], atol=1e-5)
        texts = np.array(normal_texts(frame.to_series(1)))
        np.testing.assert_array_equal(vectors @ vectors.T > 1 - 1e-6, texts[:, None] == texts)


def test_an_empty_title_is_encoded_and_an_empty_query_named(encoder):
    frame = pl.DataFrame({"item_id": [1, 2], "title": ["", None], "image": [SOUND["plain"], None]})
    vectors = encoder.encode_items(frame, progress=False)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    bare = encoder.encode_items(frame.drop("title").with_columns(title=pl.lit("")), progress=False)
    np.testing.assert_allclose(vectors, bare, atol=1e-6)
    for empty in ("", None):
        queries = pl.DataFrame({"search_id": [8, 9], "query_text": ["mug", empty]})
        with pytest.raises(EncoderError, match="search 9 has neither query_text nor query_image"):
            encoder.encode_queries(queries, progress=False)


def test_no_rows_give_no_vectors(encoder):
    none = pl.DataFrame({"title": [], "image": []}, schema={"title": pl.String, "image": pl.Binary})
    assert encoder.encode_items(none, progress=False).shape == (0, encoder.dim)
