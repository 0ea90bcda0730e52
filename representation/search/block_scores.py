"""Inner products of searches with a block of vectors, in float32 or in bfloat16, and how far below a score one must look for their rounding to hide nothing.

Notable choices
- A float32 inner product of any summation order is off by at most `d u / (1 - d u) |q| |v|`, u = 2^-24 (Higham 2002, section 3.1).
- Rounded to bfloat16, a query and a vector leave q' and v', and `|q v - q' v'| <= |q - q'| |v| + |q'| |v - v'|` (Cauchy and Schwarz). The lengths of what is rounded
  off are measured, for their bound is twice as large. Products of two bfloat16 are exact in float32, where processors sum them; the sum is rounded to bfloat16.
- oneDNN's product (`torch.ops.mkldnn._linear_pointwise`, what compiled torch calls) is quicker than, or as quick as, the BLAS of NumPy, faiss and torch on the
  machines measured (benchmarks/search.py); of bfloat16, where the processor multiplies it, twice as quick as of float32. Where oneDNN is absent, or torch was told to
  round float32 products, NumPy's is used.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from moon_rec import processor
from representation.search.folding import squares

TINY = float(np.finfo(np.float32).tiny)
"""What a flushed subnormal is off by at most."""
HALF_LAST_PLACE = 2.0**-8
"""Of a bfloat16, the most that rounding to it moves a number, as a share."""
FLOATS_AT_ONCE = 8_000_000
"""Most float64 of vectors scored exactly at once: 64 MB."""


class BlockScores(Protocol):
    """Scores of searches, numbers that order as the products do.

    Attributes:
        num_searches, num_vectors: how many of each.
        least: stands for no score; below every score that matters.
        dtype: of scores and floors.
    """

    num_searches: int
    num_vectors: int
    least: float
    dtype: torch.dtype

    def of_block(self, start: int, size: int) -> Tensor:
        """Scores with vectors `start` to `start + size`, `(searches, vectors)`."""
        ...

    def floor(self, best: Tensor, searches: Tensor | slice) -> Tensor:
        """The score that each of the best `n` vectors of a search reaches whatever rounding did, where `n` vectors score `best` or more; one a search of `searches`."""
        ...


class Float32Scores:
    """Products in float32; see `BlockScores`.

    Args:
        longest: the largest length of a vector.
    """

    least: float = -torch.inf
    dtype = torch.float32

    def __init__(self, queries: np.ndarray, vectors: np.ndarray, longest: float):
        self.queries, self.vectors, self.longest = queries, vectors, longest
        self.margins = torch.from_numpy(margin(queries, longest))
        self.num_searches, self.num_vectors = len(queries), len(vectors)

    def of_block(self, start: int, size: int) -> Tensor:
        """Float32 products, `(searches, vectors)`."""
        return products(self.queries, self.vectors[start : start + size])

    def floor(self, best: Tensor, searches: Tensor | slice) -> Tensor:
        """Both scores may be off."""
        return best - self.margins[searches]


class Bfloat16Scores:
    """Products in bfloat16, as their 16 bits: of positive numbers these order as the numbers do, and are compared far quicker. See `BlockScores`.

    Of negative products nothing is told but that they are below all positive ones: a floor is at least `LOWEST`, and where it is no more, a search's best may be missing.

    Args:
        longest, most_rounded: the largest length of a vector, and of what rounding a vector to bfloat16 takes off it.
    """

    least: float = 0
    dtype = torch.int16
    LOWEST = 1

    def __init__(
        self, queries: np.ndarray, vectors: np.ndarray, longest: float, most_rounded: float
    ):
        self.queries, self.vectors = torch.from_numpy(queries).bfloat16(), vectors
        self.num_searches, self.num_vectors = len(queries), len(vectors)
        self.margins = torch.from_numpy(
            bfloat16_margin(queries, self.queries.float().numpy(), longest, most_rounded)
        )

    def of_block(self, start: int, size: int) -> Tensor:
        """Bits of bfloat16 products, `(searches, vectors)` int16."""
        block = torch.from_numpy(self.vectors[start : start + size]).bfloat16()
        return _by_onednn(self.queries, block).view(torch.int16)

    def floor(self, best: Tensor, searches: Tensor | slice) -> Tensor:
        """Both products may be off; and the `best` may have been rounded up, as what just reaches the floor may be rounded down with the floor."""
        value = best.view(torch.bfloat16).float()
        value -= value.abs() * (1.01 * HALF_LAST_PLACE) + self.margins[searches]
        return value.bfloat16().view(torch.int16).clamp_(min=self.LOWEST)


def margin(queries: np.ndarray, longest: float) -> np.ndarray:
    """Twice the largest error of a float32 product of each query with a vector of length `longest`, `(searches,)`."""
    return (2.02 * _of_sums(queries, queries.shape[1], longest)).astype(np.float32)


def bfloat16_margin(
    queries: np.ndarray, rounded: np.ndarray, longest: float, most_rounded: float
) -> np.ndarray:
    """As `margin`, of products of the queries rounded to bfloat16 with rounded vectors, before the products are rounded themselves."""
    off = _lengths(queries - rounded) * longest + _lengths(rounded) * most_rounded
    # a sum may round twice each step, and flush what is subnormal
    sums = _of_sums(rounded, 2 * queries.shape[1], longest + most_rounded)
    return (2.02 * (off + sums)).astype(np.float32)


def _of_sums(queries: np.ndarray, steps: int, longest: float) -> np.ndarray:
    """Largest error of float32 sums of `steps` products, `(searches,)` float64."""
    unit, lengths = steps * 2.0**-24, _lengths(queries)
    return unit / (1 - unit) * lengths * longest + steps * TINY * (1 + lengths + longest)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.sqrt(squares(rows))


def rounded_off(rows: np.ndarray) -> np.ndarray:
    """What rounding float32 rows to bfloat16 takes off them, exactly, in float32."""
    given = torch.from_numpy(rows)
    return (given - given.bfloat16()).numpy()


def exact_scores(
    queries: np.ndarray, vectors: np.ndarray, query: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """Float64 inner products of pairs `(pairs,)` of a query and a vector; the same sum for a pair wherever it stands."""
    scores = np.empty(len(row))
    step = max(1, FLOATS_AT_ONCE // vectors.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        pairs = vectors[row[part]].astype(np.float64)
        pairs *= queries[query[part]]
        scores[part] = pairs.sum(axis=1)
    return scores


def products(queries: np.ndarray, vectors: np.ndarray) -> Tensor:
    """Float32 inner products `(searches, vectors)`."""
    if has_onednn() and torch.get_float32_matmul_precision() == "highest":
        return _by_onednn(torch.from_numpy(queries), torch.from_numpy(vectors))
    return torch.from_numpy(queries @ vectors.T)


def _by_onednn(queries: Tensor, vectors: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(queries, vectors, None, "none", [], "")


def has_onednn() -> bool:
    """Whether torch here has oneDNN's product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def multiplies_bfloat16() -> bool:
    """Whether the processor itself multiplies bfloat16, and oneDNN has it do so: it may be told not to (`ONEDNN_MAX_CPU_ISA`)."""
    if not (has_onednn() and processor.multiplies_bfloat16()):
        return False
    tried = torch.ones(2, 2, dtype=torch.bfloat16)
    try:
        return bool((_by_onednn(tried, tried) == 2).all())
    except RuntimeError:
        return False
