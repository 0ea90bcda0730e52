"""Inner products, quick and exact, and what the quick ones may be off.

A float32 inner product of any summation order is off by at most `d u / (1 - d u) |q| |v|`, u = 2^-24 (Higham 2002, section 3.1), whoever computes it: NumPy's BLAS,
faiss's, a GPU's.
"""

import numpy as np
import torch
from torch import Tensor

TINY = float(np.finfo(np.float32).tiny)
"""What a flushed subnormal is off by at most."""
FLOATS_AT_ONCE = 8_000_000
"""Most float64 of vectors scored exactly at once: 64 MB."""
BLOCK = 2048
"""Vectors multiplied at once where all products of a block are looked at."""
ROWS_AT_ONCE = 2048


def margin(queries: np.ndarray, longest: float) -> np.ndarray:
    """Twice the largest error of a float32 product of each query with a vector of length `longest`, `(searches,)`."""
    steps, lengths = queries.shape[1], np.sqrt(squares(queries))
    unit = steps * 2.0**-24
    off = unit / (1 - unit) * lengths * longest + steps * TINY * (1 + lengths + longest)
    return (2.02 * off).astype(np.float32)


def products(queries: np.ndarray, vectors: np.ndarray) -> Tensor:
    """Float32 inner products `(searches, vectors)`, whatever torch was told of rounding its own."""
    return torch.from_numpy(queries @ vectors.T)


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


def squares(rows: np.ndarray) -> np.ndarray:
    """Squared lengths of rows, `(rows,)` float64, in little memory."""
    blocks = [rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE)]
    each = [np.einsum("id,id->i", block, block, dtype=np.float64) for block in blocks]
    return np.concatenate([np.empty(0), *each])
