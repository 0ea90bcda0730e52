"""Pictures of every mode become RGB; what is broken or huge is refused in one line."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from moon_rec.errors import ShopError
from moon_rec.shop import decode
from moon_rec.shop.pictures import MAX_PIXELS


def encode(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def colour(data: bytes) -> tuple[int, ...]:
    """The one colour of a picture of one colour."""
    picture = decode(data)
    assert picture.mode == "RGB"
    pixels = np.asarray(picture).reshape(-1, 3)
    assert (pixels == pixels[0]).all()
    return tuple(pixels[0].tolist())


RED = (250, 10, 20)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (encode(Image.new("RGB", (4, 4), RED)), RED),
        (encode(Image.new("RGBA", (4, 4), (*RED, 255))), RED),
        (encode(Image.new("RGBA", (4, 4), (*RED, 0))), (255, 255, 255)),
        (encode(Image.new("LA", (4, 4), (0, 0))), (255, 255, 255)),
        (encode(Image.new("L", (4, 4), 77)), (77, 77, 77)),
        (encode(Image.new("1", (4, 4), 1)), (255, 255, 255)),
        (encode(Image.new("RGB", (4, 4), RED).quantize(4)), RED),
        (encode(Image.new("RGB", (4, 4), RED).quantize(4), transparency=0), (255, 255, 255)),
        (encode(Image.new("I;16", (4, 4), 0x8000)), (128, 128, 128)),
        (encode(Image.new("RGB", (4, 4), (0, 0, 0)), transparency=(0, 0, 0)), (255, 255, 255)),
    ],
    ids=[
        "RGB",
        "opaque RGBA",
        "clear RGBA",
        "clear LA",
        "L",
        "1",
        "P",
        "clear P",
        "I;16",
        "clear RGB",
    ],
)
def test_every_mode_becomes_rgb(data, wanted):
    assert colour(data) == wanted


def test_inks_become_rgb():
    """CMYK: no ink is white; full magenta and yellow are red."""
    assert colour(encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")) == (255, 255, 255)
    red, green, blue = colour(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 240 and green < 15 and blue < 15


def test_the_first_frame_of_an_animation():
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), (0, 0, 255))
    data = encode(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert colour(data) == RED


def test_exif_rotation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.new("RGB", (8, 4), RED), "JPEG", exif=exif)
    assert decode(data).size == (8, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "item 7: no bytes"),
        (b"<svg/>", "item 7: 6 bytes do not decode as a picture"),
        (encode(Image.new("RGB", (64, 64), RED))[:60], "item 7: 60 bytes do not decode"),
        (encode(Image.new("RGB", (64, 64), RED), "JPEG")[:300], "item 7: 300 bytes do not decode"),
        (encode(Image.new("RGB", (4, 4)), "TIFF"), "do not decode as a picture"),
    ],
    ids=["nothing", "SVG", "half a PNG", "half a JPEG", "TIFF"],
)
def test_a_broken_picture_is_one_line(data, message):
    with pytest.raises(ShopError, match=message) as error:
        decode(data, "item 7")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (20_000, 20_000)])
def test_a_huge_picture_is_refused_before_it_is_decoded(size):
    """All sides of Pillow's own two limits; the header alone says how large it is."""
    small = encode(Image.new("1", (8, 8)))
    at = small.index(b"IHDR") + 4
    width, height = (side.to_bytes(4, "big") for side in size)
    header = small[at - 4 : at] + width + height + small[at + 8 : at + 13]
    data = small[: at - 4] + header + zlib.crc32(header).to_bytes(4, "big") + small[at + 17 :]
    with pytest.raises(ShopError, match=f"over {MAX_PIXELS:,} pixels"):
        decode(data)
