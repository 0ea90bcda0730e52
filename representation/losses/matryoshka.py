"""Matryoshka: the same loss on prefixes of the vectors, so that each prefix is an embedding by itself (Kusupati et al. 2022).

MOON serves several widths of one vector; which widths and which weights is not public. Here: the mean over the widths, weighed alike unless weights are given, each prefix at unit length again.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from representation.losses.bank import Asking, Bank


def matryoshka(
    loss: Callable[..., Tensor] | Sequence[Callable[..., Tensor]],
    queries: Tensor,
    items: Tensor,
    widths: Sequence[int],
    weights: Sequence[float] | None = None,
    bank: Bank | None = None,
    asking: Asking | None = None,
) -> Tensor:
    """Weighted mean of `loss(queries[:, :width], items[:, :width])` over `widths`.

    Args:
        loss: called with two tensors, and with `bank=` and `asking=` the prefixes of what is given of them; one for all widths, or one a width.
        queries, items: `(batch, dim)` and `(items, dim)`; need not be at unit length.
        weights: one a width, all equal by default.
        bank, asking: further negatives without gradient, the whole batch's queries; their vectors are cut and scaled alike.
    """
    shares = torch.tensor(list(weights) if weights is not None else [1.0] * len(widths))
    shares = shares / shares.sum()
    losses = [loss] * len(widths) if callable(loss) else loss
    given = {name: one for name, one in (("bank", bank), ("asking", asking)) if one is not None}
    parts = []
    for share, width, loss_of_width in zip(shares.tolist(), widths, losses, strict=True):
        more = {
            name: one._replace(vectors=_prefix(one.vectors, width)) for name, one in given.items()
        }
        parts.append(share * loss_of_width(_prefix(queries, width), _prefix(items, width), **more))
    return torch.stack(parts).sum()


def _prefix(vectors: Tensor, width: int) -> Tensor:
    return functional.normalize(vectors[:, :width], dim=-1)
