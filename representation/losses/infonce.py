"""InfoNCE: pick the positive among it and the negatives of a batch.

    L = -log exp(r_q . r_p / t) / (exp(r_q . r_p / t) + sum over negatives n of exp(r_q . r_n / t))

The loss of MOON's first post-training stage (MOON technical report, Fig. 1; van den Oord et al. 2018). Ours -> the paper's: `queries` r_q, `items` r_p and
r_n, `temperature` t (its value is not public). Pairs: query i's positive is item i; every other item of the batch is its negative, except what `blocked`
names: the same product again would be a false negative. A blocked score is -inf before the softmax, so its probability is exactly 0.
"""

import torch
from torch import Tensor
from torch.nn import functional


def infonce_scores(
    queries: Tensor, items: Tensor, temperature: Tensor | float, blocked: Tensor | None = None
) -> Tensor:
    """Scores before the softmax, `(batch, items)` in float32.

    Args:
        queries: `(batch, dim)` unit vectors.
        items: `(items, dim)` unit vectors; item i is query i's positive.
        blocked: `(batch, items)` boolean, True where the item is no negative of that query. The positive must not be blocked.
    """
    scores = queries.float() @ items.float().T / temperature
    return scores if blocked is None else scores.masked_fill(blocked, -torch.inf)


def infonce(
    queries: Tensor,
    items: Tensor,
    temperature: Tensor | float,
    blocked: Tensor | None = None,
    symmetric: bool = False,
) -> Tensor:
    """Mean loss over the batch, a scalar.

    Args:
        symmetric: also pick the query of each item, and take the mean of the two; the papers' formula is query to item only.

    Shapes as in `infonce_scores`; `symmetric` wants as many items as queries.
    """
    scores = infonce_scores(queries, items, temperature, blocked)
    positives = torch.arange(len(queries), device=scores.device)
    loss = functional.cross_entropy(scores, positives)
    if symmetric:
        loss = (loss + functional.cross_entropy(scores.T, positives)) / 2
    return loss
