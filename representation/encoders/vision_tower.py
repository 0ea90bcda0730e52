"""A vision tower by itself: what it makes of squares, how wide that is, and what its own files say of pictures."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from moon_rec.errors import EncoderError, first_line
from representation.encoders.checkpoint import settings_in
from representation.encoders.projections import MOST_SIDE, LockedConfig


def said_of_pictures(path: str | Path, vision: Any) -> dict[str, Any]:
    """Settings that the tower's own files name: side and normalisation of pictures."""
    about = settings_in(path, "preprocessor_config.json")
    said = {name: about[name] for name in ("image_mean", "image_std") if about.get(name)}
    side = getattr(vision.config, "image_size", None) or MOST_SIDE
    step = getattr(vision.config, "patch_size", None) or 1
    if not isinstance(side, int) or not isinstance(step, int):
        side, step = MOST_SIDE, 1
    return {**said, "image_size": max(min(side, MOST_SIDE) // step, 1) * step}


def seen(vision: Any, squares: Tensor, config: LockedConfig) -> Tensor:
    """Pooled states of squares `(pictures, side, side, 3)` uint8, at a length of the root of their width."""
    mean, std = (
        torch.tensor(each, device=squares.device)[:, None, None]
        for each in (config.image_mean, config.image_std)
    )
    found = vision(pixel_values=(squares.permute(0, 3, 1, 2).float() / 255 - mean) / std)
    pooled = getattr(found, "pooler_output", None)
    if pooled is None:
        pooled = found.last_hidden_state.mean(dim=1)
    pooled = pooled.float().reshape(len(squares), -1)
    return functional.normalize(pooled, dim=-1) * pooled.shape[1] ** 0.5


@torch.no_grad()
def width_of(vision: Any, config: LockedConfig) -> int:
    """Width of the tower's output, of a white picture.

    Raises:
        EncoderError: it cannot read a picture of that size.
    """
    side = config.image_size
    device = next(vision.parameters()).device
    white = torch.full((1, side, side, 3), 255, dtype=torch.uint8, device=device)
    try:
        return seen(vision.eval(), white, config).shape[1]
    except Exception as error:  # of a stranger's model, of any type
        raise EncoderError(
            f"the vision tower ({vision.config.model_type}) does not read pictures of {side} x {side}: {first_line(error)[:160]}; give another image_size"
        ) from None
