"""Pictures to what a vision tower takes: patches in the layout of Qwen3-VL's own image processor, or whole pictures as other processors give them.

Notable choices:
- Every picture is made one square size (bicubic, white margins where it is not square), so a batch of pictures is one dense tensor and the picture tower
  never loops over pictures. Margins keep the aspect ratio, as the processor does with sizes that differ from picture to picture: a product must not look
  narrower in the catalogue than in a shopper's photo.
- Pictures stay uint8 until the batch is built; a still picture's second frame (the family's temporal patch of 2) is not materialised, see `vision.py`.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class PictureLayout(Protocol):
    """How a picture becomes tokens."""

    @property
    def image_size(self) -> int:
        """Side of the square that every picture is resized to, in pixels."""
        ...

    @property
    def side(self) -> int:
        """Tokens along a side of a picture."""
        ...

    @property
    def num_leading(self) -> int:
        """Tokens before those of the picture's `side` x `side` places: a class token, registers."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens of a picture: `num_leading + side**2`."""
        ...

    def pixels(self, pictures: np.ndarray | Tensor) -> Tensor:
        """What the backbone takes, float32 `(pictures, ...)`, of pictures `(pictures, image_size, image_size, 3)` in uint8."""
        ...


class PatchLayout(NamedTuple):
    """How pictures become a Qwen-VL's patches.

    Attributes:
        image_size: side of the square every picture is resized to, in pixels; a multiple of `patch_size * merge`.
        patch_size: side of a patch in pixels.
        merge: patches along a side that are merged into one visual token.
        frames: temporal patch size of the backbone; a still picture is repeated.
        mean, std: normalisation per channel, of values in [0, 1].
    """

    image_size: int
    patch_size: int
    merge: int
    frames: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    @property
    def side(self) -> int:
        """Visual tokens along a side."""
        return self.grid // self.merge

    @property
    def num_tokens(self) -> int:
        """Visual tokens of a picture."""
        return self.side**2

    @property
    def num_leading(self) -> int:
        """None: every token has its place in the picture."""
        return 0

    def pixels(self, pictures: np.ndarray | Tensor) -> Tensor:
        """See `to_patches`."""
        return to_patches(pictures, self)


def square(picture: Image.Image, image_size: int) -> np.ndarray:
    """An RGB picture as `(image_size, image_size, 3)` uint8."""
    picture = picture.convert("RGB")
    if picture.size != (image_size, image_size):
        scale = image_size / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        fitted = picture.resize((width, height), Image.Resampling.BICUBIC)
        picture = Image.new("RGB", (image_size, image_size), (255, 255, 255))
        picture.paste(fitted, ((image_size - width) // 2, (image_size - height) // 2))
    return np.asarray(picture, dtype=np.uint8)


def as_bytes(pictures: np.ndarray | Sequence[np.ndarray] | Tensor) -> Tensor:
    """Pictures of one size as a tensor `(pictures, side, side, 3)` of bytes; a tensor stays where it is, on a GPU for instance."""
    if isinstance(pictures, Tensor):
        return pictures
    whole = pictures if isinstance(pictures, np.ndarray) else np.stack(list(pictures))
    return torch.from_numpy(np.ascontiguousarray(whole))


def to_patches(pictures: np.ndarray | Sequence[np.ndarray] | Tensor, layout: PatchLayout) -> Tensor:
    """Normalise and cut pictures into patches, ordered merge block by merge block as the backbone expects.

    Args:
        pictures: `(pictures, image_size, image_size, 3)` uint8, as arrays or as a tensor, on whose device the work is done.

    Returns:
        Float32 `(pictures, patches, 3 * patch_size**2)`, one frame.
    """
    pixels = as_bytes(pictures)
    whole = len(pixels)
    blocks, merge, patch = layout.side, layout.merge, layout.patch_size
    pixels = pixels.reshape(-1, blocks, merge, patch, blocks, merge, patch, 3)
    pixels = pixels.permute(0, 1, 4, 2, 5, 7, 3, 6)  # as bytes: four times as quick as after
    values = pixels.reshape(whole, layout.grid**2, 3 * patch**2).to(torch.float32)
    mean, std = (
        torch.tensor(of_channels, dtype=torch.float32).repeat_interleave(patch**2).to(values.device)
        for of_channels in (layout.mean, layout.std)
    )
    return values.div_(255).sub_(mean).div_(std)


def with_frames(patches: Tensor, layout: PatchLayout) -> Tensor:
    """The processor's `pixel_values`: each patch repeated over the frames, all pictures' patches in one list.

    Args:
        patches: `(pictures, patches, 3 * patch_size**2)`.

    Returns:
        `(pictures * patches, 3 * frames * patch_size**2)`.
    """
    pixels = patches.reshape(-1, 3, 1, layout.patch_size**2)
    return pixels.expand(-1, -1, layout.frames, -1).reshape(len(pixels), -1)
