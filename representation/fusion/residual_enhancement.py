"""MOON3.0's fine-grained residual enhancement (FIRE, arXiv 2604.00513): local detail that fades with depth is given back to a layer's states.

The paper names the purpose, local detail preserved along the layers, and not the formula. Chosen: of each token's state before the first layer, h_0, a narrow network
makes what the state behind layer l, h_l, gets back, and a gate that sees both says how much:

    h'_l = h_l + g_l W_up silu(W_down n(h_0)),   g_l = sigmoid(w_g . [n(h_0), n(h_l)] + b_g)

Notable choices, ours: one block a layer, or every so many; n divides by the root of the mean square, without weights; W_up starts at zero, so an encoder starts as it was, to the
bit; padding stays as it is. A block is a hook behind its layer and is told h_0 through the keywords that transformers hands on to each layer, so states that are computed anew on the
way back are told the same, and no batch sees another's.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from moon_rec.errors import EncoderError
from moon_rec.seeds import seed_of
from representation.fusion.config import ResidualEnhancementConfig
from representation.fusion.evened import evened

NAME = "residual_enhancement"
"""Of the part in a layer."""


class Detail(NamedTuple):
    """What blocks are told of a batch.

    Attributes:
        first: h_0, states that enter the language model, `(batch, length, dim)`.
        mask: `(batch, length)`, True at real tokens.
        is_picture: `(batch, length)`, True at a picture's.
    """

    first: Tensor
    mask: Tensor
    is_picture: Tensor


class ResidualEnhancement(nn.Module):
    """Gives a layer's states the detail of those before the first layer."""

    def __init__(self, dim: int, config: ResidualEnhancementConfig) -> None:
        """
        Args:
            dim: width of the states.
        """
        super().__init__()
        self.config = config
        self.down = nn.Linear(dim, config.rank, bias=False)
        self.up = nn.Linear(config.rank, dim, bias=False)
        self.gate = nn.Linear(2 * dim, 1)
        nn.init.zeros_(self.up.weight)

    def forward(self, states: Tensor, detail: Detail) -> Tensor:
        """Enhanced states, of the shape and dtype of `states` `(batch, length, dim)`."""
        dtype = self.up.weight.dtype
        first, deep = evened(detail.first, dtype), evened(states, dtype)
        given = self.up(functional.silu(self.down(first)))
        share = torch.sigmoid(self.gate(torch.cat([first, deep], dim=2)))
        where = detail.mask if self.config.tokens == "all" else detail.is_picture
        return states + (share * given * where[:, :, None]).to(states.dtype)

    def behind(self, _: nn.Module, args: Any, kwargs: dict[str, Any], states: Tensor) -> Tensor:
        """A hook behind the block's own layer."""
        return self(states, kwargs["detail"])


def has_residual_enhancement(module: nn.Module) -> bool:
    """Whether blocks are in it."""
    return any(isinstance(part, ResidualEnhancement) for part in module.modules())


def put_residual_enhancement(module: Any, config: ResidualEnhancementConfig, seed: int = 0) -> None:
    """Put blocks behind the layers of a backbone's language model, in place; their outputs are zero.

    Raises:
        EncoderError: there are some already, or the language model has no layers that transformers calls one by one.
    """
    if has_residual_enhancement(module):
        raise EncoderError(
            "the encoder has residual_enhancement already; leave it out, or start from an encoder without"
        )
    text = module.model.language_model
    layers = getattr(text, "layers", [])
    if not layers:
        raise EncoderError(
            f"residual_enhancement stands behind the layers of a language model, and {type(text).__name__} has none where they are looked for; take another language model"
        )
    dim = module.config.text_config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, NAME))
        for place, layer in enumerate(layers):
            if (len(layers) - 1 - place) % config.every:
                continue
            weight = next(layer.parameters())
            block = ResidualEnhancement(dim, config).to(weight.device, weight.dtype)
            setattr(layer, NAME, block.train(layer.training))
            layer.register_forward_hook(block.behind, with_kwargs=True)
