"""Draws a product: a silhouette by category, in a colour, with a pattern in a second colour and an ornament.

A drawing is an RGBA layer without ground; `photos.compose` puts it on one. Its inputs are exactly what a picture may show: nothing that is
written only in a product's text reaches this file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw

CANVAS = 112
"""Side of the layer in pixels; photos of 64 pixels are taken from it."""

Point = tuple[float, float]
Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (208, 32, 42), "orange": (240, 130, 30), "yellow": (244, 214, 48), "green": (44, 150, 62),
    "teal": (20, 140, 150), "blue": (36, 78, 196), "purple": (120, 50, 160), "pink": (240, 130, 180),
    "brown": (120, 76, 44), "black": (30, 30, 34), "grey": (140, 142, 146), "white": (240, 240, 236),
}  # fmt: skip

PATTERNS = ("plain", "bands", "pinstripes", "diagonal", "checks", "dots", "zigzag", "halves",
            "rings")  # fmt: skip

ORNAMENTS = ("none", "star", "heart", "ring", "cross", "triangle", "moon", "bolt", "flower")

PLACES: dict[str, Point] = {
    "middle": (0.0, 0.0),
    "left": (-0.12, -0.08),
    "right": (0.12, -0.08),
    "low": (0.0, 0.14),
}
"""Where an ornament sits, relative to the middle of its silhouette."""

MIDDLES: dict[str, Point] = {"trousers": (0.5, 0.2), "sneaker": (0.42, 0.66), "boot": (0.4, 0.34), "handbag": (0.5, 0.64),
                             "hat": (0.5, 0.48), "mug": (0.44, 0.5), "lamp": (0.5, 0.38), "backpack": (0.5, 0.6)}  # fmt: skip
"""Of those silhouettes whose middle is not that of the canvas."""

SILHOUETTES: dict[str, tuple[tuple[str, tuple[Point, ...]], ...]] = {
    "shirt": (("polygon", ((0.30, 0.15), (0.42, 0.15), (0.50, 0.23), (0.58, 0.15), (0.70, 0.15), (0.97, 0.38), (0.84, 0.52),
                           (0.73, 0.42), (0.73, 0.90), (0.27, 0.90), (0.27, 0.42), (0.16, 0.52), (0.03, 0.38))),),
    "trousers": (("polygon", ((0.28, 0.06), (0.72, 0.06), (0.80, 0.95), (0.58, 0.95), (0.50, 0.40), (0.42, 0.95), (0.20, 0.95))),),
    "dress": (("polygon", ((0.34, 0.05), (0.42, 0.05), (0.50, 0.16), (0.58, 0.05), (0.66, 0.05), (0.66, 0.40), (0.88, 0.94),
                           (0.12, 0.94), (0.34, 0.40))),),
    "sneaker": (("polygon", ((0.06, 0.36), (0.30, 0.30), (0.48, 0.50), (0.82, 0.58), (0.96, 0.72), (0.95, 0.82), (0.05, 0.82))),),
    "boot": (("polygon", ((0.22, 0.06), (0.58, 0.06), (0.58, 0.58), (0.88, 0.70), (0.92, 0.92), (0.56, 0.92), (0.50, 0.86),
                          (0.44, 0.92), (0.20, 0.92))),),
    "handbag": (("arc", ((0.30, 0.06), (0.70, 0.66))), ("polygon", ((0.14, 0.38), (0.86, 0.38), (0.96, 0.92), (0.04, 0.92)))),
    "backpack": (("arc", ((0.38, 0.02), (0.62, 0.26))), ("ellipse", ((0.18, 0.10), (0.82, 0.66))),
                 ("polygon", ((0.18, 0.38), (0.82, 0.38), (0.86, 0.94), (0.14, 0.94)))),
    "hat": (("ellipse", ((0.22, 0.18), (0.78, 0.92))), ("ellipse", ((0.02, 0.58), (0.98, 0.86)))),
    "mug": (("arc", ((0.58, 0.30), (0.98, 0.76))), ("polygon", ((0.14, 0.16), (0.74, 0.16), (0.70, 0.90), (0.18, 0.90)))),
    "lamp": (("polygon", ((0.46, 0.52), (0.54, 0.52), (0.56, 0.86), (0.74, 0.95), (0.26, 0.95), (0.44, 0.86))),
             ("polygon", ((0.32, 0.06), (0.68, 0.06), (0.92, 0.62), (0.08, 0.62)))),
    "cushion": (("polygon", ((0.06, 0.08), (0.50, 0.16), (0.94, 0.08), (0.86, 0.50), (0.94, 0.92), (0.50, 0.84), (0.06, 0.92),
                             (0.14, 0.50))),),
    "vase": (("polygon", ((0.38, 0.05), (0.62, 0.05), (0.58, 0.26), (0.82, 0.56), (0.66, 0.95), (0.34, 0.95), (0.18, 0.56),
                          (0.42, 0.26))),),
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """All that a drawing shows."""

    kind: str
    colour: str
    pattern: str
    second: str
    ornament: str
    place: str
    width: float
    """Relative width of the silhouette, about .75 to 1."""
    height: float
    shade: tuple[int, int, int]
    """Added to the colour: dyes differ."""


def draw(look: Look) -> Image.Image:
    """The product as an RGBA layer of `CANVAS` x `CANVAS` pixels."""
    red, green, blue = (
        min(max(c + s, 0), 255) for c, s in zip(COLOURS[look.colour], look.shade, strict=True)
    )
    first = (red, green, blue)
    layer = Image.new("RGB", (CANVAS, CANVAS), first)
    if look.pattern != "plain":
        layer.paste(COLOURS[look.second], (0, 0, CANVAS, CANVAS), _pattern(look.pattern))
    pen = ImageDraw.Draw(layer)
    if look.ornament != "none":
        _ornament(pen, look, _ink(first))
    mask = _silhouette(look.kind, round(look.width, 2), round(look.height, 2), pen)
    layer.putalpha(mask)
    return layer


def _silhouette(kind: str, width: float, height: float, pen: ImageDraw.ImageDraw) -> Image.Image:
    """The silhouette's mask; its edges are also inked on the layer."""
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    cutter = ImageDraw.Draw(mask)
    for shape, points in SILHOUETTES[kind]:
        placed = [
            (CANVAS * (0.5 + width * (x - 0.5)), CANVAS * (0.5 + height * (y - 0.5)))
            for x, y in points
        ]
        if shape == "polygon":
            cutter.polygon(placed, fill=255)
            pen.line([*placed, placed[0]], fill=(24, 24, 28), width=3)
        elif shape == "ellipse":
            cutter.ellipse(placed, fill=255)
            pen.ellipse(placed, outline=(24, 24, 28), width=2)
        else:
            cutter.arc(placed, 0, 360, fill=255, width=7)
    return mask


