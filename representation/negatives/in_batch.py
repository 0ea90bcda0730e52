"""How many of a batch's negatives to use."""

import torch
from torch import Tensor

DRAWS_AT_ONCE = 1 << 20
"""Entries of rows x items that are sorted at a time."""


def keep_some(
    blocked: Tensor,
    num_negatives: int | None,
    generator: torch.Generator,
    positives: Tensor | None = None,
    num_rows: int | None = None,
) -> Tensor:
    """Block further items at random, so that each query keeps at most `num_negatives` negatives (None: all).

    Args:
        blocked: `(own, items)` boolean, True where an item is no negative of a query.
        positives: `(own,)` int64, the column of each query's positive, which is also the query's place in the whole batch; None: query i's is i.
        num_rows: queries of the whole batch, of which several processes hold a part each: together they draw as one would. None: as many as are here.
    """
    own, items = blocked.shape
    if num_negatives is None or num_negatives >= items - 1:
        return blocked
    if positives is None:
        positives = torch.arange(own)
    left_out = torch.ones_like(blocked)
    size, count = max(1, DRAWS_AT_ONCE // items), num_rows or own
    for first in range(0, count, size):  # of all rows: draws follow one another
        draws = torch.rand((min(size, count - first), items), generator=generator)
        rows = ((positives >= first) & (positives < first + size)).nonzero().squeeze(1)
        if not len(rows):
            continue
        columns = positives[rows, None]
        is_positive = torch.zeros_like(blocked[rows]).scatter_(1, columns, True)
        draws = draws[positives[rows] - first].masked_fill(blocked[rows] | is_positive, -1.0)
        places = draws.argsort(dim=1, descending=True).argsort(dim=1)
        left_out[rows] = ~((places < num_negatives) & (draws >= 0) | is_positive)
    return left_out
