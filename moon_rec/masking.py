"""Softmax and mean over the real positions only: the one place where padding is dealt with.

`mask` is boolean and True means real. The fill is the dtype's own least value and the mask is applied again afterwards, so a row without any real
position gives zeros with zero gradient in float32, bfloat16 and float16 alike (a fixed constant such as -2**31 overflows to -inf and NaN in float16).
"""

import torch
from torch import Tensor


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the real positions of `dim`; zero elsewhere, and all zeros where no position is real.

    Args:
        scores: any shape.
        mask: boolean, broadcastable to `scores`.
    """
    filled = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return torch.softmax(filled, dim=dim) * mask.to(scores.dtype)


def masked_mean(values: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean of the real positions along `dim`; zero where no position is real.

    Args:
        values: `(..., length, ..., width)`, `length` at `dim`.
        mask: boolean, of the shape of `values` without its last dimension.
    """
    weights = mask.unsqueeze(-1)
    total = values.masked_fill(~weights, 0).sum(dim=dim)
    return total / weights.sum(dim=dim).clamp(min=1).to(values.dtype)
