"""How many of a batch's negatives to use."""

import torch
from torch import Tensor


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
    is_positive = torch.zeros_like(blocked).scatter_(1, positives[:, None], True)
    draws = torch.rand((num_rows or own, items), generator=generator)[positives]
    draws = draws.masked_fill(blocked | is_positive, -1.0)
    places = draws.argsort(dim=1, descending=True).argsort(dim=1)
    kept = (places < num_negatives) & (draws >= 0)
    return ~(kept | is_positive)
