"""SimTier: how many behaviours lie at which similarity to the target (arXiv 2407.19467; MUSE's code, arXiv 2512.07216).

    tier(b) = ceil(s_b / eps) + 1 / eps,    s_b = cos(r_b, r_t)
    out     = log(1 + count of tier) * emb[tier],    tier by tier

With eps = .1 that is 22 tiers and, with embeddings of width 1, 22 numbers. Tier 0 holds -1 alone.

Notable choices
- Padding and missing vectors are counted nowhere. MUSE's code counts padded places as cosine 0.
- Cosines beyond 1 by rounding count as 1, so that a repeat of the target is always in the same tier; the
  last tier of MUSE's code, where they may fall there, stays empty here.
- Counts are made in float32 whatever the model's dtype: bfloat16 cannot count past 256.
- `edges="equal"` gives the equal bins of the first paper, and `values="counts"` its plain counts; whether
  it takes their logarithm is not known, so `values="log"` is there too.

Ours -> MUSE's code: `num_tiers` -> 2 / eps + 2, `embedding` -> emb, `embedding_dim` -> n_dim.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.similarity import numbers_with_content, similarities

TierEdges = Literal["ceil", "equal"]
TierValues = Literal["embedded", "log", "counts"]


class SimTier(BehaviourModule):
    """A histogram of similarities for each sequence with vectors.

    Args:
        with_content: for each sequence `forward` gets, whether it has vectors.
        num_tiers: 2 / eps + 2 for `edges="ceil"`, an even number; the bins of [-1, 1] for `"equal"`.
        embedding_dim: width of the learned tier embeddings of `values="embedded"`.
        edges: MUSE's tiers or equal bins.
        values: log counts times embeddings (MUSE), log counts, or counts.
    """

    def __init__(
        self,
        with_content: Sequence[bool],
        num_tiers: int = 22,
        embedding_dim: int = 1,
        edges: TierEdges = "ceil",
        values: TierValues = "embedded",
    ):
        super().__init__()
        assert edges == "equal" or (num_tiers >= 4 and num_tiers % 2 == 0), "2 / eps + 2 is even"
        self.numbers = numbers_with_content(with_content)
        self.num_tiers, self.edges, self.values = num_tiers, edges, values
        self.embedding = None
        if values == "embedded":
            self.embedding = nn.Parameter(torch.rand(len(self.numbers), num_tiers, embedding_dim))
        width = embedding_dim if values == "embedded" else 1
        self.target_dim = len(self.numbers) * num_tiers * width

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """`(batch, targets, sequences with vectors * num_tiers * embedding_dim)`, zeros where nothing is known."""
        found = [target.ids.new_zeros(*target.ids.shape[:2], 0)]
        for place, number in enumerate(self.numbers):
            scores, known = similarities(target, sequences[number])
            count = tier_counts if self.edges == "equal" else ceil_tier_counts
            value = count(scores, known, self.num_tiers)
            value = (value if self.values == "counts" else value.log1p()).to(scores.dtype)
            if self.embedding is not None:
                value = (value[..., None] * self.embedding[place]).flatten(-2)
            found.append(value)
        return Interest(torch.cat(found, dim=-1), target.ids.new_zeros(len(target.ids), 0))


def ceil_tier_counts(scores: Tensor, mask: Tensor, num_tiers: int) -> Tensor:
    """Real scores in each tier of MUSE's code: `ceil(s / eps) + 1 / eps`, with `num_tiers = 2 / eps + 2`.

    Args, returns: as `tier_counts`.
    """
    steps = num_tiers // 2 - 1
    tiers = (scores.detach().clamp(-1, 1) * steps).ceil().long() + steps
    return _counts(tiers, mask, num_tiers)


def tier_counts(scores: Tensor, mask: Tensor, num_tiers: int) -> Tensor:
    """How many real scores lie in each of `num_tiers` equal bins of [-1, 1].

    Args:
        scores: `(..., length)` cosines; values outside by rounding count in the outer bins.
        mask: `(..., length)`.

    Returns:
        `(..., num_tiers)` float32.
    """
    tiers = ((scores.detach() + 1) * (num_tiers / 2)).floor().clamp(0, num_tiers - 1).long()
    return _counts(tiers, mask, num_tiers)


def _counts(tiers: Tensor, mask: Tensor, num_tiers: int) -> Tensor:
    tiers = tiers.masked_fill(~mask, num_tiers)
    counts = torch.zeros(*tiers.shape[:-1], num_tiers + 1, device=tiers.device)
    one = counts.new_ones(()).expand(tiers.shape)
    return counts.scatter_add_(-1, tiers, one)[..., :num_tiers]
