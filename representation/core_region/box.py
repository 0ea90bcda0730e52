"""A box on a picture, and the crop that it makes.

MOON v1 crops its core semantic region `i~` out of a picture `i` by a detector's box and encodes both (arXiv 2508.11999, Fig. 4). How wide around the box it cuts is not public: the margin here is our
choice. A crop is in whole pixels and depends on nothing but picture, box and margin.
"""

import math
from typing import NamedTuple

from PIL import Image

from moon_rec.errors import EncoderError

MARGIN = 0.1
"""Of a box's sides, added on each side of it."""


class Box(NamedTuple):
    """Left, top, right and bottom in pixels, the last two just outside; `score`: how sure its detector is, from 0 to 1."""

    x0: float
    y0: float
    x1: float
    y1: float
    score: float = 1.0

    @property
    def area(self) -> float:
        """In square pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def within(box: Box, width: int, height: int) -> Box | None:
    """The part of a box that lies on a picture; None where there is none, or a side is no finite number."""
    if not all(map(math.isfinite, box)):
        return None
    x0, x1 = max(box.x0, 0.0), min(box.x1, float(width))
    y0, y1 = max(box.y0, 0.0), min(box.y1, float(height))
    return Box(x0, y0, x1, y1, box.score) if x1 > x0 and y1 > y0 else None


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    both = max(width, 0.0) * max(height, 0.0)
    return both / (one.area + other.area - both)


def crop(picture: Image.Image, box: Box | None, margin: float = MARGIN) -> Image.Image:
    """What a picture shows within a box and a margin around it, as far as the picture goes; all of it without a box.

    Args:
        margin: share of the box's sides, added on each side.

    Raises:
        EncoderError: the box lies off the picture.
    """
    if box is None:
        return picture
    inside = within(box, *picture.size)
    if inside is None:
        raise EncoderError(
            f"a box of {tuple(round(side, 1) for side in box[:4])} is not on a picture of {picture.width} x {picture.height} pixels; give x0 < x1 and y0 < y1 in its pixels"
        )
    right, down = margin * (inside.x1 - inside.x0), margin * (inside.y1 - inside.y0)
    return picture.crop(
        (
            max(math.floor(inside.x0 - right), 0),
            max(math.floor(inside.y0 - down), 0),
            min(math.ceil(inside.x1 + right), picture.width),
            min(math.ceil(inside.y1 + down), picture.height),
        )
    )
