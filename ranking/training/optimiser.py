"""Optimisers of a ranker in one process: AdamW for dense weights, row-wise Adagrad for tables.

A dense Adam moves every row of a table each step and keeps two numbers a weight, which does not scale
to tables of millions. Row-wise Adagrad (as in FBGEMM's EXACT_ROWWISE_ADAGRAD) keeps one number a row
and touches only rows with a gradient, so a step costs what the batch looked up.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from ranking.config import RankerConfig

FINAL_RATE = 0.1
"""Both learning rates fall linearly to this share of themselves."""
EPSILON = 1e-8
"""Added to the root of a row's accumulator."""


def rate_factor(done: int, total: int) -> float:
    """Share of the learning rates after `done` of `total` rows."""
    return 1 - (1 - FINAL_RATE) * done / total


class DenseOptimiser:
    """AdamW over named weights, with clipping, whose state is made at once so that it can be loaded.

    Args:
        weights: by name; those without gradient (frozen) are left out and get no state.
        config: `learning_rate`, `weight_decay`, `clip_norm`.
        is_fused: one kernel for all weights, which wants `step` beside them; else torch's lists of tensors.
    """

    def __init__(
        self, weights: Mapping[str, nn.Parameter], config: RankerConfig, is_fused: bool = True
    ):
        self._weights = {name: value for name, value in weights.items() if value.requires_grad}
        self._learning_rate, self._clip_norm = config.learning_rate, config.clip_norm
        self._adam = torch.optim.AdamW(
            self._weights.values(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=is_fused,
            foreach=not is_fused,
        )
        for weight in self._weights.values():
            self._adam.state[weight] = {
                "step": torch.zeros((), device=weight.device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }

    def set_rate(self, factor: float) -> None:
        """Learn at that share of the configured rate."""
        self._adam.param_groups[0]["lr"] = self._learning_rate * factor

    def zero_grad(self) -> None:
        """Forget gradients."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Clip all gradients together to `clip_norm`, if there is one, and update."""
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights.values(), self._clip_norm)
        self._adam.step()

    def state(self) -> dict[str, Tensor]:
        """The live state, `weight.part` -> tensor."""
        return {
            f"{name}.{part}": tensor
            for name, weight in self._weights.items()
            for part, tensor in self._adam.state[weight].items()
        }


class RowWiseAdagrad:
    """Adagrad with one accumulator a row: the mean of its squared gradients.

    Args:
        tables: embedding modules; they are switched to sparse gradients.
        learning_rate: step size before division by the root of the accumulator.
        epsilon: added to the root.
    """

    def __init__(self, tables: list[nn.Embedding], learning_rate: float, epsilon: float = EPSILON):
        self.tables, self.learning_rate, self.epsilon = tables, learning_rate, epsilon
        for table in tables:
            table.sparse = True
        self.accumulators = [
            torch.zeros(table.num_embeddings, device=table.weight.device) for table in tables
        ]

    def zero_grad(self) -> None:
        """Forget gradients."""
        for table in self.tables:
            table.weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the rows that have a gradient."""
        for number, table in enumerate(self.tables):
            if table.weight.grad is not None:
                gradient = table.weight.grad
                self.update(number, gradient._indices()[0], gradient._values())

    @torch.no_grad()
    def update(self, number: int, rows: Tensor, gradient: Tensor) -> None:
        """Update one table by the gradient of what was looked up.

        Args:
            number: of the table.
            rows: `(lookups,)`, with repeats. gradient: `(lookups, dim)`.
        """
        weight, accumulator = self.tables[number].weight, self.accumulators[number]
        rows, gradient = _by_row(rows, gradient)
        accumulated = accumulator.index_select(0, rows) + gradient.square().mean(dim=1)
        accumulator.index_copy_(0, rows, accumulated)
        rate = self.learning_rate / (accumulated.sqrt() + self.epsilon)
        weight.index_add_(0, rows, gradient * -rate[:, None])


def _by_row(rows: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows, ascending, and the summed gradient of each.

    On a CPU ten times faster than a sparse tensor's `coalesce`, and as sure of its order: rows sort with
    their places, and what belongs together is summed as the bag of an embedding is.
    """
    if rows.device.type != "cpu":
        found, of_row = torch.unique(rows, return_inverse=True)
        sums = gradient.new_zeros(found.numel(), gradient.shape[1])
        return found, sums.index_add_(0, of_row, gradient)
    numbers = rows.numpy()
    assert numbers.size < 2**31, "a batch looks up fewer than 2^31 ids"
    both = np.sort((numbers << 31) | np.arange(numbers.size))
    places, numbers = both & (2**31 - 1), both >> 31
    begins = np.flatnonzero(np.diff(numbers, prepend=-1))
    sums, *_ = torch.embedding_bag(gradient, torch.from_numpy(places), torch.from_numpy(begins))
    return torch.from_numpy(numbers[begins]), sums
