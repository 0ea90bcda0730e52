"""Stored vectors as the device reads them."""

import torch
from torch import Tensor


def unit_vectors(stored: Tensor) -> Tensor:
    """Vectors `(..., dim)` in any precision as float32 of unit length; zero stays zero."""
    vectors = stored.to(torch.float32, copy=True)
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors.div_(lengths.clamp_min_(torch.finfo(torch.float32).tiny))
