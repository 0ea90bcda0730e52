"""Pictures of a product without a model: cut out of its ground, laid on another, tilted, seen from near.

The offline stand-in for MOON2.0's editing model (arXiv 2511.12449). The paper edits each picture to a clean main one first and expands that; so it is here. What stands out from the border
(`core_region.foreground`) is the product, with soft edges; new grounds are those of `posttraining.augmentation`, made of another product's picture. No view that a picture does
not show is ever made: a tilt is the plain form of another viewpoint.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from moon_rec.seeds import generator
from representation.co_augmentation.config import PictureKind
from representation.co_augmentation.generator import Product
from representation.core_region.box import MARGIN, Box, crop
from representation.core_region.foreground import foreground_parts
from representation.model.pixels import square
from representation.posttraining.augmentation import AugmentationConfig, apply_views, draw_views

TILT = 0.18
"""Most that a corner moves in another view, as a share of the side."""
DETAIL = 0.5
"""Side of a detail, as a share of the product's longer side."""
PLACES = 5
"""Along a side, where a detail is looked for."""
WHITE = 255
PLAIN = AugmentationConfig(turn=0, zoom=0, shift=0, light=0, tint=0)


class Clean(NamedTuple):
    """A product on white, centred.

    Attributes:
        pixels: `(side, side, 3)` uint8.
        share: `(side, side, 1)` float32, how much of a pixel is the product.
    """

    pixels: np.ndarray
    share: np.ndarray


class CutOut:
    """A `PicturePainter`; see the module.

    Args:
        other: gives the picture of another product, drawn by the generator that it is handed: what grounds are made of.
        side: longest side of what is made, in pixels; never more than the product's own picture's.
        seed: with the product's id it decides what is drawn.
    """

    def __init__(
        self, other: Callable[[np.random.Generator], Image.Image], side: int, seed: int
    ) -> None:
        self._other, self._side, self._seed = other, side, seed

    @property
    def about(self) -> dict[str, Any]:
        """Its name."""
        return {"pictures": "cut out of the ground that is connected with the border"}

    def expanded(
        self, product: Product, kinds: Sequence[PictureKind]
    ) -> dict[PictureKind, Image.Image]:
        """See `PicturePainter.expanded`; nothing of a picture in which nothing stands out."""
        assert product.picture is not None
        clean = cut_out(product.picture, min(self._side, max(product.picture.size)))
        if clean is None:
            return {}
        makers: dict[PictureKind, Callable[[np.random.Generator], np.ndarray]] = {
            "clean": lambda random: clean.pixels,
            "background": lambda random: on_ground(clean, self._other(random), random),
            "view": lambda random: tilted(clean, random),
            "detail": lambda random: detail(clean),
        }
        found = {}
        for kind in kinds:
            random = generator(self._seed, "co-augmentation", kind, product.item_id)
            found[kind] = Image.fromarray(makers[kind](random))
        return found


def cut_out(picture: Image.Image, side: int) -> Clean | None:
    """What stands out from a picture's border, on white, with a margin around it; None where nothing does."""
    parts = foreground_parts(picture)
    if parts is None or parts.all():
        return None
    soft = Image.fromarray(parts.astype(np.uint8) * WHITE)
    soft = soft.resize(picture.size, Image.Resampling.BILINEAR)
    share = np.asarray(soft, np.float32)[..., None] / WHITE
    pixels = _blend(np.asarray(picture.convert("RGB")), share, np.uint8(WHITE))
    rows, columns = np.flatnonzero(share.any(axis=(1, 2))), np.flatnonzero(share.any(axis=(0, 2)))
    box = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    shown = square(crop(Image.fromarray(pixels), box, MARGIN), side)
    black = Image.fromarray(WHITE - np.asarray(soft))  # `square` adds white
    around = WHITE - square(crop(black, box, MARGIN), side)[..., :1]
    return Clean(shown, around.astype(np.float32) / WHITE)


def on_ground(clean: Clean, other: Image.Image, random: np.random.Generator) -> np.ndarray:
    """The product on a ground made of another picture: enlarged, its colours turned, rough."""
    side = len(clean.pixels)
    views = draw_views(1, side, PLAIN, random, new_ground=True)
    nothing = torch.full((1, side, side, 3), WHITE, dtype=torch.uint8)
    others = torch.from_numpy(square(other, side).copy())[None]
    ground = apply_views(nothing, views, others)[0].numpy()
    return _blend(clean.pixels, clean.share, ground)


def tilted(clean: Clean, random: np.random.Generator) -> np.ndarray:
    """The product as a plane seen from another side, mirrored every other time; around it white."""
    side = len(clean.pixels)
    corners = np.array([[0, 0], [0, side], [side, side], [side, 0]], np.float64)
    moved = corners + random.uniform(-TILT, TILT, corners.shape) * side
    if random.random() < 0.5:
        moved = moved[[3, 2, 1, 0]]
    picture = Image.fromarray(clean.pixels)
    given = {"resample": Image.Resampling.BICUBIC, "fillcolor": (WHITE,) * 3}
    coefficients = perspective(corners, moved)
    found = picture.transform(
        (side, side), Image.Transform.PERSPECTIVE, tuple(coefficients), **given
    )
    return np.asarray(found)


def perspective(seen: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The eight coefficients a to h by which a place (x, y) of the view shows ((a x + b y + c) / (g x + h y + 1), (d x + e y + f) / (g x + h y + 1)) of the picture.

    Args:
        seen, shown: `(4, 2)`, corners in the view and in the picture.
    """
    rows, wanted = [], []
    for (x, y), (u, v) in zip(seen, shown, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return np.linalg.solve(np.array(rows), np.array(wanted))


def detail(clean: Clean) -> np.ndarray:
    """The part of the product with most edges, enlarged: where a logo, a print or a clasp is."""
    side = len(clean.pixels)
    size = max(2, round(DETAIL * side * (1 - 2 * MARGIN)))
    grey = clean.pixels.mean(axis=2) * clean.share[..., 0]
    inside = clean.share[..., 0] > 0.99  # the outline is no detail
    steps = np.zeros((side, side))
    for axis in (0, 1):
        both = np.take(inside, range(1, side), axis) & np.take(inside, range(side - 1), axis)
        there = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        steps[there] += np.abs(np.diff(grey, axis=axis)) * both
    weight = steps + inside  # where there is no edge, most of the product
    starts = np.unique(np.linspace(0, side - size, PLACES).round().astype(int))
    y, x = max(
        ((y, x) for y in starts for x in starts),
        key=lambda at: weight[at[0] : at[0] + size, at[1] : at[1] + size].sum(),
    )
    part = Image.fromarray(clean.pixels[y : y + size, x : x + size])
    return np.asarray(part.resize((side, side), Image.Resampling.BICUBIC))


def _blend(over: np.ndarray, share: np.ndarray, under: np.ndarray | np.uint8) -> np.ndarray:
    found = over * share + under * (1 - share)
    return found.round().clip(0, WHITE).astype(np.uint8)
