"""SA-TA: target attention over IDs that content leans on (MUSE, arXiv 2512.07216, section on the ESU; its code).

    q = silu(W_q e_t),  k_b = silu(W_k e_b),  v_b = silu(W_v e_b)        dot = q . k_b
    bias  = cos(r_b, r_t) / tau
    score = b_1 dot + b_2 bias + b_3 dot bias
    u     = sum_b (softmax(score)_b + 1e-7) v_b

tau is learned from .1, each b from 1. This is the code; the paper divides the dot by sqrt(D) (`scale`) and has no tau.

Notable choices
- A behaviour without a vector, or a target without, has bias 0: its ID attention stays as it is, as if the
  two were unrelated. Leaving it out would throw away an ID that is known. [our choice]
- Padding has no weight, neither in the softmax nor by the 1e-7; the code leaves the mask to its caller.
- The logarithm of tau is what is learned, so tau stays above 0; at its start the two are the same.
- Weights start as in the code: normal of variance 1 / inputs, bias .1.
- `attention_dim` is the code's by default, the width of the embeddings; one head, as there.
- A sequence without vectors has no similarity to lean on and is left to the sequence model.

Ours -> the code: `temperature` -> cosine_tau1, `mixing` -> cosine_tau2 (b_1, b_2, b_3), `key` -> fact_layers.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from moon_rec.masking import masked_softmax
from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.similarity import numbers_with_content, similarities

FLOOR = 1e-7


class SimilarityAwareAttention(BehaviourModule):
    """Similarity-aware target attention over each sequence with vectors.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings.
        with_content: for each sequence, whether it has vectors.
        attention_dim: width of queries, keys and values; None takes each sequence's own width.
        temperature: where tau starts.
        scale: divide the dot product by sqrt(attention_dim), as in the paper's formula.
    """

    def __init__(
        self,
        target_dim: int,
        behaviour_dims: Sequence[int],
        with_content: Sequence[bool],
        attention_dim: int | None = None,
        temperature: float = 0.1,
        scale: bool = False,
    ):
        super().__init__()
        self.numbers = numbers_with_content(with_content)
        self.attentions = nn.ModuleList(
            _Attention(
                target_dim,
                behaviour_dims[number],
                attention_dim or behaviour_dims[number],
                temperature,
                scale,
            )
            for number in self.numbers
        )
        self.target_dim = sum(attention_dim or behaviour_dims[number] for number in self.numbers)

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """`(batch, targets, sum of attention dims)`; zeros where there is no past."""
        found = [target.ids.new_zeros(*target.ids.shape[:2], 0)]
        for attention, number in zip(self.attentions, self.numbers, strict=True):
            found.append(attention(target, sequences[number]))
        return Interest(torch.cat(found, dim=-1), target.ids.new_zeros(len(target.ids), 0))


class _Attention(nn.Module):
    """One sequence."""

    def __init__(
        self,
        target_dim: int,
        behaviour_dim: int,
        attention_dim: int,
        temperature: float,
        scale: bool,
    ):
        super().__init__()
        self.query = _linear(target_dim, attention_dim)
        self.key = _linear(behaviour_dim, attention_dim)
        self.value = _linear(behaviour_dim, attention_dim)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.mixing = nn.Parameter(torch.ones(3))
        self.factor = attention_dim**-0.5 if scale else 1.0

    def forward(self, target: Target, behaviours: Behaviours) -> Tensor:
        silu = nn.functional.silu
        query = silu(self.query(target.ids))
        # once a behaviour, and for real ones only
        key = behaviours.pad(silu(self.key(behaviours.ids)))
        value = behaviours.pad(silu(self.value(behaviours.ids)))
        dot = torch.bmm(query, key.transpose(1, 2)) * self.factor
        cosines, known = similarities(target, behaviours)
        bias = (cosines / self.log_temperature.exp()).masked_fill(~known, 0)
        of_dot, of_bias, of_both = self.mixing
        mask = behaviours.mask[:, None, :]
        weights = masked_softmax(of_dot * dot + of_bias * bias + of_both * dot * bias, mask)
        # padded values are zeros, so the floor gives padding nothing
        return torch.bmm(weights + FLOOR, value)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=inputs**-0.5)
    nn.init.constant_(linear.bias, 0.1)
    return linear
