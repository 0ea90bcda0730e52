"""Triplet loss: the positive must be nearer than a hard negative by a margin.

    L = max(0, d(q, p) - d(q, n) + margin),  d = 1 - cosine

SCL (arXiv 2407.19467) adds it to InfoNCE for items clicked but not purchased after the same search, as a weighted sum; its distance, margin and weight are not
public. The cosine distance is ours: it is what retrieval ranks by. Ours -> theirs: `margin` alpha; queries a (anchor).
"""

import torch
from torch import Tensor

from representation.losses.similarity import full_precision


def triplet(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float,
    mask: Tensor,
) -> Tensor:
    """Mean over the real triplets, a scalar; 0 where there is none.

    Args:
        queries, positives: `(batch, dim)` unit vectors.
        negatives: `(batch, count, dim)` unit vectors of each query's own hard negatives.
        margin: of cosine, in (0, 2).
        mask: `(batch, count)` boolean, True where the negative is real.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, positives, negatives = map(full_precision, (queries, positives, negatives))
        right = (queries * positives).sum(dim=-1, keepdim=True)
        negatives = negatives.masked_fill(~mask[:, :, None], 0.0)
        wrong = (negatives @ queries[:, :, None]).squeeze(2)
    losses = (margin + wrong - right).relu().masked_fill(~mask, 0.0)
    return losses.sum() / mask.sum().clamp(min=1)
