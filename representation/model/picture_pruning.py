"""Token pruning at embedding time: of a picture's tokens those that are attended to most go on, the others are left out, and the language model runs on shorter rows.

Score of a picture's token t, chosen after FastV (Chen et al. 2024, arXiv 2403.06764, section 4, there the layer after which tokens are dropped, here first layers that are run for this alone):

    s_t = mean over the first `layers` layers and all heads of sum over the row's real tokens q of attention(q, t)

Of each picture the ceil(keep * tokens) of highest score stay, in their order, at the positions that they had; the rest of the row stays whole. So the words of a product have their say in which
parts of its picture count, which a score of the vision tower alone would not give them. Notable choices:
- The first layers run twice, on whole rows and on short ones: what is saved is of the layers behind them, so `layers` is small beside the depth.
- Where two tokens' scores are equal to rounding, batches of other shapes may keep one or the other.
- Vectors of a pruned encoder are another encoder's: products and searches must be embedded alike, and its digest says so.
"""

import copy
import math
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from moon_rec.errors import EncoderError
from representation.model.attention_weights import eager, weights_of
from representation.model.backbone import Backbone, Embedded, Inputs
from representation.picture_focus.compression import compression_of


class Pruning(NamedTuple):
    """How much of a picture goes on.

    Attributes:
        keep: share of its tokens, above 0 and at most 1.
        layers: first layers whose attention is the score.
    """

    keep: float
    layers: int = 1

    def check(self, backbone: Backbone) -> None:
        """
        Raises:
            EncoderError: a share out of bounds, layers that the language model has not, or an encoder that compresses pictures itself.
        """
        if compression_of(backbone.module) is not None:
            raise EncoderError(
                "the encoder compresses each picture to a token (compression_tokens) before its words are read, so none of its picture's tokens is attended to by them; prune an encoder without"
            )
        if not 0 < self.keep <= 1:
            raise EncoderError(
                f"{self.keep:g} of a picture's tokens are to be kept; give a share above 0 and at most 1"
            )
        depth = len(getattr(backbone.language_model, "layers", []))
        if not 1 <= self.layers <= depth:
            raise EncoderError(
                f"attention of the first {self.layers} layers is to say which tokens of a picture are kept, and the language model has {depth}; name 1 to {depth}"
            )


def pruned(
    backbone: Backbone, embedded: Embedded, inputs: Inputs, causal: bool, pruning: Pruning
) -> tuple[Embedded, Inputs]:
    """Rows without the picture tokens that are attended to least; as they are where no row has a picture, or all tokens are kept.

    Args:
        causal: as of `Backbone.states`.
    """
    is_picture, each = embedded.is_picture, backbone.layout.num_tokens
    count = math.ceil(pruning.keep * each)
    if count == each or not is_picture.any():
        return embedded, inputs
    scores = attention_received(backbone, embedded, inputs.mask, causal, pruning.layers)
    of_pictures = scores[is_picture].view(-1, each)
    chosen = of_pictures.topk(count, dim=1).indices.sort(dim=1).values
    stays = torch.zeros_like(of_pictures, dtype=torch.bool).scatter_(1, chosen, True)
    kept = inputs.mask.masked_scatter(is_picture, stays.view(-1))
    length = int(kept.sum(dim=1).max())
    order = kept.long().argsort(dim=1, descending=True, stable=True)[:, :length]

    def taken(values: Tensor) -> Tensor:
        return values.gather(1, order)

    mask = taken(kept)
    states = embedded.states.gather(1, order[:, :, None].expand(-1, -1, embedded.states.shape[2]))
    positions = backbone.positions(is_picture)
    added = [
        layer.gather(1, chosen[:, :, None].expand(-1, -1, layer.shape[2]))
        for layer in embedded.added
    ]
    routing = embedded.routing
    short = embedded._replace(
        states=states,
        is_picture=taken(is_picture) & mask,
        added=added,
        routing=routing and replace(routing, mask=mask, roles=_of(taken, routing.roles)),
        positions=positions.gather(-1, order.expand(*positions.shape[:-1], -1)),
    )
    return short, Inputs(
        taken(inputs.token_ids), mask, roles=_of(taken, inputs.roles), words=_of(taken, inputs.words)
    )  # fmt: skip


def attention_received(
    backbone: Backbone, embedded: Embedded, mask: Tensor, causal: bool, layers: int
) -> Tensor:
    """Attention that each token gets from all real ones of its row in the first layers, mean over heads and layers, `(batch, length)` in float32."""
    first = _first_layers(backbone, layers)
    modules = [layer.self_attn for layer in backbone.language_model.layers[:layers]]  # type: ignore[index]
    with torch.no_grad(), eager(modules), weights_of(modules) as weights:
        routing = embedded.routing and replace(embedded.routing, layers={})
        first.states(embedded._replace(routing=routing), mask, causal)
    asking = mask[:, None, :, None]
    return torch.stack(
        [(each.float() * asking).sum(dim=2).mean(dim=1) for each in weights]
    ).mean(dim=0)  # fmt: skip


def _of(taken: Any, values: Tensor | None) -> Tensor | None:
    return None if values is None else taken(values)


def _first_layers(backbone: Backbone, layers: int) -> Backbone:
    """The backbone with so many layers of its language model, the same modules."""
    module, text = backbone.module, backbone.language_model
    text = _with(text, layers=nn.ModuleList(list(text.layers)[:layers]))  # type: ignore[arg-type]
    return backbone.with_module(_with(module, model=_with(module.model, language_model=text)))


def _with(module: nn.Module, **parts: nn.Module) -> Any:
    """A module that is the same but for these parts."""
    other = copy.copy(module)
    other._modules = {**module._modules, **parts}
    return other