def _ink(ground: Colour) -> Colour:
    """A light or dark ink that can be read on the ground."""
    return (22, 22, 26) if sum(ground) > 380 else (248, 246, 236)


def _ornament(pen: ImageDraw.ImageDraw, look: Look, ink: Colour) -> None:
    (right, down), (across, along) = PLACES[look.place], MIDDLES.get(look.kind, (0.5, 0.52))
    x, y = (
        CANVAS * (0.5 + look.width * (across + right - 0.5)),
        CANVAS * (0.5 + look.height * (along + down - 0.5)),
    )
    radius = 0.13 * CANVAS
    paper = (248, 246, 236) if sum(ink) < 380 else (22, 22, 26)
    pen.ellipse(
        (x - 1.3 * radius, y - 1.3 * radius, x + 1.3 * radius, y + 1.3 * radius), fill=paper
    )
    box = (x - radius, y - radius, x + radius, y + radius)
    if look.ornament == "ring":
        pen.ellipse(box, outline=ink, width=4)
    elif look.ornament == "moon":
        pen.ellipse(box, fill=ink)
        pen.ellipse(
            (
                box[0] + 0.7 * radius,
                box[1] - 0.2 * radius,
                box[2] + 0.7 * radius,
                box[3] - 0.2 * radius,
            ),
            fill=paper,
        )
    else:
        pen.polygon(
            [(x + radius * a, y + radius * b) for a, b in _outline(look.ornament)], fill=ink
        )


@cache
def _outline(ornament: str) -> tuple[Point, ...]:
    """The corner points of an ornament of radius 1 about the origin."""
    if ornament == "star":
        return _wheel(10, (1.0, 0.42))
    if ornament == "flower":
        return _wheel(24, (1.0, 0.95, 0.5, 0.95))
    if ornament == "triangle":
        return _wheel(3, (1.0,))
    if ornament == "cross":
        return tuple((a / 3.0, b / 3.0) for a, b in _CROSS)
    if ornament == "bolt":
        return ((0.3, -1.0), (-0.6, 0.15), (-0.05, 0.15), (-0.3, 1.0), (0.6, -0.2), (0.05, -0.2))
    turns = [2 * math.pi * k / 32 for k in range(32)]
    return tuple(
        (math.sin(t) ** 3, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)) / 16)
        for t in turns
    )


_CROSS = ((-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1),
          (-3, -1), (-1, -1))  # fmt: skip


def _wheel(num_points: int, radii: Sequence[float]) -> tuple[Point, ...]:
    turns = [2 * math.pi * k / num_points for k in range(num_points)]
    return tuple(
        (radii[k % len(radii)] * math.sin(t), -radii[k % len(radii)] * math.cos(t))
        for k, t in enumerate(turns)
    )


@cache
def _pattern(name: str) -> Image.Image:
    """Where the second colour goes, as a mask of the canvas."""
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    pen, steps = ImageDraw.Draw(mask), range(-CANVAS, 2 * CANVAS, 16)
    for k in steps:
        if name == "bands":
            pen.rectangle((0, k, CANVAS, k + 7), fill=255)
        elif name == "pinstripes":
            pen.rectangle((k, 0, k + 3, CANVAS), fill=255)
        elif name == "diagonal":
            pen.line((k, 0, k + CANVAS, CANVAS), fill=255, width=6)
        elif name == "checks":
            for j in range(0, CANVAS, 16):
                pen.rectangle(
                    (k + j % 32, j, k + j % 32 + 15, j + 15),
                    fill=255 if (k + CANVAS) % 32 == 0 else 0,
                )
        elif name == "dots":
            for j in range(0, CANVAS, 16):
                pen.ellipse((k + j % 32 // 2, j + 3, k + j % 32 // 2 + 8, j + 11), fill=255)
        elif name == "zigzag":
            pen.line(
                [(x, k + 8 * (x // 10 % 2)) for x in range(-10, CANVAS + 20, 10)], fill=255, width=5
            )
        elif name == "rings" and 0 <= k <= CANVAS:
            pen.ellipse((56 - k, 56 - k, 56 + k, 56 + k), outline=255, width=7)
    if name == "halves":
        pen.rectangle((0, 0, CANVAS // 2, CANVAS), fill=255)
    return mask
