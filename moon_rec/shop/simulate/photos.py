"""Photos: a product in another pose, on another ground, in another light.

Used twice: for the pictures that simulated shoppers search with, and for the own-photo benchmark (photo -> own product). Notable choices:
- A real catalogue picture stands on a near-even ground: the product is cut from it where the corners agree on what the
  ground is, else the whole picture is taken. A white shirt on white keeps its inside: a pixel is the product's when
  product pixels lie on both sides of it in its row and in its column.
- Nothing is flipped: text and asymmetric ornaments stay readable.
- Everything comes from the generator given, in a fixed number of draws, so a photo is the same on every machine.
"""

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

PHOTO_SIZE = 64
PHOTO_QUALITY = 85

EVEN_GROUND = (150, 150, 150)
MAX_TURN = 25.0
"""Degrees at difficulty 1."""
SEEN_ALPHA = 128
"""A pixel shows the product where at least half of it does."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two lie just outside."""


class Composed(NamedTuple):
    """A photo, and the smallest box around what it shows of the product; None where that has left the frame."""

    picture: Image.Image
    box: Box | None


def render_photo(
    picture: Image.Image, rng: np.random.Generator, difficulty: float = 1.0, size: int = PHOTO_SIZE
) -> Image.Image:
    """A photo of the product on a catalogue picture.

    Args:
        picture: RGB, any size.
        rng: all randomness comes from it.
        difficulty: 0 only changes the ground; 1 turns up to 25 degrees, crops, scales and re-lights; 2 twice that.
        size: side of the square photo in pixels.
    """
    return compose(cut_out(picture), rng, difficulty, size).picture


def encode(picture: Image.Image, quality: int = PHOTO_QUALITY) -> bytes:
    """JPEG bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def cut_out(picture: Image.Image, tolerance: float = 12.0) -> Image.Image:
    """The product without its ground, RGBA, cropped to it; the whole picture when its ground is not even."""
    pixels = np.asarray(picture.convert("RGB"))
    corners = np.concatenate([pixels[y, x].reshape(-1, 3) for y in _ENDS for x in _ENDS]).astype(
        np.float32
    )
    ground = np.median(corners, axis=0)
    whole = picture.convert("RGBA")
    if np.abs(corners - ground).max() > 4 * tolerance:
        return whole
    differs = np.abs(pixels - ground).max(axis=2) > tolerance
    inside = _between(differs, axis=0) & _between(differs, axis=1)
    share = inside.mean()
    if not 0.03 <= share <= 0.95:
        return whole
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    whole.putalpha(Image.fromarray(inside.astype(np.uint8) * 255))
    return whole.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


def compose(
    product: Image.Image,
    rng: np.random.Generator,
    difficulty: float = 1.0,
    size: int = PHOTO_SIZE,
    clutter: float = 1.0,
) -> Composed:
    """Put a cut-out product (RGBA) on clutter in a random pose and light; RGB, `size` x `size`.

    `clutter` is how vivid the ground is: 1 as drawn, 0 an even grey.
    """
    ground = _ground(rng, size, difficulty)
    if clutter < 1:
        ground = Image.blend(Image.new("RGB", (size, size), EVEN_GROUND), ground, clutter)
    posed = _pose(product, rng, size, difficulty)
    ground.paste(posed, (0, 0), posed)
    box = posed.getchannel("A").point([255 * (alpha >= SEEN_ALPHA) for alpha in range(256)])
    return Composed(_light(ground, rng, difficulty), box.getbbox())


_ENDS = (slice(0, 3), slice(-3, None))
_MOST_SHAPES = 10
_NUMBERS_A_SHAPE = 9


def _between(mask: np.ndarray, axis: int) -> np.ndarray:
    """True where some True lies at or before and some at or after, along `axis`."""
    before = np.maximum.accumulate(mask, axis=axis)
    after = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis=axis), axis)
    return before & after


def _ground(rng: np.random.Generator, size: int, difficulty: float) -> Image.Image:
    """A colour gradient with random shapes on it."""
    corners = rng.integers(50, 206, 3) + rng.integers(-50, 50, (3, 3, 3))
    ground = Image.fromarray(corners.astype(np.uint8)).resize(
        (size, size), Image.Resampling.BILINEAR
    )
    draw = ImageDraw.Draw(ground)
    numbers = rng.random((_MOST_SHAPES, _NUMBERS_A_SHAPE)).tolist()
    for x, y, width, height, kind, red, green, blue, turn in numbers[
        : round(2 + 6 * difficulty * numbers[0][8])
    ]:
        colour = (int(30 + 225 * red), int(30 + 225 * green), int(30 + 225 * blue))
        box = [size * (1.2 * x - 0.1), size * (1.2 * y - 0.1)]
        box += [box[0] + size * (0.1 + 0.4 * width), box[1] + size * (0.1 + 0.4 * height)]
        if kind < 0.35:
            draw.ellipse(box, fill=colour)
        elif kind < 0.65:
            draw.rectangle(box, fill=colour)
        elif kind < 0.85:
            draw.polygon(
                [
                    (box[0], box[1]),
                    (box[2], box[1] + size * 0.3 * turn),
                    (box[0] + size * 0.2 * turn, box[3]),
                ],
                colour,
            )
        else:
            draw.line(box, fill=colour, width=1 + int(4 * turn))
    return ground


def _pose(
    product: Image.Image, rng: np.random.Generator, size: int, difficulty: float
) -> Image.Image:
    """The product turned, scaled, sheared and shifted into a `size` x `size` frame; what leaves the frame is cropped."""
    turn, scale, stretch, shear, right, down = rng.uniform(-1.0, 1.0, 6).tolist()
    angle = math.radians(MAX_TURN * difficulty * turn)
    longest = size * (0.86 + difficulty * (0.26 * scale - 0.02))
    factor = max(product.size) / max(longest, 0.3 * size)
    wide, high = (
        factor * (1 + 0.08 * difficulty * stretch),
        factor * (1 - 0.08 * difficulty * stretch),
    )
    cosine, sine = math.cos(angle), math.sin(angle)
    across, along = wide * cosine, wide * (sine + 0.1 * difficulty * shear)
    back, ahead = -high * sine, high * cosine
    x, y = size * (0.5 + 0.12 * difficulty * right), size * (0.5 + 0.12 * difficulty * down)
    shift_x = product.width / 2 - across * x - along * y
    shift_y = product.height / 2 - back * x - ahead * y
    return product.transform(
        (size, size),
        Image.Transform.AFFINE,
        (across, along, shift_x, back, ahead, shift_y),
        Image.Resampling.BILINEAR,
    )


def _light(picture: Image.Image, rng: np.random.Generator, difficulty: float) -> Image.Image:
    """Brightness, contrast, colour cast, a slope of light across the frame, and grain."""
    size = picture.width
    bright, contrast, slope_x, slope_y, *cast = rng.uniform(-1.0, 1.0, 7)
    pixels = np.asarray(picture, dtype=np.float32)
    gain = (1 + 0.22 * difficulty * bright) * (
        1 + 0.10 * difficulty * np.array(cast, dtype=np.float32)
    )
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope = 1 + 0.15 * difficulty * (slope_x * ramp[None, :] + slope_y * ramp[:, None])
    lit = (pixels - 128.0) * np.float32(1 + 0.2 * difficulty * contrast) + 128.0
    lit *= gain.astype(np.float32)
    lit *= slope.astype(np.float32)[:, :, None]
    lit += 4.0 * difficulty * rng.standard_normal((size, size, 1), dtype=np.float32)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
