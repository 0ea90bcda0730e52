"""Bytes of a picture -> an RGB picture, or an error that says which picture is broken.

Notable choices
- JPEG, PNG, GIF, WebP and BMP only: Pillow's rarer decoders call other programs or are old. The kind is told by the first bytes.
- Transparency is laid on white, as shops show it; the first frame of an animation is the picture; 16-bit grey is scaled to 8 bits; inks (CMYK) become light.
- A photo is turned upright as its EXIF says, for phones store it lying and every browser turns it; the rest of EXIF is ignored, and so is an EXIF that is broken.
- More than 64 megapixels are not decoded whole: a few kB can ask for gigabytes of memory. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, in memory for
  that size alone; other kinds, and progressive JPEGs, which must be held whole, are refused by name.
"""

import io

from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from moon_rec.errors import ShopError, first_line

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MAX_PIXELS = 64_000_000

_KINDS: tuple[tuple[bytes, type[ImageFile.ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 274: what turns a stored picture upright."""


class PictureError(ShopError):
    """A picture that cannot be decoded; `kind` says why in words that hold of all pictures with that fault."""

    def __init__(self, where: str, fault: str, mend: str, kind: str) -> None:
        super().__init__(f"{where}: {fault}; {mend}")
        self.fault, self.mend, self.kind = fault, mend, kind


def decode(data: bytes, where: str = "picture") -> Image.Image:
    """Decode a picture to mode RGB.

    Args:
        data: the whole file's bytes.
        where: what the error calls it, such as `items.image of item 7`.

    Raises:
        PictureError: the bytes are no picture, are cut short, or hold more than `MAX_PIXELS` and cannot be decoded smaller.
    """
    if not data:
        mend = "give a JPEG or PNG, or null where there is no picture"
        raise PictureError(where, "no bytes", mend, "no bytes")
    try:
        with _open(data, where) as picture:
            _make_affordable(picture, where)
            return _upright(_to_rgb(picture), picture)
    except ShopError:
        raise
    except (
        Exception
    ) as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise _broken(data, where, error) from None


def picture_size(data: bytes, where: str = "picture") -> tuple[int, int]:
    """Width and height as the head says; nothing is decoded.

    Raises:
        PictureError: the bytes are no picture.
    """
    try:
        with _open(data, where) as picture:
            return picture.size
    except ShopError:
        raise
    except Exception as error:
        raise _broken(data, where, error) from None


def _broken(data: bytes, where: str, error: Exception) -> PictureError:
    fault = f"{len(data):,} bytes do not decode as a picture ({_reason(error)})"
    mend = "replace them, or give null where there is no picture"
    return PictureError(where, fault, mend, type(error).__name__)


def _open(data: bytes, where: str) -> ImageFile.ImageFile:
    """By the kind's own reader: Pillow's `open` warns of large pictures, to everyone and from any thread, before they can be looked at."""
    for start, kind in _KINDS:
        if data.startswith(start):
            return kind(io.BytesIO(data))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _refuse_large(*_webp_size(data), where)  # its reader makes the canvas when it opens
        return WebPImageFile(io.BytesIO(data))
    raise Image.UnidentifiedImageError


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the first chunk (WebP container specification; RFC 6386, 9.1; WebP lossless bitstream, 3)."""
    chunk, body = data[12:16], data[20:]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    sides = [int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8)]
    return sides[0], sides[1]


def _make_affordable(picture: ImageFile.ImageFile, where: str) -> None:
    """Have a large JPEG decoded smaller; refuse what cannot be."""
    width, height = picture.size
    if isinstance(picture, JpegImageFile) and "progressive" not in picture.info:
        fits = (n for n in (1, 2, 4, 8) if -(-width // n) * -(-height // n) <= MAX_PIXELS)
        smaller = next(fits, 1)
        if smaller > 1:
            picture.draft(None, (max(1, width // smaller), max(1, height // smaller)))
    if picture.width * picture.height > MAX_PIXELS:
        _refuse_large(width, height, where)


def _refuse_large(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        fault = f"{width}x{height} is over {MAX_PIXELS:,} pixels"
        raise PictureError(where, fault, "make it smaller", "too large")


def _upright(pixels: Image.Image, picture: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF of any kind of broken: the pixels are sound all the same
        return pixels
    return pixels if turn is None else pixels.transpose(turn)


def _to_rgb(picture: Image.Image) -> Image.Image:
    """RGB pixels of any mode, transparency on white."""
    picture.load()
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture.copy()
    if picture.mode.startswith(
        "I"
    ):  # 16-bit grey: Pillow's own conversion would clip instead of scaling
        grey = picture.convert("I").point(lambda value: value * (1 / 256)).convert("L")
        return grey.convert("RGB")
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        seen = picture.convert("RGBA")
        ground = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, seen).convert("RGB")
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return f"none of {', '.join(FORMATS)}"
    return first_line(error)
