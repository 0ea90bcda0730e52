"""Altered views of pictures: turned, cropped, re-lit, on another ground.

The report trains on billions of logged photos; a small shop's log holds thousands, seen again and again. Altering them anew each time, and making further
photos out of catalogue pictures, is a choice of ours (MOON2.0 has images of another ground and viewpoint made by an editing model; this is the plain form of it).
Nothing here knows how any shop's photos came about.

On a processor pictures are altered a few at a time; on a GPU a whole batch where its vectors are computed, so that bytes alone travel. The operations and
the distributions are the same; the noise of new grounds, which is most of what is drawn, a GPU draws itself.
What is drawn at random is drawn for a whole batch, whoever uses it: a process that makes only some of the batch's views makes them exactly as one that makes all.
"""

from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from moon_rec.bounds import Share, ShareBelowOne
from moon_rec.config import Config

GROUND_LEVEL = 232
"""A catalogue picture's pixel with all channels at least this bright counts as ground."""
ROUGH = 20
"""Most that a new ground's noise adds to a channel, of 255; bytes, which are drawn three times as quickly as a normal distribution."""
AT_ONCE = 8
"""Pictures altered at once on a processor: few enough that what lies between stays near it, 64 pictures of 64 x 64 in 4.7 instead of 13 ms of a busy core."""
BYTES_AT_ONCE = 1 << 25
"""Of pictures altered at once on a GPU; what lies between is some twenty times as much."""


class AugmentationConfig(Config):
    """How far a view may differ from its picture; 0 everywhere leaves it as it is.

    Mild by default. With twice as much and mirror images, a model of 2 M parameters had not caught up after 300 steps: photo to own product among 4,441,
    recall@10 .14, against .27 with less.
    """

    turn: float = Field(default=15.0, ge=0, le=180, description="degrees to either side")
    zoom: ShareBelowOne = Field(default=0.2, description="larger or smaller by up to this share")
    shift: ShareBelowOne = Field(default=0.08, description="share of the side")
    flip: Share = Field(default=0.0, description="share of pictures mirrored")
    light: ShareBelowOne = Field(
        default=0.2, description="brightness and contrast, up to this share"
    )
    tint: ShareBelowOne = Field(default=0.05, description="each channel, up to this share")


class Light(NamedTuple):
    """How pictures are re-lit: contrast and brightness `(pictures, 1, 1, 1)`, tint `(pictures, 3, 1, 1)`."""

    contrast: Tensor
    tint: Tensor
    brightness: Tensor


class Grounds(NamedTuple):
    """New grounds: a patch of another picture, enlarged, with its colours turned and its light changed.

    Attributes:
        others: `(pictures,)`, whose pixels the ground is made of.
        channels: `(3,)`, the order that colours are turned to.
        moves: `(pictures, 2, 3)`, from the ground's places to the other picture's.
        colour, share: `(pictures, 3, 1, 1)` and `(pictures, 1, 1, 1)`: a plain colour, and how much of the other picture stays beside it.
        rough: `(pictures, 3, side, side)` int8, noise.
    """

    others: np.ndarray
    channels: np.ndarray
    moves: Tensor
    colour: Tensor
    share: Tensor
    rough: Tensor


class Views(NamedTuple):
    """All that is drawn at random for the views of a batch."""

    moves: Tensor
    grounds: Grounds | None
    light: Light

    def __len__(self) -> int:
        return len(self.moves)

    def some(self, rows: slice) -> "Views":
        """What was drawn for some pictures of the batch; `grounds.others` still counts among all."""
        grounds = self.grounds
        if grounds is not None:
            parts = [
                part if name == "channels" else part[rows]
                for name, part in grounds._asdict().items()
            ]
            grounds = Grounds(*parts)
        return Views(self.moves[rows], grounds, Light(*[part[rows] for part in self.light]))

    def to(self, device: torch.device) -> "Views":
        """The same on `device`; there the order of pictures stays an array."""
        grounds = self.grounds
        if grounds is not None:
            moved = {
                name: part.to(device)
                for name, part in grounds._asdict().items()
                if isinstance(part, Tensor)
            }
            grounds = grounds._replace(**moved)
        return Views(self.moves.to(device), grounds, Light(*[one.to(device) for one in self.light]))


def draw_views(
    count: int,
    side: int,
    config: AugmentationConfig,
    random: np.random.Generator,
    new_ground: bool,
    noise: torch.Generator | None = None,
) -> Views:
    """Draw how `count` pictures of `side` pixels will differ from themselves.

    Args:
        noise: draws the noise of new grounds on its own device; None: `random` does.
    """
    moves = _moves(count, config, random)
    grounds = _grounds(count, side, random, noise) if new_ground else None
    return Views(moves, grounds, _light(count, config, random))


def is_ground(pictures: np.ndarray) -> np.ndarray:
    """Where pictures `(..., 3)` of bytes show ground, near white: boolean, without the last axis."""
    return pictures.min(axis=-1) >= GROUND_LEVEL


