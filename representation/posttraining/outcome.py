"""What a step of post-training found, and the figures of it for the log."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from representation.posttraining.past_negatives import Past

SCORES_AT_ONCE = 1 << 20
"""Scores in memory at once where only a count is made of them."""


@dataclass
class Outcome:
    """What a step found; `right` and the figures of `numbers` are only worked out when asked for.

    Attributes:
        loss: without gradient; its mean over processes is that over all pairs.
        masked: `(own, columns)`, True where the batch's item or hard negative is known to be no negative of the query.
        blocked: the same, with those that `num_negatives` leaves out.
        past: what was drawn from the queue.
        likeness: mean cosine between two of the batch's items: 1 where all are the same.
        queries, columns, positives: the vectors that were compared, without gradient, and the column of each query's positive.
        weight: of the own queries, so that a mean over processes is that over all pairs.
        told: further figures of the step, scalars without gradient.
    """

    loss: Tensor
    masked: Tensor
    blocked: Tensor
    past: Past | None
    likeness: Tensor
    queries: Tensor
    columns: Tensor
    positives: Tensor
    weight: float
    told: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def right(self) -> Tensor:
        """Share of the own queries whose positive scores above all negatives of the batch; weighed like the loss."""
        return self.weight * _share_right(self.queries, self.columns, self.blocked, self.positives)

    def numbers(self) -> dict[str, float]:
        """Negatives really used for a query, on the mean; share of the candidates masked; how many come from the queue, and their ages in steps."""
        own, columns = self.blocked.shape
        used = float((~self.blocked).sum()) - own
        candidates, masked = own * (columns - 1), int(self.masked.sum())
        found = {}
        if self.past is not None:
            blocked, drawn = self.past.blocked, self.past.drawn
            used += blocked.size - blocked.sum()
            candidates, masked = candidates + blocked.size, masked + int(blocked.sum())
            found = {
                "queue_negatives": float(blocked.shape[1]),
                "queue_mean_age": drawn.mean_age,
                "queue_max_age": float(drawn.max_age),
            }
        return {
            "negatives": used / max(own, 1),
            "share_masked": masked / max(candidates, 1),
            **found,
            **{name: float(one) for name, one in self.told.items()},
        }


@torch.no_grad()
def likeness_of(vectors: Tensor) -> Tensor:
    """Mean cosine `()` between two of the unit vectors `(rows, dim)`: from the length of their sum, which costs no product of all with all."""
    rows = len(vectors)
    total = vectors.detach().float().sum(dim=0).square().sum()
    return (total - rows) / max(rows * (rows - 1), 1)


@torch.no_grad()
def _share_right(queries: Tensor, columns: Tensor, blocked: Tensor, positives: Tensor) -> Tensor:
    """Share of the queries whose best column is the positive, in float32; `SCORES_AT_ONCE` at a time, which decides nothing but ties to rounding."""
    size = max(1, SCORES_AT_ONCE // len(columns))
    is_right = torch.empty(len(queries), device=queries.device)
    for first in range(0, len(queries), size):
        rows = slice(first, first + size)
        scores = queries[rows] @ columns.T
        scores.masked_fill_(blocked[rows].to(scores.device), -torch.inf)
        is_right[rows] = (scores.argmax(dim=1) == positives[rows]).float()
    return is_right.mean()
