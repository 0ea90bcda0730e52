"""Matryoshka: the same loss on prefixes of the vectors, so that each prefix is an embedding by itself (Kusupati et al. 2022).

MOON serves several widths of one vector; which widths and which weights is not public. Here: the mean over the widths, weighed alike unless weights are given, each prefix at unit length again.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from representation.losses.bank import Bank


def matryoshka(
    loss: Callable[..., Tensor] | Sequence[Callable[..., Tensor]],
    queries: Tensor,
    items: Tensor,
    widths: Sequence[int],
    weights: Sequence[float] | None = None,
    bank: Bank | None = None,
) -> Tensor:
    """Weighted mean of `loss(queries[:, :width], items[:, :width])` over `widths`.

    Args:
        loss: called with two tensors, and with `bank=` the bank's prefix if there is a bank; one for all widths, or one a width.
        queries, items: `(batch, dim)` and `(items, dim)`; need not be at unit length.
        weights: one a width, all equal by default.
        bank: further negatives without gradient; its vectors are cut and scaled alike.
    """
    shares = torch.tensor(list(weights) if weights is not None else [1.0] * len(widths))
    shares = shares / shares.sum()
    losses = [loss] * len(widths) if callable(loss) else loss
    parts = []
    for share, width, loss_of_width in zip(shares.tolist(), widths, losses, strict=True):
        more = {} if bank is None else {"bank": Bank(_prefix(bank.vectors, width), bank.blocked)}
        parts.append(share * loss_of_width(_prefix(queries, width), _prefix(items, width), **more))
    return torch.stack(parts).sum()


def _prefix(vectors: Tensor, width: int) -> Tensor:
    return functional.normalize(vectors[:, :width], dim=-1)
