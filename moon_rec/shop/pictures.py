"""Bytes of a picture -> an RGB picture, or an error that says which picture is broken.

Notable choices
- JPEG, PNG, GIF, WebP and BMP only: Pillow's rarer decoders call other programs or are old.
- Transparency is laid on white, as shops show it; the first frame of an animation is the picture; EXIF, with its rotation,
  is ignored, so the same bytes give the same pixels everywhere.
- More than 64 megapixels are refused before they are decoded: a few kB of PNG can ask for gigabytes of memory.
"""

import io

from PIL import Image

from moon_rec.errors import ShopError

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
MAX_PIXELS = 64_000_000


def decode(data: bytes, where: str = "picture") -> Image.Image:
    """Decode a picture to mode RGB.

    Args:
        data: the whole file's bytes.
        where: what the error calls it, such as `items.image of item 7`.

    Raises:
        ShopError: the bytes are no picture, are cut short, or hold more than `MAX_PIXELS`.
    """
    if not data:
        raise ShopError(f"{where}: no bytes; give a JPEG or PNG, or null where there is no picture")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                size = f"{picture.width}x{picture.height}"
                raise ShopError(f"{where}: {size} is over {MAX_PIXELS:,} pixels; make it smaller")
            return _to_rgb(picture)
    except ShopError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ShopError(f"{where}: it is over {MAX_PIXELS:,} pixels; make it smaller") from None
    except (
        Exception
    ) as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        reason = _reason(error)
        raise ShopError(
            f"{where}: {len(data):,} bytes do not decode as a picture ({reason}); replace them, "
            "or give null where there is no picture"
        ) from None


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
    return (str(error).splitlines() or [type(error).__name__])[0]
