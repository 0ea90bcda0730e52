"""DIN: target attention over ID embeddings (Zhou et al. 2018, "Deep Interest Network", section 4.3).

    interest(t) = sum_b a(e_b, e_t) e_b,    a = MLP([e_b, e_t, e_b * e_t])

Notable choices
- No softmax: the weights are summed as they come, so the interest's length says how strong it is (as in
  the paper).
- The paper's code also feeds `e_b - e_t`; a first linear layer over `[e_b, e_t, e_b * e_t]` spans the same
  functions, so it is left out.
- Pairs are made for real behaviours only, a few requests at a time: see `pair_attention`.
- The hidden activation is ReLU where the paper has PReLU or Dice: the cheapest. [our choice]
- A sequence whose embeddings have another width than the target's (past searches) sees the target
  through a learned linear map. [our choice]

Ours -> the paper's: `target` -> candidate ad, `behaviours` -> user behaviours, `Activation` -> activation unit.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ranking.behaviour.interface import BehaviourModule, Behaviours, Interest, Target
from ranking.behaviour.pair_attention import Unit, attended


class Activation(nn.Module):
    """The activation unit: weighs every pair of target and behaviour, and sums the behaviours.

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
        self.of_product = nn.Linear(behaviour_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, 1)

    def forward(self, target: Tensor, behaviours: Behaviours) -> Tensor:
        """Weighted sums of the behaviours.

        Args:
            target: `(batch, targets, target_dim)`.

        Returns:
            `(batch, targets, behaviour_dim)`.
        """
        target = self.match(target)
        unit = Unit(
            self.of_product.weight, self.of_behaviour.weight, self.out.weight[0], self.out.bias
        )
        lengths = behaviours.mask.sum(dim=1)
        return attended(target, self.of_target(target), behaviours.ids, lengths, unit)


class DIN(BehaviourModule):
    """Target attention over each sequence, side by side.

    Args:
        target_dim: width of the target's ID embedding.
        behaviour_dims: width of each sequence's ID embeddings, in the order `forward` gets them.
        hidden_dim: width of the activation units.
    """

    bounds_memory = True

    def __init__(self, target_dim: int, behaviour_dims: Sequence[int], hidden_dim: int = 32):
        super().__init__()
        self.activations = nn.ModuleList(
            Activation(target_dim, dim, hidden_dim) for dim in behaviour_dims
        )
        self.target_dim, self.request_dim = sum(behaviour_dims), 0

    def forward(self, target: Target, sequences: Sequence[Behaviours]) -> Interest:
        """Interests of the sequences, concatenated: `(batch, targets, sum of behaviour_dims)`."""
        interests = [
            activation(target.ids, sequence)
            for activation, sequence in zip(self.activations, sequences, strict=True)
        ]
        return Interest(torch.cat(interests, dim=-1), target.ids.new_zeros(len(target.ids), 0))
