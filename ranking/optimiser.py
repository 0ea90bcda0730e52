"""Row-wise Adagrad for the tables: what is updated is what was looked up.

A dense Adam moves every row of a table each step and keeps two numbers a weight, which does not scale
to tables of millions. Row-wise Adagrad (as in FBGEMM's EXACT_ROWWISE_ADAGRAD) keeps one number a row
and touches only rows with a gradient, so a step costs what the batch looked up.
"""

import torch
from torch import Tensor, nn


class RowWiseAdagrad:
    """Adagrad with one accumulator a row: the mean of its squared gradients.

    Args:
        tables: embedding modules; they are switched to sparse gradients.
        learning_rate: step size before division by the root of the accumulator.
        epsilon: added to the root.
    """

    def __init__(self, tables: list[nn.Embedding], learning_rate: float, epsilon: float = 1e-8):
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
        for table, accumulator in zip(self.tables, self.accumulators, strict=True):
            if table.weight.grad is None:
                continue
            rows, gradient = _by_row(table.weight.grad)
            accumulated = accumulator[rows] + gradient.square().mean(dim=1)
            accumulator[rows] = accumulated
            rate = self.learning_rate / (accumulated.sqrt() + self.epsilon)
            table.weight.index_add_(0, rows, gradient * -rate[:, None])


def _by_row(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows of a sparse gradient, ascending, and the summed gradient of each."""
    gradient = gradient.coalesce()
    return gradient.indices()[0], gradient.values()
