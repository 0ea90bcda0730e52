"""States of one size: what both of MOON3.0's parts compare and mix."""

import torch
from torch import Tensor
from torch.nn import functional

LEAST_SQUARE = 1e-6
"""Added to the mean square, as language models of the day do."""


def evened(states: Tensor, dtype: torch.dtype) -> Tensor:
    """States `(..., dim)` divided by the root of their mean square, worked out in float32 or wider, in `dtype`; zeros stay zeros."""
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    return functional.rms_norm(wide, wide.shape[-1:], eps=LEAST_SQUARE).to(dtype)
