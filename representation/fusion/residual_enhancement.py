"""MOON3.0's fine-grained residual enhancement (FIRE, arXiv 2604.00513): local detail that fades with depth is given back to a layer's states.

The paper names the purpose, preserving fine detail along the layers, and not the form. Chosen: a small network makes of each token's state before the first layer what a
layer's state of the same token gets back, and a gate that sees both says how much:

    h'_l = h_l + g_l * W_up silu(W_down norm(h_0)),   g_l = sigmoid(w_g . [norm(h_0), norm(h_l)])

Notable choices, ours: one block a layer; W_up starts at zero, so that an encoder starts as it was; the norm is that of the root mean square, without weights; padding is left as it is.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResidualEnhancement(nn.Module):
    """Gives a layer's states the detail of the states before the first layer.

    Args:
        dim: width of the states.
        rank: width within the network; the paper is silent.
    """

    def __init__(self, dim: int, rank: int = 32) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, dim, bias=False)
        self.gate = nn.Linear(2 * dim, 1)
        nn.init.zeros_(self.up.weight)

    def forward(self, states: Tensor, first: Tensor, mask: Tensor) -> Tensor:
        """Enhanced states, `(batch, length, dim)`.

        Args:
            states: h_l, `(batch, length, dim)`.
            first: h_0, the same tokens before the first layer, of the same shape.
            mask: `(batch, length)`, True where a token is real.
        """
        detail, deep = (functional.rms_norm(each, each.shape[-1:]) for each in (first, states))
        given = self.up(functional.silu(self.down(detail)))
        gate = torch.sigmoid(self.gate(torch.cat([detail, deep], dim=2)))
        return states + gate * given * mask[:, :, None].to(states.dtype)
