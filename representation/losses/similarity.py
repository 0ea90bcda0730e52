"""Cosines of queries and items in full precision, which all losses start from."""

import torch
from torch import Tensor


def similarities(queries: Tensor, items: Tensor) -> Tensor:
    """Dot products `(batch, items)` in float32 or better, also of bfloat16 vectors and within an autocast region.

    Args:
        queries, items: `(batch, dim)` and `(items, dim)`; cosines if all are unit vectors.
    """
    with torch.autocast(queries.device.type, enabled=False):
        return full_precision(queries) @ full_precision(items).T


def full_precision(vectors: Tensor) -> Tensor:
    """The same in float32, or as it is in float64."""
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def mean_of(losses: Tensor, weights: Tensor | None) -> Tensor:
    """The mean over the batch of `(batch,)` losses, a scalar, each multiplied by its weight where there are some; weights change no other's share."""
    return losses.mean() if weights is None else (losses * weights).mean()


def positive_columns(queries: Tensor, positives: Tensor | None) -> Tensor:
    """The column of each query's positive, `(batch,)` int64: the one given, else query i's is column i."""
    if positives is None:
        return torch.arange(len(queries), device=queries.device)
    return positives.to(queries.device)
