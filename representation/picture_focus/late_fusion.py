"""NoteLLM-2's late fusion: the vision tower's own output goes past the language model, and a gate mixes it into the vector (arXiv 2405.16789).

    v  = W_v r                          r what the vision tower made of the picture, in the language model's width
    z  = sigmoid(W_z [n, v])
    n^ = z * n + (1 - z) * v + n        n a row's state before it is brought to unit length; * by number

The formula is that of the authors' published code; the last "+ n" is left out with `keep_state = False`. Ours -> theirs: `picture` -> W_v, `gate` -> W_z; neither has a bias. Notable choices, ours:
- r is the mean of the tower's states over the picture's tokens, divided by the root of its mean square: the paper takes CLIP's class token, which SigLIP and Qwen-VL
  have not, and towers differ in size a hundredfold. Of a Qwen-VL it is what its merger gives, which is part of its tower.
- W_v and W_z start at zero. Then z is a half, v is zero, and n^ points where n does: an encoder starts as it was, to rounding. Both have gradients from the first step.
- A row without a picture keeps its state, to the bit.
"""

from typing import Any

import torch
from torch import Tensor, nn

from moon_rec.errors import EncoderError
from representation.fusion.evened import evened
from representation.picture_focus.config import LateFusionConfig

NAME = "late_fusion"
"""Of the part in a backbone's module."""


class LateFusion(nn.Module):
    """The gate and the projection of what the tower saw."""

    def __init__(self, tower_dim: int, dim: int, config: LateFusionConfig) -> None:
        """
        Args:
            tower_dim: width of the tower's states.
            dim: width of the language model's.
        """
        super().__init__()
        self.config = config
        self.picture = nn.Linear(tower_dim, dim, bias=False)
        self.gate = nn.Linear(2 * dim, dim, bias=False)
        for layer in (self.picture, self.gate):
            nn.init.zeros_(layer.weight)

    def forward(self, vectors: Tensor, seen: Tensor, has_picture: Tensor) -> Tensor:
        """Fused vectors `(batch, dim)`, in the dtype of `vectors`.

        Args:
            vectors: `(batch, dim)`, not at unit length.
            seen: the mean of the tower's states of each row's pictures, `(batch, tower_dim)`; whatever where there is none.
            has_picture: `(batch,)` boolean.
        """
        dtype = self.picture.weight.dtype
        picture = self.picture(evened(seen, dtype))
        share = self.gate(torch.cat([vectors.to(dtype), picture], dim=1)).sigmoid()
        share, picture = share.to(vectors.dtype), picture.to(vectors.dtype)
        fused = share * vectors + (1 - share) * picture
        if self.config.keep_state:
            fused = fused + vectors
        return torch.where(has_picture[:, None], fused, vectors)


def seen_by_row(states: Tensor, num_pictures: Tensor) -> Tensor:
    """The mean of tower states of each row's pictures, `(batch, tower_dim)`, zeros where it has none.

    Args:
        states: `(pictures, tokens, tower_dim)`, in the order of rows.
        num_pictures: `(batch,)`, how many of them each row has.
    """
    rows = torch.arange(len(num_pictures), device=states.device)
    row_of = rows.repeat_interleave(num_pictures, output_size=len(states))
    means = states.float().mean(dim=1)
    total = means.new_zeros(len(num_pictures), means.shape[1]).index_add(0, row_of, means)
    return total / num_pictures.clamp(min=1)[:, None]


def late_fusion_of(module: nn.Module) -> LateFusion | None:
    """The late fusion that was put into a backbone's module; None: it has none."""
    return getattr(module, NAME, None)


def put_late_fusion(module: Any, config: LateFusionConfig) -> None:
    """Put a new late fusion, of zeros, into a backbone's module, in place.

    Raises:
        EncoderError: it has one already.
    """
    if late_fusion_of(module) is not None:
        raise EncoderError(
            "the encoder has late_fusion already; leave it out, or start from an encoder without"
        )
    projector = getattr(module.model, "multi_modal_projector", None)
    tower_dim = (
        module.config.vision_config.out_hidden_size
        if projector is None
        else projector.linear_1.in_features
    )
    made = LateFusion(tower_dim, module.config.text_config.hidden_size, config)
    weight = next(module.model.language_model.parameters())
    setattr(module, NAME, made.to(weight.device, weight.dtype).train(module.training))
