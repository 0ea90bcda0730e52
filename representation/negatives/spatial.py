"""Spatial negatives: the items of all ranks, gathered with their gradients.

MOON's second post-training stage gathers embeddings from the other GPUs (MOON technical report, spatial-temporal negative sampling). A rank scores its own queries
against everyone's items, so the loss of each rank pulls on vectors that others own: backward, these pulls are summed and handed to their owner. With a mean
loss on every rank and gradients averaged over ranks, as DDP does, training is then that of one process holding the whole batch.
Ranks may hold different numbers of rows. One process: everything is itself.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable


def gather(vectors: Tensor) -> Tensor:
    """All ranks' vectors in the order of ranks, `(items of all ranks, dim)`; gradients flow back to their owners, summed over ranks.

    Every rank must call it the same number of times, forward and backward.
    """
    if not _many():
        return vectors
    return _Gather.apply(vectors, _lengths(vectors))  # type: ignore[no-any-return]


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _lengths(values: Tensor) -> list[int]:
    own = torch.tensor([len(values)], device=values.device)
    found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(found, own)
    return torch.cat(found).tolist()


def _concatenated(values: Tensor, lengths: list[int]) -> Tensor:
    """Padded to the longest for the exchange: not every backend gathers unequal pieces."""
    padded = values.new_zeros((max(lengths), *values.shape[1:]))
    padded[: len(values)] = values
    pieces = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(pieces, padded)
    return torch.cat([piece[:length] for piece, length in zip(pieces, lengths, strict=True)])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, vectors: Tensor, lengths: list[int]) -> Tensor:
        ctx.lengths = lengths
        return _concatenated(vectors.detach(), lengths)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        rank = dist.get_rank()
        first = sum(ctx.lengths[:rank])
        return total[first : first + ctx.lengths[rank]], None
