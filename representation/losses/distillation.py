"""What a larger encoder knows, as two more terms: how it scores the batch, and where its vectors lie.

Recipes of 2026 distil an embedding model from a larger one or a reranker beside the contrastive loss (WeMM-Embedding, arXiv 2608.24053, second stage, as notes tell it:
"two-way distillation"; the formulas are not public, these are the usual ones):

    scores:   KL(softmax(T / t) || softmax(S / t)) over a query's items, T and S the cosines under the teacher and under the encoder (Hinton et al. 2015, without its
              factor t^2: the temperature is that of the contrastive loss beside it, fixed)
    vectors:  |v - w|^2 of the encoder's unit vector v and the teacher's w, the mean over rows (the square error times the width: 2 - 2 cosine)

The teacher takes no gradient. Ours -> the formulas': `temperature` t.
"""

import torch
from torch import Tensor
from torch.nn import functional

from representation.losses.similarity import full_precision, positive_columns, similarities


def score_distillation(
    queries: Tensor,
    items: Tensor,
    wanted: Tensor,
    temperature: float,
    *,
    left_out: Tensor | None = None,
    positives: Tensor | None = None,
) -> Tensor:
    """Mean divergence over the queries, a scalar of at least 0; 0 where there is no query.

    Args:
        queries, items: `(batch, dim)` and `(items, dim)` unit vectors.
        wanted: `(batch, items)`, the teacher's cosines.
        left_out: `(batch, items)` boolean, True where neither is asked; never at the positive.
        positives: `(batch,)` int64, the column of each query's positive; None: query i's is item i.
    """
    if not len(queries):
        return full_precision(queries).sum()  # 0, with a gradient of none
    scores = similarities(queries, items) / temperature
    wanted = full_precision(wanted.detach()) / temperature
    if left_out is not None:
        columns = positive_columns(queries, positives)
        left_out = left_out.clone().scatter_(1, columns[:, None], False)
        # not -inf: 0 times it is NaN; this far below, a share is 0
        least = torch.finfo(scores.dtype).min / 4
        scores, wanted = (each.masked_fill(left_out, least) for each in (scores, wanted))
    found, sought = scores.log_softmax(dim=1), wanted.log_softmax(dim=1)
    return functional.kl_div(found, sought, reduction="batchmean", log_target=True)


def vector_distillation(vectors: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared distance of unit vectors `(rows, dim)` from the teacher's `(rows, dim)`, a scalar in [0, 4]; 0 where there is no row."""
    apart = full_precision(vectors) - full_precision(wanted.detach())
    return apart.square().sum() / max(len(vectors), 1)
