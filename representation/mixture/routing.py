"""What a backbone's experts are told of a batch, and what their gates did with it, row by row.

Whatever a loss asks of the gates (balance, the weights of objectives) is made of sums over tokens, and these of sums over a row's tokens. So the gates' figures of a
row stand behind its vector, as further columns of what a step embeds: they go through gradient caching, through many processes and through recomputed layers as
vectors do, with their gradients, and no loss needs a way of its own to the layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from representation.mixture.config import ExpertsConfig


@dataclass
class Routing:
    """One batch on its way through the layers.

    Attributes:
        mask: `(batch, length)`, True where a token is real: others count in no figure.
        roles: `(batch, length)`, see `guided.CATEGORY`; None: no token has one.
        layers: what `note` was told by each layer, `(batch, 3, experts)`.
    """

    mask: Tensor
    roles: Tensor | None = None
    layers: dict[int, Tensor] = field(default_factory=dict)

    def note(self, layer: int, probabilities: Tensor, gates: Tensor) -> None:
        """Keep a layer's figures of each row. A layer that is computed anew on the way back tells the same again, which changes nothing.

        Args:
            probabilities: of the routed experts, `(tokens, routed)`; zeros for a token that is not routed.
            gates: of all experts, `(tokens, experts)`.
        """
        wide = torch.zeros_like(gates)
        wide[:, : probabilities.shape[1]] = probabilities
        figures = torch.stack([wide, (gates > 0).to(gates.dtype), gates], dim=1)
        figures = figures.unflatten(0, self.mask.shape) * self.mask[:, :, None, None]
        self.layers.setdefault(layer, figures.sum(dim=1))

    def rows(self) -> Tensor:
        """All layers' figures of each row, `(batch, layers * 3 * experts)`; see `Gates.of`."""
        return torch.stack([self.layers[key] for key in sorted(self.layers)], dim=1).flatten(1)


class Gates(NamedTuple):
    """Sums over the real tokens of each row, all `(rows, layers, experts)` in float32.

    Attributes:
        probabilities: of the router's softmax over the routed experts; 0 for guided ones.
        loads: how many tokens an expert has taken; no gradient.
        shares: of what it has of them: the gates by which outputs are summed.
        num_routed, top_k: as `ExpertsConfig`'s.
    """

    probabilities: Tensor
    loads: Tensor
    shares: Tensor
    num_routed: int
    top_k: int

    @classmethod
    def of(cls, rows: Tensor | Sequence[Tensor], config: ExpertsConfig) -> "Gates":
        """Of `Routing.rows()`, of one batch or of several together."""
        rows = rows if isinstance(rows, Tensor) else torch.cat(list(rows))
        parts = rows.unflatten(1, (-1, 3, config.num_experts)).unbind(dim=2)
        return cls(parts[0], parts[1].detach(), parts[2], config.num_routed, config.top_k)

    def of_rows(self) -> Tensor:
        """What each expert has of each row, `(rows, experts)`: the mean gate over tokens and layers; a row sums to 1."""
        return (self.shares / self.shares.sum(dim=2, keepdim=True)).mean(dim=1)

    def balance(self) -> Tensor:
        """The load balance loss, the mean over layers, a scalar (Switch Transformer, arXiv 2101.03961, eq. 4 to 6, as GShard's before it):

            L = E * sum_e f_e * P_e

        E routed experts, f_e tokens that expert e takes over all tokens, P_e the mean of its softmax probability. With top-k routing the f_e sum to k, as in
        Mixtral of transformers (`load_balancing_loss_func`): k where all is even, which is the least. Mixtral takes one f and P over all layers, where one layer's
        idle expert hides behind another's busy one; here each layer has its own. Guided experts take what they are given and are not counted.
        """
        loads = self.loads[:, :, : self.num_routed].sum(dim=0)
        tokens = loads.sum(dim=1, keepdim=True) / self.top_k
        mean = self.probabilities[:, :, : self.num_routed].sum(dim=0) / tokens.clamp(min=1)
        return self.num_routed * (loads / tokens.clamp(min=1) * mean).sum(dim=1).mean()

    def busiest(self) -> Tensor:
        """Load of the busiest routed expert over what is even, the mean over layers: 1 where all are even, E / k where one of each token's is the same."""
        loads = self.loads[:, :, : self.num_routed].sum(dim=0)
        even = loads.sum(dim=1) / self.num_routed
        return (loads.max(dim=1).values / even.clamp(min=1)).mean()
