"""Negatives that score above the positive: most likely answers that nobody bought, left out of the loss.

Qwen3 Embedding (arXiv 2506.05176, eq. 2) leaves a negative out where its cosine with the query is above the positive's by more than .1; NV-Retriever (Moreira et al. 2024)
found thresholds relative to the positive best for hard negatives. Ours -> theirs: `margin` .1. The rule reads the encoder in training, so what is left out changes as it learns;
with an encoder that knows nothing yet half of all negatives lie above the positive, and a margin keeps them.
"""

import torch
from torch import Tensor

from representation.losses.similarity import similarities

SCORES_AT_ONCE = 1 << 24
"""Cosines in memory at once: 64 MB."""


@torch.no_grad()
def above_positive(queries: Tensor, items: Tensor, right: Tensor, margin: float) -> Tensor:
    """`(batch, items)` boolean: True where an item's cosine is above that of the query's positive by more than `margin`.

    Args:
        queries, items: `(batch, dim)` and `(items, dim)` unit vectors.
        right: `(batch,)` cosines of the queries and their positives. Who asks takes the positives' own columns out: the same product rounded twice may be above itself.
    """
    size = max(1, SCORES_AT_ONCE // max(len(items), 1))
    found = [
        similarities(queries[first : first + size], items)
        > right[first : first + size, None] + margin
        for first in range(0, len(queries), size)
    ]
    return torch.cat(found) if found else torch.zeros(0, len(items), dtype=torch.bool)
