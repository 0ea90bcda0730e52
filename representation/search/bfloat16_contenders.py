"""Contenders of an exact search by bfloat16 products first, float32 for the few that these leave: the same contenders at half the cost.

Rounding a unit vector to bfloat16 takes some .002 off it, so that what lies within about .01 of a search's k-th best product is scored again in float32: of random
vectors and of encoders' that we have seen, 1.3 to 1.7 times `k`. A search for which `contenders` has no room for these, or whose best products are not all positive, is
sought in float32 from the start.
"""

import numpy as np
import torch

from representation.search.block_scores import Bfloat16Scores, Float32Scores
from representation.search.contenders import GROUP, Contenders, best_of, find_contenders

FEWEST_GROUPS = 4
"""Groups of vectors for each that is needed, below which most would be scored twice."""
FLOATS_AT_ONCE = 1_000_000
"""Of contenders' vectors scored again at once: 4 MB, which stay in cache."""


def pays(need: int, num_vectors: int) -> bool:
    """Whether bfloat16 products can leave out most of the vectors."""
    return num_vectors >= FEWEST_GROUPS * GROUP * need


def bfloat16_contenders(
    in_float32: Float32Scores,
    most_rounded: float,
    need: int,
    hidden: np.ndarray,
    block: int,
) -> tuple[Contenders, int]:
    """As `contenders.find_contenders` of `in_float32`, and the number of searches that were sought in float32.

    Args:
        most_rounded: the largest length of what rounding a vector to bfloat16 takes off.
    """
    queries, vectors, longest = in_float32.queries, in_float32.vectors, in_float32.longest
    in_bfloat16 = Bfloat16Scores(queries, vectors, longest, most_rounded)
    rough = find_contenders(in_bfloat16, need, hidden, block)
    left = np.flatnonzero(rough.is_crowded | (rough.floor <= Bfloat16Scores.LOWEST))
    if len(left) == len(queries):
        return find_contenders(in_float32, need, hidden, block), len(left)
    found = _scored_again(in_float32, rough.places, need)
    if not len(left):
        return found, 0
    some = Float32Scores(queries[left], vectors, longest)
    return _put(found, left, find_contenders(some, need, hidden, block)), len(left)


@torch.inference_mode()
def _scored_again(in_float32: Float32Scores, places: np.ndarray, need: int) -> Contenders:
    """The contenders at `places` by their float32 products."""
    asked, vectors = torch.from_numpy(in_float32.queries), torch.from_numpy(in_float32.vectors)
    at = torch.from_numpy(places)
    scores = torch.empty(at.shape)
    step = max(1, FLOATS_AT_ONCE // (at.shape[1] * vectors.shape[1]))
    for start in range(0, len(at), step):
        part = slice(start, start + step)
        near = vectors[at[part].clamp(min=0)]
        torch.bmm(near, asked[part, :, None], out=scores[part, :, None])
    scores[at < 0] = -torch.inf
    return best_of(in_float32, scores, at, need)


def _put(found: Contenders, which: np.ndarray, others: Contenders) -> Contenders:
    """`found` with the contenders of some searches in place of its own."""
    most = max(found.places.shape[1], others.places.shape[1])
    whole = Contenders(
        _wide(found.places, most, -1), _wide(found.scores, most, -np.inf), *found[2:]
    )
    whole.places[which] = _wide(others.places, most, -1)
    whole.scores[which] = _wide(others.scores, most, -np.inf)
    whole.floor[which], whole.is_crowded[which] = others.floor, others.is_crowded
    return whole


def _wide(rows: np.ndarray, width: int, fill: float) -> np.ndarray:
    """A copy, wider by columns of `fill`."""
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=fill)
