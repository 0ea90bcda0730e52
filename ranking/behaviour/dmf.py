"""DMF: similarity as part of keys and values, beside a histogram (arXiv 2510.11066).

    enriched(t) = sum_b softmax(q_t . k_b / sqrt(D)) v_b,    k_b = W_k e_b + K[bucket(s_b)],  v_b = W_v e_b + V[bucket(s_b)]
    centric(t)  = MLP(histogram of s_b)
    interest    = alpha MLP(enriched) + (1 - alpha) centric,    s_b = cos(r_b, r_t)

Only the abstract and a third party's code (MMCTR-Bench) were at hand: 35 buckets, 10 tiers, alpha = .5 and
the scaled dot product are that code's defaults, not necessarily the paper's.

Notable choices
- Keys and values of pairs are never made: q . K[bucket] is looked up in `(targets, buckets)` products, and
  the weights are summed bucket by bucket before V. Cost and memory are those of plain target attention.
- A behaviour without a vector has no bucket, so it keeps its ID key and value alone, and no tier. [ours]
- The histogram is log(1 + count), where the code has plain counts, for histories of any length. [ours]
- The two MLPs are one hidden ReLU layer, and branches are zero where they have nothing to read. [ours]

Ours -> the abstract's: `enriched` -> modality-enriched, `centric` -> modality-centric, `mix` -> alpha.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moon_rec.masking import masked_softmax
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.similarity import numbers_with_content, similarities
from ranking.behaviour.simtier import tier_counts

EMBEDDING_STD = 0.02


class DMF(BehaviourModule):
    """Both branches over each sequence with vectors.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings.
        with_content: for each sequence, whether it has vectors.
        num_buckets: equal buckets of [-1, 1] that are embedded.
        num_tiers: equal bins of the histogram.
        mix: alpha, the share of the enriched branch.
        attention_dim: width of queries, keys and values.
        output_dim: width of each sequence's interest.
    """

    def __init__(
        self,
        target_dim: int,
        behaviour_dims: Sequence[int],
        with_content: Sequence[bool],
        num_buckets: int = 35,
        num_tiers: int = 10,
        mix: float = 0.5,
        attention_dim: int = 32,
        output_dim: int = 32,
    ):
        super().__init__()
        self.numbers = numbers_with_content(with_content)
        self.num_tiers, self.mix = num_tiers, mix
        self.attentions = nn.ModuleList(
            BucketAttention(target_dim, behaviour_dims[number], num_buckets, attention_dim)
            for number in self.numbers
        )
        self.of_enriched = nn.ModuleList(_mlp(attention_dim, output_dim) for _ in self.numbers)
        self.of_centric = nn.ModuleList(_mlp(num_tiers, output_dim) for _ in self.numbers)
        self.target_dim = output_dim * len(self.numbers)

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """`(batch, targets, sequences with vectors * output_dim)`."""
        found = [target.ids.new_zeros(*target.ids.shape[:2], 0)]
        for place, number in enumerate(self.numbers):
            behaviours = sequences[number]
            scores, known = similarities(target, behaviours)
            enriched = self.attentions[place](target.ids, behaviours, scores, known)
            histogram = tier_counts(scores, known, self.num_tiers).log1p().to(scores.dtype)
            enriched = self.of_enriched[place](enriched) * _any(behaviours.mask[:, None], enriched)
            centric = self.of_centric[place](histogram) * _any(known, enriched)
            found.append(self.mix * enriched + (1 - self.mix) * centric)
        return Interest(torch.cat(found, dim=-1), target.ids.new_zeros(len(target.ids), 0))


class BucketAttention(nn.Module):
    """Target attention over IDs with an embedding of the similarity added to each key and value.

    Args:
        target_dim, behaviour_dim: widths of the ID embeddings.
        num_buckets, attention_dim: as for `DMF`.
    """

    def __init__(self, target_dim: int, behaviour_dim: int, num_buckets: int, attention_dim: int):
        super().__init__()
        self.query = nn.Linear(target_dim, attention_dim)
        self.key = nn.Linear(behaviour_dim, attention_dim)
        self.value = nn.Linear(behaviour_dim, attention_dim)
        self.bucket_keys = nn.Parameter(torch.randn(num_buckets, attention_dim) * EMBEDDING_STD)
        self.bucket_values = nn.Parameter(torch.randn(num_buckets, attention_dim) * EMBEDDING_STD)
        self.num_buckets = num_buckets

    def forward(
        self, target: Tensor, behaviours: Behaviours, scores: Tensor, known: Tensor
    ) -> Tensor:
        """The enriched interest `(batch, targets, attention_dim)`.

        Args:
            target: `(batch, targets, target_dim)`. scores, known: as `similarities` gives them.
        """
        query = self.query(target) * self.query.out_features**-0.5
        key, value = (behaviours.pad(of(behaviours.ids)) for of in (self.key, self.value))
        buckets = self._buckets(scores, known)
        # one more column, of zeros, for behaviours without a bucket
        of_bucket = nn.functional.pad(query @ self.bucket_keys.T, (0, 1))
        logits = torch.bmm(query, key.transpose(1, 2)) + of_bucket.gather(-1, buckets)
        weights = masked_softmax(logits, behaviours.mask[:, None, :])
        sums = weights.new_zeros(of_bucket.shape).scatter_add(-1, buckets, weights)
        return torch.bmm(weights, value) + sums[..., :-1] @ self.bucket_values

    def _buckets(self, scores: Tensor, known: Tensor) -> Tensor:
        count = self.num_buckets
        places = ((scores.detach().clamp(-1, 1) + 1) * (count / 2)).long().clamp(max=count - 1)
        return places.masked_fill(~known, count)


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Linear(outputs, outputs))


def _any(mask: Tensor, like: Tensor) -> Tensor:
    """Whether anything is real along the last dimension, as a factor."""
    return mask.any(dim=-1, keepdim=True).to(like.dtype)
