"""Vision and text towers that are trained, for `benchmarks.title_to_picture`, and the alterations of pictures that keep them from learning pictures by heart.

Pictures are frames of `FRAME` as the shop publishes them, not squares: no margin is computed. Notable choices:
- On a processor (`LateTower`) EfficientNet-Lite0's first blocks, where a picture is large, stay as they are: their states are computed once for the plain picture and for some altered views of
  it, and kept. The blocks that follow have so few places that each is written as matrix products: a depthwise convolution is one small matrix a channel, whose entries are the kernel's taps. The
  numbers are those of the convolutions; in bfloat16 a training step takes 2.1 ms a picture of 96 x 72 where the convolutions take 7.1 in float32 and 14 in bfloat16.
- On a GPU (`WholeTower`) any tower is trained whole, of pictures altered anew at each step.
- Batch normalisation is by its running statistics and goes into the weights of the convolution before it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from representation.model.efficientnet_lite import EfficientNetLiteModel, RunningNorm

FRAME = (80, 60)
"""Height and width of a picture as published."""
FIRST_LATE = 12
"""Of EfficientNet-Lite0's blocks, the first that is trained on a processor; its states are a 32nd of the picture a side."""
CHUNK = 128


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames `(n, height, width, 3)` uint8 -> `(n, 3, *size)` in [0, 1]."""
    found = pictures.permute(0, 3, 1, 2).float() / 255
    return functional.interpolate(found, size, mode="bicubic", align_corners=False).clamp(0, 1)


def altered(pictures: Tensor, size: tuple[int, int], random: torch.Generator) -> Tensor:
    """As `resized`, each mirrored or not, moved, turned, stretched and lit otherwise by chance, white coming in. The generator is the device's."""
    count, device = len(pictures), pictures.device

    def between(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=random, device=device) * (high - low) + low

    mirror = between(-1, 1).sign()
    scale, stretch, turn = between(0.88, 1.12), between(0.95, 1.05), between(-0.1, 0.1)
    across, down = between(-0.08, 0.08), between(-0.08, 0.08)
    cosine, sine = turn.cos() * scale, turn.sin() * scale
    first = torch.stack([mirror * cosine * stretch, -sine, across], dim=1)
    second = torch.stack([mirror * sine, cosine / stretch, down], dim=1)
    places = functional.affine_grid(
        torch.stack([first, second], dim=1), [count, 3, *size], align_corners=False
    )
    white_is_0 = 1 - pictures.permute(0, 3, 1, 2).float() / 255
    moved = 1 - functional.grid_sample(white_is_0, places, align_corners=False)
    contrast, light = (
        between(low, high)[:, None, None, None] for low, high in ((0.85, 1.15), (0.9, 1.1))
    )
    return (((moved - 0.5) * contrast + 0.5) * light).clamp(0, 1)


def normalised(pictures: Tensor, mean: Any, std: Any) -> Tensor:
    """By channel."""
    by, over = (torch.tensor(each, device=pictures.device)[:, None, None] for each in (mean, std))
    return (pictures - by) / over


class _Pointwise(nn.Module):
    """A 1x1 convolution and its normalisation, of states `(channels, places)`."""

    def __init__(self, convolution: nn.Conv2d, norm: RunningNorm, is_bounded: bool) -> None:
        super().__init__()
        self.weight, self.bias = folded(convolution, norm)
        self.is_bounded = is_bounded

    def forward(self, states: Tensor) -> Tensor:
        found = torch.addmm(self.bias[:, None], self.weight, states)
        return functional.relu6(found) if self.is_bounded else found


class _Depthwise(nn.Module):
    """A depthwise convolution of a `height` x `width` grid as one matrix a channel."""

    def __init__(self, convolution: nn.Conv2d, norm: RunningNorm, grid: tuple[int, int]) -> None:
        super().__init__()
        self.weight, self.bias = folded(convolution, norm)
        taps, self.grid = taps_of(grid, convolution.kernel_size[0], convolution.stride[0])
        self.places = grid[0] * grid[1]
        self.taps: Tensor
        self.register_buffer("taps", taps.flatten(1), persistent=False)

    def forward(self, states: Tensor) -> Tensor:
        channels = len(states)
        matrices = (self.weight @ self.taps).view(channels, self.places, -1)
        found = torch.bmm(states.view(channels, -1, self.places), matrices)
        return functional.relu6(found + self.bias.to(found.dtype)[:, None, None]).view(channels, -1)


def folded(convolution: nn.Conv2d, norm: RunningNorm) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight `(out, inputs * taps)` and bias `(out,)` of a convolution with the normalisation that follows it."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight = (convolution.weight * scale[:, None, None, None]).flatten(1)
    bias = norm.bias - norm.running_mean * scale
    return nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())


