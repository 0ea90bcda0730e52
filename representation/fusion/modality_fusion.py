"""MOON3.0's multi-head modality fusion (arXiv 2604.00513): an embedding looks again at the raw picture and the raw text.

The paper says that long reasoning dilutes attention to what was given, and that a multi-head fusion of the raw picture's and text's signals integrates them adaptively.
It is not public how. Chosen: each modality has heads of its own, in which the embedding token's state attends to that modality's states before the language
model; what the heads find is put together, projected and added to the state:

    f = e + W_o [head_1^image, ..., head_h^image, head_1^text, ..., head_h^text]
    head_i^m = softmax_t((W_q,i^m e) . (W_k,i^m x_t^m) / sqrt(d)) -weighted sum of W_v,i^m x_t^m over the tokens t of modality m

Notable choices, ours: a modality that a row lacks gives zeros, so that it changes nothing whatever stands in its places; W_o starts at zero, so that an encoder starts as it was.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from moon_rec.masking import masked_softmax

Fused = Literal["image", "text"]


class ModalityFusion(nn.Module):
    """Fuses an embedding with the raw states of picture and text.

    Args:
        dim: width of all states.
        num_heads: of each modality; the paper is silent.

    Raises:
        ValueError: heads that do not divide the width.
    """

    def __init__(self, dim: int, num_heads: int = 4) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"num_heads {num_heads} must divide the width {dim}")
        self.num_heads = num_heads
        self.modalities: tuple[Fused, ...] = get_args(Fused)
        self.queries = self._each(dim)
        self.keys = self._each(dim)
        self.values = self._each(dim)
        self.output = nn.Linear(dim * len(self.modalities), dim, bias=False)
        nn.init.zeros_(self.output.weight)

    def _each(self, dim: int) -> nn.ModuleDict:
        return nn.ModuleDict({name: nn.Linear(dim, dim, bias=False) for name in self.modalities})

    def forward(self, embedding: Tensor, states: dict[Fused, Tensor], masks: dict[Fused, Tensor]) -> Tensor:  # fmt: skip
        """The fused embedding, `(batch, dim)`.

        Args:
            embedding: `(batch, dim)`.
            states: of each modality `(batch, length, dim)`; one that is left out is absent from all rows.
            masks: of the same, `(batch, length)`, True where a token is real; no row need have any.
        """
        found = []
        for name in self.modalities:
            if name not in states:
                found.append(torch.zeros_like(embedding))
                continue
            query = self._heads(self.queries[name](embedding)[:, None])
            key, value = (
                self._heads(each[name](states[name])) for each in (self.keys, self.values)
            )
            scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
            attention = masked_softmax(scores, masks[name][:, None, None, :])
            found.append((attention @ value).transpose(1, 2).flatten(1))
        return embedding + self.output(torch.cat(found, dim=1))

    def _heads(self, states: Tensor) -> Tensor:
        """`(batch, length, dim)` -> `(batch, heads, length, dim / heads)`."""
        return states.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
