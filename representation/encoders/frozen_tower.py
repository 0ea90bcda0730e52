"""What a frozen vision tower hands the language model behind it, computed once for each picture.

A picture goes through the tower alone, in float32, whether it is kept or not, so that the same bits come either way (`frozen_features.py`); altered views are never seen
twice and not kept. On disk a file belongs to the tower's weights, the pictures' size and the shop. A picture of 9 tokens of 1,280 numbers takes 46 kB.
"""

import copy
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from moon_rec.files import DIGEST_DIGITS
from representation.encoders.frame_inputs import in_float32
from representation.encoders.frozen_features import FrozenFeatures
from representation.model.backbone import Backbone, part_of


class FrozenTower:
    """The states of a backbone's vision tower, kept by the pixels of a square.

    Args:
        backbone: its tower must stay as it is; what lies behind it may move.
    """

    def __init__(self, backbone: Backbone) -> None:
        module = backbone.module
        shared = {id(each): each for each in (*module.parameters(), *module.buffers())}
        # the same weights; whether the module trains, and by which kernel, is its own affair
        self._backbone = backbone.with_module(copy.deepcopy(module, shared).eval())
        side = backbone.layout.image_size
        blank = self._states(np.zeros((side, side, 3), np.uint8))
        self._shapes = [tuple(each.shape[1:]) for each in blank]
        width = sum(each.numel() for each in blank)
        self._features = FrozenFeatures(self._flat, width)

    def __len__(self) -> int:
        return len(self._features)

    def of(self, pictures: np.ndarray | Tensor) -> list[Tensor]:
        """States of squares `(pictures, side, side, 3)` uint8, as `Backbone.tower_states` gives them, float32 on the processor: kept ones, and others computed now."""
        squares = pictures.cpu().numpy() if isinstance(pictures, Tensor) else pictures
        flat = self._features.of(list(squares))
        parts = flat.split([int(np.prod(shape)) for shape in self._shapes], dim=1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def remember(
        self,
        count: int,
        take: Callable[[int, int], np.ndarray],
        what: str,
        folder: Path | None,
        shop_digest: str,
    ) -> None:
        """Compute the states of `count` pictures ahead and keep them; arguments as of `Remembers.remember`."""
        file = None
        if folder is not None:
            side = self._backbone.layout.image_size
            file = folder / f"{self._digest()}-{side}-{shop_digest}.safetensors"
        self._features.remember(count, lambda first, end: list(take(first, end)), what, file)

    @torch.no_grad()
    def _states(self, square: np.ndarray) -> Sequence[Tensor]:
        device = self._backbone.module.device
        with in_float32(device):
            pixels = self._backbone.layout.pixels(square[None]).to(device)
            return self._backbone.tower_states(pixels)

    def _flat(self, square: np.ndarray) -> Tensor:
        return torch.cat([each.flatten(1).float() for each in self._states(square)], dim=1)

    def _digest(self) -> str:
        """16 hex digits of the tower's weights and how pictures are normalised."""
        state = hashlib.sha256(repr((self._backbone.layout, self._shapes)).encode())
        for name, values in sorted(self._backbone.module.state_dict().items()):
            if part_of(name) == "vision":
                flat = values.detach().cpu().reshape(-1).view(torch.uint8)
                state.update(f"{name}{values.dtype}{tuple(values.shape)}".encode())
                state.update(flat.numpy().data)
        return state.hexdigest()[:DIGEST_DIGITS]
