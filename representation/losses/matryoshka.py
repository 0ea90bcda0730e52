"""Matryoshka: the same loss on prefixes of the vectors, so that each prefix is an embedding by itself (Kusupati et al. 2022).

MOON serves several widths of one vector; which widths and which weights is not public. Here: the mean over the widths, each prefix at unit length again.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional


def matryoshka(
    loss: Callable[[Tensor, Tensor], Tensor],
    queries: Tensor,
    items: Tensor,
    widths: Sequence[int],
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Weighted mean of `loss(queries[:, :width], items[:, :width])` over `widths`.

    Args:
        queries, items: `(batch, dim)` and `(items, dim)`; need not be at unit length.
        weights: one a width, all equal by default.
    """
    shares = torch.tensor(list(weights) if weights is not None else [1.0] * len(widths))
    shares = shares / shares.sum()
    parts = [
        share * loss(_prefix(queries, width), _prefix(items, width))
        for share, width in zip(shares.tolist(), widths, strict=True)
    ]
    return torch.stack(parts).sum()


def _prefix(vectors: Tensor, width: int) -> Tensor:
    return functional.normalize(vectors[:, :width], dim=-1)
