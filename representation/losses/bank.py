"""A bank of negatives without gradient, and its log-sum-exp in one pass, value and gradient together.

Negatives from a queue outnumber the batch 200 to 1 and take no gradient themselves. So the scores of the bank are never kept: a chunk at a time they are made,
exponentiated, summed, and turned at once into the gradient with respect to the queries, which is the mean of the bank under the softmax. Memory is
batch x chunk instead of batch x negatives, once forward, nothing backward. Notable choices:
- Each chunk has its own softmax, and chunks are joined by their log-sum-exps (as in online softmax), so no score overflows at any temperature.
- The function is of queries already divided by the temperature: the gradient with respect to the temperature follows by the chain rule outside.
- Circle loss weighs each score by itself. Such a `logit` gives its own slope, and the same pass serves it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from representation.losses.similarity import full_precision

CHUNK = 2048
"""Columns of the bank taken at once on a processor: scores of 128 queries fill 1 MB, about a core's cache."""

DEVICE_CHUNK = 16 * CHUNK
"""The same on other devices, where few large steps are faster than many small ones; not measured."""

Logit = Callable[[Tensor, Tensor], None]
"""Turns cosines `(batch, chunk)`, in place, into exponents, and writes their slopes into the second tensor."""


class Bank(NamedTuple):
    """Negatives besides the batch's items.

    Attributes:
        vectors: `(negatives, dim)` unit vectors; no gradient flows to them.
        blocked: `(batch, negatives)` boolean, True where an entry is no negative of that query.
    """

    vectors: Tensor
    blocked: Tensor


class Asking(NamedTuple):
    """The queries of a whole batch, of which a process scores its own against everyone's items.

    Attributes:
        vectors: `(batch, dim)`, those of the other processes too, with gradient.
        blocked: `(batch, own)` boolean, True where a process's own item is no negative of that query.
    """

    vectors: Tensor
    blocked: Tensor


def bank_logsumexp(queries: Tensor, bank: Bank, logit: Logit | None = None) -> Tensor:
    """Log of the sum of exp(query . entry) over the entries that are not blocked, `(batch,)`; -inf where all are.

    Args:
        queries: `(batch, dim)`, divided by the temperature where there is one.
        logit: weighs the scores before they are exponentiated.
    """
    assert not bank.vectors.requires_grad, "a bank takes no gradient: detach its vectors"
    return _LogSumExp.apply(full_precision(queries), *bank, logit)  # type: ignore[no-any-return]


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, vectors: Tensor, blocked: Tensor, logit: Logit | None
    ) -> Tensor:
        least = torch.finfo(queries.dtype).min / 4  # -inf would give NaN in a chunk all blocked
        result, mean = queries.new_full((len(queries), 1), least), torch.zeros_like(queries)
        size = CHUNK if queries.device.type == "cpu" else DEVICE_CHUNK
        rooms = [queries.new_empty(len(queries), min(size, len(vectors))) for _ in range(3)]
        with torch.autocast(queries.device.type, enabled=False):
            for first in range(0, len(vectors), size):
                chunk = vectors[first : first + size].to(queries.dtype)
                scores, shares, slopes = (room[:, : len(chunk)] for room in rooms)
                torch.mm(queries, chunk.T, out=scores)
                if logit is not None:
                    logit(scores, slopes)
                scores.masked_fill_(blocked[:, first : first + size], least)
                torch.softmax(scores, dim=1, out=shares)
                greatest = shares.amax(dim=1, keepdim=True)
                of_chunk = scores.amax(dim=1, keepdim=True) - greatest.log()
                both = torch.logaddexp(result, of_chunk)
                if ctx.needs_input_grad[0]:
                    weights = shares if logit is None else shares.mul_(slopes)
                    mean.mul_((result - both).exp_())
                    mean.addcmul_((of_chunk - both).exp_(), weights @ chunk)
                result = both
        is_empty = result < least / 2
        ctx.save_for_backward(mean.masked_fill_(is_empty, 0.0))
        return result.masked_fill(is_empty, -torch.inf).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (mean,) = ctx.saved_tensors
        return gradient[:, None] * mean, None, None, None
