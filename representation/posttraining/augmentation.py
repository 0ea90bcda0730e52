"""Altered views of pictures: turned, cropped, re-lit, on another ground.

The report trains on billions of logged photos; a small shop's log holds thousands, seen again and again. Altering them anew each time, and making further
photos out of catalogue pictures, is a choice of ours (MOON2.0 has images of another ground and viewpoint made by an editing model; this is the plain form of it).
Nothing here knows how any shop's photos came about.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from moon_rec.config import Config

GROUND_LEVEL = 232
"""A catalogue picture's pixel with all channels at least this bright counts as ground."""


class AugmentationConfig(Config):
    """How far a view may differ from its picture; 0 everywhere leaves it as it is.

    Mild by default. With twice as much and mirror images, a model of 2 M parameters had not caught up after 300 steps: photo to own product among 4,441,
    recall@10 .14, against .27 with less.
    """

    turn: float = Field(default=15.0, ge=0, description="degrees to either side")
    zoom: float = Field(
        default=0.2, ge=0, lt=1, description="larger or smaller by up to this share"
    )
    shift: float = Field(default=0.08, ge=0, lt=1, description="share of the side")
    flip: float = Field(default=0.0, ge=0, le=1, description="share of pictures mirrored")
    light: float = Field(
        default=0.2, ge=0, lt=1, description="brightness and contrast, up to this share"
    )
    tint: float = Field(default=0.05, ge=0, lt=1, description="each channel, up to this share")


def altered(
    pictures: np.ndarray, config: AugmentationConfig, random: np.random.Generator, new_ground: bool
) -> np.ndarray:
    """A view of each picture.

    Args:
        pictures: `(pictures, side, side, 3)` uint8.
        new_ground: put what is not near white on a ground made of another picture of the batch; for catalogue pictures.

    Returns:
        Of the same shape, uint8.
    """
    count = len(pictures)
    values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    moves = _moves(count, config, random)
    if new_ground:
        is_product = (values.min(dim=1, keepdim=True).values < GROUND_LEVEL).float()
        product = _moved(torch.cat([values * is_product, is_product], dim=1), moves, "zeros")
        share = product[:, 3:].clamp(0, 1)
        values = product[:, :3] + (1 - share) * _grounds(values, random)
    else:
        values = _moved(values, moves, "reflection")
    return _lit(values, config, random).permute(0, 2, 3, 1).contiguous().numpy()


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


def _moved(values: Tensor, moves: Tensor, outside: str) -> Tensor:
    grid = functional.affine_grid(moves, list(values.shape), align_corners=False)
    return functional.grid_sample(values, grid, padding_mode=outside, align_corners=False)


def _grounds(values: Tensor, random: np.random.Generator) -> Tensor:
    """A ground for each picture: a patch of some other picture, enlarged, with its colours turned and its light changed."""
    count, side = len(values), values.shape[-1]
    others = values[random.permutation(count)][:, random.permutation(3)]
    zoom = torch.from_numpy(random.uniform(0.1, 0.8, count).astype(np.float32))
    angle = _uniform(random, np.pi, (count,))
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    shift = _uniform(random, 0.4, (count, 2))
    rows = [
        torch.stack([cosine, -sine, shift[:, 0]], 1),
        torch.stack([sine, cosine, shift[:, 1]], 1),
    ]
    ground = _moved(others, torch.stack(rows, dim=1), "reflection")
    colour = torch.from_numpy(random.uniform(20, 255, (count, 3, 1, 1)).astype(np.float32))
    share = torch.from_numpy(random.uniform(0.2, 1.0, (count, 1, 1, 1)).astype(np.float32))
    rough = torch.from_numpy(random.normal(0, 12, (count, 3, side, side)).astype(np.float32))
    return share * ground + (1 - share) * colour + rough


def _lit(values: Tensor, config: AugmentationConfig, random: np.random.Generator) -> Tensor:
    count = len(values)
    contrast = 1 + _uniform(random, config.light, (count, 1, 1, 1))
    tint = 1 + _uniform(random, config.tint, (count, 3, 1, 1))
    brightness = 255 * _uniform(random, config.light / 2, (count, 1, 1, 1))
    middle = values.mean(dim=(1, 2, 3), keepdim=True)
    values = ((values - middle) * contrast + middle + brightness) * tint
    return values.round().clamp(0, 255).to(torch.uint8)
