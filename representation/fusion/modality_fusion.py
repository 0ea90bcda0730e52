"""MOON3.0's multi-head modality fusion (arXiv 2604.00513): a vector looks again at the raw picture and the raw words.

The paper says that long reasoning dilutes attention to what was given, and that a multi-head fusion of raw picture and text signals integrates them adaptively. Its
formula is not public. Chosen: each modality m has h heads of its own, in which the pooled or reasoned state e attends to the states x_t that enter the language
model, those of m alone; what the heads find is put together, projected and added:

    f        = e + W_o [head_1^image, ..., head_h^image, head_1^text, ..., head_h^text]
    head_i^m = sum_t a_t W_v,i^m n(x_t),   a = softmax_t((W_q,i^m n(e)) . (W_k,i^m n(x_t)) / sqrt(d)),   d = width / h

Notable choices, ours:
- n divides by the root of the mean square, without weights: raw tokens of one backbone are a hundred times smaller than its output states, another's larger.
- A modality that a row lacks gives zeros, whatever stands in its places: value and gradient know nothing of it.
- W_o starts at zero, so an encoder starts as it was, to the bit.
- One query asks of many tokens, so keys and values of tokens are never made: (W_q e) . (W_k x) = (W_k^T W_q e) . x, and a weighted sum of W_v x is W_v of the
  weighted sum. A token costs h times the width instead of twice its square.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from moon_rec.errors import EncoderError
from moon_rec.masking import masked_softmax
from moon_rec.seeds import seed_of
from representation.fusion.config import FusionConfig, RawModality
from representation.fusion.evened import evened

NAME = "modality_fusion"
"""Of the part in a backbone's module."""


class ModalityFusion(nn.Module):
    """Fuses vectors with the raw states of picture and words.

    Raises:
        EncoderError: heads that do not divide the width.
    """

    def __init__(self, dim: int, config: FusionConfig) -> None:
        """
        Args:
            dim: width of all states.
        """
        super().__init__()
        if dim % config.heads:
            raise EncoderError(
                f"fusion.heads = {config.heads} does not divide {dim}, the width of the backbone's states; take a number that does"
            )
        self.config = config
        self.queries, self.keys, self.values = (
            nn.ModuleDict({name: nn.Linear(dim, dim, bias=False) for name in config.modalities})
            for _ in range(3)
        )
        self.output = nn.Linear(dim * len(config.modalities), dim, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, vectors: Tensor, raw: Tensor, masks: Mapping[RawModality, Tensor]) -> Tensor:
        """Fused vectors, `(batch, dim)` in the dtype of `vectors`.

        Args:
            vectors: `(batch, dim)`.
            raw: states that enter the language model, `(batch, length, dim)`.
            masks: of each modality `(batch, length)`, True at its tokens; no row need have any.
        """
        dtype = self.output.weight.dtype
        asking, tokens = evened(vectors, dtype), evened(raw, dtype)
        found = [self._of(name, asking, tokens, masks[name]) for name in self.config.modalities]
        return vectors + self.output(torch.cat(found, dim=1)).to(vectors.dtype)

    def _of(self, name: RawModality, asking: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the heads of a modality find, `(batch, dim)`."""
        heads = self.config.heads
        keys, values = (
            cast(nn.Linear, part[name]).weight.unflatten(0, (heads, -1))
            for part in (self.keys, self.values)
        )
        query = self.queries[name](asking).unflatten(1, (heads, -1))
        asked = torch.einsum("bhk,hkd->bhd", query, keys) / keys.shape[1] ** 0.5
        weights = masked_softmax(torch.einsum("bhd,bld->bhl", asked, tokens), mask[:, None])
        seen = torch.einsum("bhl,bld->bhd", weights, tokens)
        return torch.einsum("bhd,hkd->bhk", seen, values).flatten(1)


def fusion_of(module: nn.Module) -> ModalityFusion | None:
    """The fusion that was put into a backbone's module; None: it has none."""
    return getattr(module, NAME, None)


def put_fusion(module: Any, config: FusionConfig, seed: int = 0) -> None:
    """Put a new fusion into a backbone's module, in place; its output is zero.

    Raises:
        EncoderError: it has one already, or the heads do not divide its width.
    """
    if fusion_of(module) is not None:
        raise EncoderError(
            "the encoder has fusion already; leave fusion out, or start from an encoder without"
        )
    weight = next(module.model.language_model.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, NAME))
        made = ModalityFusion(module.config.text_config.hidden_size, config)
    setattr(module, NAME, made.to(weight.device, weight.dtype).train(module.training))
