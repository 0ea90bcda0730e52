"""InfoNCE: pick the positive among it and the negatives.

    L = -log exp(r_q . r_p / t) / (exp(r_q . r_p / t) + sum over negatives n of exp(r_q . r_n / t))

The loss of MOON's first post-training stage (MOON technical report, Fig. 1; van den Oord et al. 2018). Ours -> the paper's: `queries` r_q, `items` r_p and
r_n, `temperature` t (its value is not public). Pairs: query i's positive is item i, or the one that `positives` names; every other item is its negative, and
every entry of `bank`, except what `blocked` names: the same product again would be a false negative. A blocked score is -inf before the softmax, so its
probability is exactly 0.

A batch may hold further positives of a query: the same product again, what else was bought after the same words. By default they are blocked. With `siblings` each
of them is a positive, too, told from the negatives alone and never from another positive (duplicate-aware InfoNCE, as recipes of 2026 call it without a public
formula; this one is the mean over positives of Khosla et al. 2020, eq. 2, with the other positives left out of the denominator):

    L = mean over positives p of -log exp(r_q . r_p / t) / (exp(r_q . r_p / t) + sum over negatives n of exp(r_q . r_n / t))
"""

import torch
from torch import Tensor
from torch.nn import functional

from representation.losses.bank import Asking, Bank, bank_logsumexp
from representation.losses.similarity import (
    full_precision,
    mean_of,
    positive_columns,
    similarities,
)


def infonce_scores(
    queries: Tensor, items: Tensor, temperature: Tensor | float, blocked: Tensor | None = None
) -> Tensor:
    """Scores before the softmax, `(batch, items)` in float32 or better.

    Args:
        queries: `(batch, dim)` unit vectors.
        items: `(items, dim)` unit vectors.
        blocked: `(batch, items)` boolean, True where the item is no negative of that query. The positive must not be blocked.
    """
    scores = similarities(queries, items) / temperature
    return scores if blocked is None else scores.masked_fill(blocked, -torch.inf)


def infonce(
    queries: Tensor,
    items: Tensor,
    temperature: Tensor | float,
    blocked: Tensor | None = None,
    *,
    positives: Tensor | None = None,
    bank: Bank | None = None,
    symmetric: bool = False,
    asking: Asking | None = None,
    siblings: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean loss over the batch, a scalar.

    Args:
        positives: `(batch,)` int64, the column of each query's positive; None: query i's is item i, and items after the batch's are negatives only.
        bank: further negatives without gradient, such as a queue's.
        symmetric: also pick the query of each positive among the batch's, and take the mean of the two; the papers' formula is query to item only. The bank
            holds items, so it takes no part in this second half.
        asking: of `symmetric`, the queries of the whole batch, where `queries` are a part of it: an item must be told from the others' queries, too.
        siblings: `(batch, items)` boolean, True where an item is a further positive of that query; not with `symmetric`.
        weights: `(batch,)`, what each query's loss is multiplied by; None: 1.

    Shapes as in `infonce_scores`.
    """
    scores = infonce_scores(queries, items, temperature, blocked)
    columns = positive_columns(queries, positives)
    if siblings is not None:
        assert not symmetric, "an item of several queries has no single one to find"
        losses = _over_siblings(queries, items, temperature, scores, columns, siblings, bank)
        return mean_of(losses, weights)
    reduction = "mean" if weights is None else "none"
    if bank is None:
        losses = functional.cross_entropy(scores, columns, reduction=reduction)
    else:
        others = bank_logsumexp(full_precision(queries) / temperature, bank)
        right = scores.gather(1, columns[:, None]).squeeze(1)
        losses = torch.logaddexp(scores.logsumexp(dim=1), others) - right
    loss = mean_of(losses, weights)
    if symmetric:
        rows = torch.arange(len(queries), device=scores.device)
        if asking is not None:  # a query's place in the batch is its item's
            scores = infonce_scores(asking.vectors, items[columns], temperature, asking.blocked)
            back, rows = scores.T, columns
        elif positives is not None:
            back = scores.T[columns]
        else:
            back = scores.T[: len(queries)]
        of_items = functional.cross_entropy(back, rows, reduction=reduction)
        loss = (loss + mean_of(of_items, weights)) / 2
    return loss


def _over_siblings(
    queries: Tensor,
    items: Tensor,
    temperature: Tensor | float,
    scores: Tensor,
    columns: Tensor,
    siblings: Tensor,
    bank: Bank | None,
) -> Tensor:
    """The mean over each query's positives, `(batch,)`."""
    is_positive = siblings.clone().scatter_(1, columns[:, None], True)
    # not -inf: a query without any negative would have no gradient but NaN
    least = torch.finfo(scores.dtype).min / 4
    against = scores.masked_fill(is_positive | scores.isneginf(), least).logsumexp(dim=1)
    if bank is not None:
        others = bank_logsumexp(full_precision(queries) / temperature, bank)
        against = torch.logaddexp(against, others)
    # a sibling is blocked as a negative, so its score is -inf there: it is taken anew
    right = similarities(queries, items) / temperature
    lost = functional.softplus(against[:, None] - right).masked_fill(~is_positive, 0.0)
    return lost.sum(dim=1) / is_positive.sum(dim=1)
