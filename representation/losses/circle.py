"""Circle loss: each similarity is pulled in proportion to how far it is from its optimum (Sun et al. 2020, eq. 4 to 8).

    L = log[1 + sum_j exp(g an_j (sn_j - Dn)) * sum_i exp(-g ap_i (sp_i - Dp))]
    ap_i = max(0, Op - sp_i),  an_j = max(0, sn_j - On);  Op = 1 + m, On = -m, Dp = 1 - m, Dn = m

MOON's second post-training stage puts it in InfoNCE's place (MOON technical report, as papers.md 1.6 notes it). The weights ap and an are constants for the
gradient, as in Sun et al.'s text and in pytorch-metric-learning. Ours -> theirs: `margin` m, `scale` gamma (g). The report does not publish m and gamma, so both
are options; the defaults are Sun et al.'s margin for faces, .25, and pytorch-metric-learning's scale of 80. Here a query has one positive, so with negatives'
scores n_j and the positive's score p a query's loss is softplus(logsumexp_j n_j + p). A blocked negative is left out: its share of the sum is exactly 0.
A query without any negative has loss 0 and no gradient.
"""

import torch
from torch import Tensor
from torch.nn import functional

from representation.losses.bank import Bank, bank_logsumexp
from representation.losses.similarity import mean_of, positive_columns, similarities


def circle(
    queries: Tensor,
    items: Tensor,
    *,
    margin: float = 0.25,
    scale: float = 80.0,
    blocked: Tensor | None = None,
    positives: Tensor | None = None,
    bank: Bank | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean loss over the batch, a scalar.

    Args:
        queries: `(batch, dim)` unit vectors.
        items: `(items, dim)` unit vectors.
        margin: in [0, 1); the optimum is sp >= 1 - margin and sn <= margin.
        scale: how hard a violation counts, > 0.
        blocked: `(batch, items)` boolean, True where the item is no negative of that query. The positive must not be blocked.
        positives: `(batch,)` int64, the column of each query's positive; None: query i's is item i.
        bank: further negatives without gradient, such as a queue's.
        weights: `(batch,)`, what each query's loss is multiplied by; None: 1.
    """
    cosines = similarities(queries, items)
    columns = positive_columns(queries, positives)[:, None]
    left_out = torch.zeros_like(cosines, dtype=torch.bool) if blocked is None else blocked
    left_out = left_out.scatter(1, columns, True)
    scores = _negative_logits(cosines, margin, scale)
    nothing = torch.finfo(scores.dtype).min / 4  # -inf would give NaN where nothing is left
    others = scores.masked_fill(left_out, nothing).logsumexp(dim=1)
    if bank is not None:

        def logit(values: Tensor, slopes: Tensor) -> None:
            torch.add(values, margin, out=slopes).relu_().mul_(scale)
            values.sub_(margin).mul_(slopes)

        of_bank = bank_logsumexp(queries, bank, logit).clamp(min=nothing)
        others = torch.logaddexp(others, of_bank)
    right = cosines.gather(1, columns).squeeze(1)
    weight = (1 + margin - right).relu().detach()
    losses = functional.softplus(others - scale * weight * (right - (1 - margin)))
    return mean_of(losses, weights)


def _negative_logits(cosines: Tensor, margin: float, scale: float) -> Tensor:
    weight = (cosines + margin).relu().detach()
    return scale * weight * (cosines - margin)