def taps_of(grid: tuple[int, int], kernel: int, stride: int) -> tuple[Tensor, tuple[int, int]]:
    """Which tap leads from a place to a place `(kernel**2, places, places after)`, 0 or 1, zeros laid around as `SameConv` does; and the grid after."""
    after = tuple(-(-side // stride) for side in grid)
    before = [
        max((many - 1) * stride + kernel - side, 0) // 2
        for side, many in zip(grid, after, strict=True)
    ]
    found = torch.zeros(kernel, kernel, *grid, *after)
    for y, x in np.ndindex(*after):
        for down, right in np.ndindex(kernel, kernel):
            row, column = y * stride + down - before[0], x * stride + right - before[1]
            if 0 <= row < grid[0] and 0 <= column < grid[1]:
                found[down, right, row, column, y, x] = 1
    return found.view(kernel**2, grid[0] * grid[1], -1), (after[0], after[1])


class LateBlocks(nn.Module):
    """EfficientNet-Lite0 from its block number `first` on, of states `(pictures, channels * places)` -> the mean of its last states `(pictures, 1280)`."""

    def __init__(
        self, model: EfficientNetLiteModel, size: tuple[int, int], first: int = FIRST_LATE
    ) -> None:
        super().__init__()
        grid: tuple[int, int] = size
        layers: list[Any] = list(model.blocks)
        for layer in (model.stem, *(block.depthwise for block in layers[:first])):
            grid = (-(-grid[0] // layer.stride[0]), -(-grid[1] // layer.stride[0]))
        self.places, blocks, self._is_residual = grid[0] * grid[1], [], []
        for block in layers[first:]:
            deep = _Depthwise(block.depthwise, block.depthwise_norm, grid)
            wide = _Pointwise(block.expand, block.expand_norm, True)
            blocks.append(
                nn.Sequential(wide, deep, _Pointwise(block.project, block.project_norm, False))
            )
            self._is_residual.append(block.is_residual)
            grid = deep.grid
        self.blocks = nn.ModuleList(blocks)
        self.head = _Pointwise(model.head, model.head_norm, True)
        self.last = grid[0] * grid[1]

    def forward(self, states: Tensor) -> Tensor:
        return self.with_places(states, 0)[0]

    def with_places(self, states: Tensor, after: int) -> tuple[Tensor, Tensor]:
        """As `forward`, and the states after so many of these blocks `(pictures, places, channels)`."""
        count = len(states)
        inner = states.view(count, -1, self.places).transpose(0, 1).flatten(1)
        inner = inner.to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)  # fmt: skip
        seen = inner
        for done, (block, is_residual) in enumerate(zip(self.blocks, self._is_residual, strict=True), 1):  # fmt: skip
            inner = inner + block(inner) if is_residual else block(inner)
            seen = inner if done == after else seen
        pooled = self.head(inner).view(-1, count, self.last).float().mean(dim=2).T
        return pooled, seen.view(len(seen), count, -1).permute(1, 2, 0)


def early_states(model: EfficientNetLiteModel, pictures: Tensor, first: int = FIRST_LATE) -> Tensor:
    """States before block `first` `(pictures, channels * places)` in float16, of normalised pictures."""
    states = functional.relu6(model.stem_norm(model.stem(pictures)))
    for block in list(model.blocks)[:first]:
        states = block(states)
    return states.flatten(1).half()


class LateTower(nn.Module):
    """EfficientNet-Lite0 on a processor: early states of some views kept, late blocks trained.

    Args:
        views: for each view, `(products, channels * places)`; the first is of plain pictures.
        outputs: for each view, what the late blocks made of it before training `(products, 1280)`.

    Attributes:
        is_still: give `outputs`, while what follows learns the beginning.
    """

    def __init__(
        self, late: LateBlocks, views: list[np.ndarray], outputs: list[np.ndarray]
    ) -> None:
        super().__init__()
        self.late, self._views, self._outputs, self.is_still = late, views, outputs, False

    def forward(self, rows: Tensor, random: torch.Generator | None) -> Tensor:
        """Outputs `(rows, 1280)`; of a view by chance where there is a generator, else of the plain pictures."""
        view = 0
        if random is not None:
            view = int(torch.randint(len(self._views), (), generator=random))
        if self.is_still:
            return torch.from_numpy(self._outputs[view][rows.numpy()]).float()
        return self.late(torch.from_numpy(self._views[view][rows.numpy()]))


class WholeTower(nn.Module):
    """Any vision tower, trained whole on the device of its weights."""

    def __init__(self, model: Any, size: tuple[int, int], about: Any, pictures: Tensor) -> None:
        super().__init__()
        self.model, self._size, self._about, self._pictures = model, size, about, pictures

    def forward(self, rows: Tensor, random: torch.Generator | None) -> Tensor:
        """Pooled states `(rows, width)`; of pictures altered by the generator, or plain ones."""
        chosen = self._pictures[rows.to(self._pictures.device)]
        seen = (
            resized(chosen, self._size) if random is None else altered(chosen, self._size, random)
        )
        found = self.model(
            pixel_values=normalised(seen, self._about.image_mean, self._about.image_std)
        )
        return found.pooler_output.float()


def make_views(
    model: Any, frames: np.ndarray, size: tuple[int, int], about: Any, seed: int | None
) -> np.ndarray:
    """Early states of plain frames, or of frames altered by `seed`, in batches and bfloat16."""
    random = torch.Generator().manual_seed(seed) if seed is not None else None
    found = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for first in range(0, len(frames), CHUNK):
            part = torch.from_numpy(frames[first : first + CHUNK])
            shown = resized(part, size) if random is None else altered(part, size, random)
            shown = normalised(shown, about.image_mean, about.image_std)
            found.append(early_states(model, shown.to(memory_format=torch.channels_last)).numpy())
    return np.concatenate(found)
