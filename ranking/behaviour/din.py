"""DIN: target attention over ID embeddings (Zhou et al. 2018, "Deep Interest Network", section 4.3).

    interest(t) = sum_b a(e_b, e_t) e_b,    a = MLP([e_b, e_t, e_b * e_t])

Notable choices
- No softmax: the weights are summed as they come, so the interest's length says how strong it is (as in
  the paper).
- The paper's code also feeds `e_b - e_t`; a first linear layer over `[e_b, e_t, e_b * e_t]` spans the same
  functions, so it is left out.
- The first layer is split: its share of `e_b` is computed once a behaviour, of `e_t` once a target, and
  only the product is computed for every pair, as one batched matrix product without building
  `e_b * e_t` (rows x length x dim) at all.
- A sequence whose embeddings have another width than the target's (past searches) sees the target
  through a learned linear map. [our choice]

Ours -> the paper's: `target` -> candidate ad, `behaviours` -> user behaviours, `Activation` -> activation unit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target


class Activation(nn.Module):
    """The activation unit: a weight for every pair of target and behaviour.

    Args:
        target_dim, behaviour_dim: widths of the ID embeddings.
        hidden_dim: width of the unit's hidden layer.
    """

    def __init__(self, target_dim: int, behaviour_dim: int, hidden_dim: int):
        super().__init__()
        same = target_dim == behaviour_dim
        self.match = nn.Identity() if same else nn.Linear(target_dim, behaviour_dim, bias=False)
        self.of_behaviour = nn.Linear(behaviour_dim, hidden_dim, bias=False)
        self.of_target = nn.Linear(behaviour_dim, hidden_dim)
        self.of_product = nn.Parameter(torch.empty(hidden_dim, behaviour_dim))
        self.slope = nn.Parameter(torch.full((1,), 0.25))
        self.out = nn.Linear(hidden_dim, 1)
        nn.init.xavier_uniform_(self.of_product)

    def forward(self, target: Tensor, behaviours: Tensor, mask: Tensor) -> Tensor:
        """Weights, zero at padding.

        Args:
            target: `(batch, targets, target_dim)`.
            behaviours: `(batch, length, behaviour_dim)`.
            mask: `(batch, length)`.

        Returns:
            `(batch, targets, length)`.
        """
        batch, num_targets = target.shape[:2]
        length, hidden_dim = behaviours.shape[1], self.of_product.shape[0]
        target = self.match(target)
        weighted = (target[:, :, None, :] * self.of_product).flatten(1, 2)
        pairs = torch.bmm(weighted, behaviours.transpose(1, 2))
        pairs = pairs.view(batch, num_targets, hidden_dim, length)
        pairs = pairs + self.of_behaviour(behaviours).transpose(1, 2)[:, None]
        pairs = pairs + self.of_target(target)[..., None]
        hidden = nn.functional.prelu(pairs, self.slope)
        weights = torch.einsum("bthl,h->btl", hidden, self.out.weight[0]) + self.out.bias
        return weights * mask[:, None, :].to(weights.dtype)


class DIN(BehaviourModule):
    """Target attention over each sequence, side by side.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings, in the order `forward` gets them.
        hidden_dim: width of the activation units.
    """

    def __init__(self, target_dim: int, behaviour_dims: Sequence[int], hidden_dim: int = 32):
        super().__init__()
        self.activations = nn.ModuleList(
            Activation(target_dim, dim, hidden_dim) for dim in behaviour_dims
        )
        self.target_dim, self.request_dim = sum(behaviour_dims), 0

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """Interests of the sequences, concatenated: `(batch, targets, sum of behaviour_dims)`."""
        interests = [
            torch.bmm(activation(target.ids, sequence.ids, sequence.mask), sequence.ids)
            for activation, sequence in zip(self.activations, sequences, strict=True)
        ]
        return Interest(torch.cat(interests, dim=-1), target.ids.new_zeros(len(target.ids), 0))