def apply_views(pictures: Tensor, views: Views, others: Tensor | None = None) -> Tensor:
    """The views that were drawn, on the pictures' device; `views` may be on another.

    Args:
        pictures: `(pictures, side, side, 3)` uint8.
        others: where `views` has grounds, the pictures they are made of, like `pictures`: what is not near white is put on them; for catalogue pictures.

    Returns:
        Of the same shape, uint8.
    """
    views, found, at_once = views.to(pictures.device), torch.empty_like(pictures), AT_ONCE
    if pictures.device.type != "cpu":
        at_once = max(1, BYTES_AT_ONCE // pictures.shape[1:].numel())
    for first in range(0, len(pictures), at_once):
        part = slice(first, first + at_once)
        ground = _channels_first(others[part]) if others is not None else None
        found[part] = _applied(_channels_first(pictures[part]), views.some(part), ground)
    return found


def _applied(values: Tensor, views: Views, others: Tensor | None) -> Tensor:
    if views.grounds is not None and others is not None:
        darkest = torch.minimum(torch.minimum(values[:, :1], values[:, 1:2]), values[:, 2:])
        is_product = (darkest < GROUND_LEVEL).float()
        product = _moved(torch.cat([values * is_product, is_product], dim=1), views.moves, "zeros")
        share = product[:, 3:].clamp(0, 1)
        values = product[:, :3] + (1 - share) * _laid(others, views.grounds)
    else:
        values = _moved(values, views.moves, "reflection")
    return _lit(values, views.light).permute(0, 2, 3, 1)


def _channels_first(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2).float()


def _uniform(random: np.random.Generator, reach: float, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(random.uniform(-reach, reach, shape).astype(np.float32))


def _moves(count: int, config: AugmentationConfig, random: np.random.Generator) -> Tensor:
    """Affine maps `(count, 2, 3)` from a view's places to its picture's."""
    angle = _uniform(random, np.deg2rad(config.turn), (count,))
    zoom = 1 + _uniform(random, config.zoom, (count,))
    mirror = torch.from_numpy(
        np.where(random.random(count) < config.flip, -1.0, 1.0).astype(np.float32)
    )
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    rows = [
        torch.stack([cosine * mirror, -sine], dim=1),
        torch.stack([sine * mirror, cosine], dim=1),
    ]
    shift = _uniform(random, 2 * config.shift, (count, 2, 1))
    return torch.cat([torch.stack(rows, dim=1), shift], dim=2)


def _moved(values: Tensor, moves: Tensor, outside: str, side: int | None = None) -> Tensor:
    """`values` moved, at its own side or another, which is quicker where it is smaller."""
    side = side or values.shape[-1]
    grid = functional.affine_grid(moves, [*values.shape[:2], side, side], align_corners=False)
    return functional.grid_sample(values, grid, padding_mode=outside, align_corners=False)


def _laid(others: Tensor, grounds: Grounds) -> Tensor:
    side = others.shape[-1]
    ground = _moved(others[:, grounds.channels], grounds.moves, "reflection", (side + 1) // 2)
    ground = functional.interpolate(ground, size=(side, side), mode="bilinear")
    return grounds.share * ground + (1 - grounds.share) * grounds.colour + grounds.rough


def _grounds(
    count: int, side: int, random: np.random.Generator, noise: torch.Generator | None
) -> Grounds:
    others, channels = random.permutation(count), random.permutation(3)
    zoom = torch.from_numpy(random.uniform(0.1, 0.8, count).astype(np.float32))
    angle = _uniform(random, np.pi, (count,))
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    shift = _uniform(random, 0.4, (count, 2))
    rows = [
        torch.stack([cosine, -sine, shift[:, 0]], 1),
        torch.stack([sine, cosine, shift[:, 1]], 1),
    ]
    colour = torch.from_numpy(random.uniform(20, 255, (count, 3, 1, 1)).astype(np.float32))
    share = torch.from_numpy(random.uniform(0.2, 1.0, (count, 1, 1, 1)).astype(np.float32))
    rough = _rough((count, 3, side, side), random, noise)
    return Grounds(others, channels, torch.stack(rows, dim=1), colour, share, rough)


def _rough(
    shape: tuple[int, ...], random: np.random.Generator, noise: torch.Generator | None
) -> Tensor:
    if noise is None:
        return torch.from_numpy(random.integers(-ROUGH, ROUGH, shape, np.int8, endpoint=True))
    given = {"generator": noise, "device": noise.device, "dtype": torch.int8}
    return torch.randint(-ROUGH, ROUGH + 1, shape, **given)


def _light(count: int, config: AugmentationConfig, random: np.random.Generator) -> Light:
    contrast = 1 + _uniform(random, config.light, (count, 1, 1, 1))
    tint = 1 + _uniform(random, config.tint, (count, 3, 1, 1))
    return Light(contrast, tint, 255 * _uniform(random, config.light / 2, (count, 1, 1, 1)))


def _lit(values: Tensor, light: Light) -> Tensor:
    middle = values.mean(dim=(1, 2, 3), keepdim=True)
    values = ((values - middle) * light.contrast + middle + light.brightness) * light.tint
    return values.round().clamp(0, 255).to(torch.uint8)
