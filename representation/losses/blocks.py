"""A loss taken over a large batch, block by block of its queries, so that its scores never stand in memory at once.

Scores are batch x items: with gradient caching (`representation.training.gradient_cache`) they are what still grows with the square of the batch. Queries are independent of
each other in a loss from query to item, so its mean is a weighted mean over blocks; each block's scores are made again in the backward pass. Notable choice:
- Nothing new is kept while blocks are gone through, forward or backward: values and gradients go into tensors that were made before. Were something small kept of each
  block (as `torch.utils.checkpoint` keeps it), it would lie where scores were freed, the next block's would not fit there, and the C library's heap would grow by nearly
  all of them: 2.8 GiB at 16,384 rows of 64, where 20 MiB are in use (benchmarks/results/2026-11-26-memory.json).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from representation.losses.bank import Bank
from representation.losses.similarity import full_precision, positive_columns


def by_blocks(loss: Callable[..., Tensor], size: int) -> Callable[..., Tensor]:
    """The same loss, same value and gradients, in the memory of `size` queries.

    Args:
        loss: a mean over queries, called as `infonce` and `circle` are; not `symmetric`, for that half is no mean over queries. Settings of it that take a
            gradient, such as a temperature, are scalars and keywords of a `functools.partial`.
        size: queries at a time, at least 1.
    """
    settings: dict[str, Any] = getattr(loss, "keywords", {})
    assert size >= 1 and not settings.get("symmetric", False)
    learnt = {name: value for name, value in settings.items() if isinstance(value, Tensor)}

    def in_blocks(
        queries: Tensor,
        items: Tensor,
        *,
        blocked: Tensor | None = None,
        positives: Tensor | None = None,
        bank: Bank | None = None,
        siblings: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        columns = positive_columns(queries, positives)
        by_query = {"siblings": siblings, "weights": weights}

        def of_block(rows: slice, queries: Tensor, items: Tensor, *others: Tensor) -> Tensor:
            return loss(
                queries,
                items,
                blocked=None if blocked is None else blocked[rows],
                positives=columns[rows],
                bank=None if bank is None else Bank(bank.vectors, bank.blocked[rows]),
                **{name: one[rows] for name, one in by_query.items() if one is not None},
                **dict(zip(learnt, others, strict=True)),
            )

        blocks = _Blocks(of_block, len(queries), size)
        values = blocks.values(queries, items, *learnt.values())
        parts = [
            _Block.apply(value, rows, blocks, queries, items, *learnt.values())
            * ((rows.stop - rows.start) / len(queries))
            for value, rows in zip(values, blocks.rows, strict=True)
        ]
        return torch.stack(parts).sum()

    return in_blocks


class _Blocks:
    """The blocks of one loss, and the sums of their gradients with respect to queries and items.

    Args:
        of_block: a block's loss from its rows, its queries, all items and the settings that take a gradient.
    """

    def __init__(self, of_block: Callable[..., Tensor], count: int, size: int) -> None:
        self.of_block = of_block
        self.rows = [slice(first, min(first + size, count)) for first in range(0, count, size)]
        self._num_waiting = 0
        self._sums: list[Tensor] = []

    @torch.no_grad()
    def values(self, queries: Tensor, items: Tensor, *others: Tensor) -> Tensor:
        """The loss of each block, without gradient."""
        found = full_precision(queries.new_empty(len(self.rows)))
        for place, rows in enumerate(self.rows):
            found[place] = self.of_block(rows, queries[rows], items, *others)
        return found

    def add(self, rows: slice, whole: list[Tensor], found: list[Tensor]) -> list[Tensor] | None:
        """Add a block's gradients of its queries and of the items; the sums, once all blocks are there, else None.

        Args:
            whole: queries and items.
        """
        if not self._num_waiting:
            self._num_waiting = len(self.rows)
            self._sums = [torch.zeros_like(tensor) for tensor in whole]
        self._sums[0][rows] += found[0]
        self._sums[1] += found[1]
        self._num_waiting -= 1
        if self._num_waiting:
            return None
        sums, self._sums = self._sums, []
        return sums


class _Block(torch.autograd.Function):
    """The value of a block, taken before; backward it is taken again, with gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, rows: slice, blocks: _Blocks, *tensors: Tensor) -> Tensor:
        ctx.rows, ctx.blocks = rows, blocks
        ctx.save_for_backward(*tensors)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        queries, items, *others = ctx.saved_tensors
        given = [queries[ctx.rows], items, *others]
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in given]
            loss = ctx.blocks.of_block(ctx.rows, *leaves)
        *both, of_queries, of_items = torch.autograd.grad(
            loss, [*leaves[2:], *leaves[:2]], gradient
        )
        sums = ctx.blocks.add(ctx.rows, [queries, items], [of_queries, of_items]) or [None, None]
        return None, None, None, *sums, *both
