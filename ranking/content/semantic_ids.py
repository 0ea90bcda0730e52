"""Semantic ids: a vector as a few codes, by residual quantisation (RQ k-means).

    r_0 = v,   c_l = nearest centroid of level l to r_l,   r_(l+1) = r_l - centroid of c_l

so that v is about the sum of its centroids, and items that share first codes are alike. Each level is k-means
on what the levels before it left over.

Notable choices
- Codes start at 1; 0 says that there is no vector, in all levels.
- Fitted on the given vectors only: the caller passes those of items known before the cut. An item that
  comes later is given codes of the fitted centroids.
- Seeded k-means++ and Lloyd's steps over at most `MOST_PER_CODE` vectors a code, as faiss has it. Sums are in
  float64 and rows go in blocks of a fixed size, so the same call gives the same bits on one machine.
- A code that loses all of its vectors takes the one farthest from its centroid. Where there are fewer
  different vectors than codes, the codes left over are not used.
- Collisions stay: two items with the same codes share them; their item ids tell them apart.

Ours -> the field's: `num_levels` -> depth, `centroids` -> codebooks.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from moon_rec.errors import RankingError, first_line
from moon_rec.files import atomic_file
from moon_rec.progress import progress
from moon_rec.seeds import generator
from moon_rec.strict_json import parse_json

FORMAT_VERSION = 1
MOST_PER_CODE = 256
LLOYD_STEPS = 20
BLOCK_ROWS = 16_384
CACHED_ROWS = 1_024


class SemanticIds:
    """Centroids of all levels.

    Attributes:
        centroids: `(levels, codes, dim)` float32, zeros where not used; code c is row c - 1.
        num_used: `(levels,)` int64, codes in use.
    """

    def __init__(self, centroids: np.ndarray, num_used: np.ndarray):
        self.centroids, self.num_used = centroids, num_used
        self.num_levels, self.num_codes, self.dim = centroids.shape

    @classmethod
    def fit(
        cls, vectors: np.ndarray, num_levels: int = 3, num_codes: int = 256, seed: int = 0
    ) -> "SemanticIds":
        """Learn centroids.

        Args:
            vectors: `(items, dim)`, of items with a vector that are known before the cut.
            num_levels, num_codes: codes an item, and different codes a level.
            seed: of the sample and of the first centroids.

        Raises:
            RankingError: no vectors, vectors that are not finite, or sizes below one.
        """
        vectors = _checked(vectors)
        if not len(vectors) or num_levels < 1 or num_codes < 1:
            raise RankingError(
                f"semantic ids want vectors, levels and codes: got {len(vectors)} vectors, {num_levels} "
                f"levels, {num_codes} codes; pass items that have vectors and positive sizes"
            )
        most = MOST_PER_CODE * num_codes
        if len(vectors) > most:
            rows = generator(seed, "semantic ids", "sample").choice(len(vectors), most, False)
            vectors = vectors[np.sort(rows)]
        centroids = np.zeros((num_levels, num_codes, vectors.shape[1]), dtype=np.float32)
        num_used, left = np.zeros(num_levels, dtype=np.int64), vectors
        with progress("semantic ids", total=num_levels * (LLOYD_STEPS + 1)) as bar:
            for level in range(num_levels):
                random = generator(seed, "semantic ids", level)
                found = _first_centroids(left, num_codes, random)
                bar.advance()
                for _ in range(LLOYD_STEPS):
                    found = _lloyd_step(left, found)
                    bar.advance()
                centroids[level, : len(found)], num_used[level] = found, len(found)
                left = left - found[_nearest(left, found)[0]]
        return cls(centroids, num_used)

    def encode(self, vectors: np.ndarray, present: np.ndarray | None = None) -> np.ndarray:
        """Codes of vectors.

        Args:
            vectors: `(items, dim)`.
            present: `(items,)` booleans, which of them exist; None for all.

        Returns:
            `(items, levels)` int64 in 1 ... num_codes; 0 where there is no vector.

        Raises:
            RankingError: vectors of another width, or not finite.
        """
        chosen = np.arange(len(vectors)) if present is None else np.flatnonzero(present)
        left = _checked(vectors[chosen], self.dim)
        codes = np.zeros((len(vectors), self.num_levels), dtype=np.int64)
        for level in range(self.num_levels):
            centroids = self.centroids[level, : self.num_used[level]]
            nearest = _nearest(left, centroids)[0]
            codes[chosen, level] = nearest + 1
            left = left - centroids[nearest]
        return codes

    def reconstruct(self, codes: np.ndarray) -> np.ndarray:
        """Vectors of codes: `(items, levels)` -> `(items, dim)` float32; fewer levels give a coarser one.

        A code of 0 adds nothing.

        Raises:
            RankingError: codes of more levels than there are, or out of range.
        """
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] > self.num_levels:
            raise RankingError(
                f"codes of shape {codes.shape}, wanted (items, up to {self.num_levels} levels)"
            )
        if codes.size and not 0 <= codes.min() <= codes.max() <= self.num_codes:
            raise RankingError(
                f"codes from {codes.min()} to {codes.max()}, wanted 0 to {self.num_codes}; pass those of encode"
            )
        total = np.zeros((len(codes), self.dim), dtype=np.float32)
        for level in range(codes.shape[1]):
            padded = np.concatenate(
                [np.zeros_like(self.centroids[level, :1]), self.centroids[level]]
            )
            total += padded[codes[:, level]]
        return total

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, atomically."""
        tensors = {"centroids": np.ascontiguousarray(self.centroids), "num_used": self.num_used}
        about = {"semantic_ids": json.dumps({"format_version": FORMAT_VERSION})}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata=about)

    @classmethod
    def load(cls, path: Path | str) -> "SemanticIds":
        """Read what `save` wrote.

        Raises:
            RankingError: no such file, or another one.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about = parse_json((file.metadata() or {}).get("semantic_ids", "{}"))
                if not isinstance(about, dict):
                    about = {}
                if about.get("format_version") != FORMAT_VERSION:
                    raise RankingError(
                        f"{path}: semantic ids of format {about.get('format_version')!r}, wanted "
                        f"{FORMAT_VERSION}; fit and save them again"
                    )
                found = cls(file.get_tensor("centroids"), file.get_tensor("num_used"))
        except RankingError:
            raise
        except Exception as error:  # safetensors has an error of its own, and numpy has others
            raise RankingError(
                f"no semantic ids at {path}: {first_line(error)}; save them there first"
            ) from None
        centroids, used = found.centroids, found.num_used
        is_sound = centroids.ndim == 3 and centroids.dtype == np.float32
        is_sound &= used.shape == centroids.shape[:1] and used.dtype == np.int64
        if is_sound:
            is_sound = ((used >= 0) & (used <= found.num_codes)).all() and np.isfinite(
                centroids
            ).all()
        if not is_sound:
            raise RankingError(
                f"{path}: centroids {centroids.dtype} {centroids.shape} and counts {used.shape}, wanted finite float32 (levels, codes, dim) and a count of those used a level; fit and save them again"
            )
        return found


def _checked(vectors: np.ndarray, dim: int | None = None) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or (dim is not None and vectors.shape[1] != dim):
        raise RankingError(
            f"semantic ids: vectors of shape {vectors.shape}, wanted (items, {dim or 'dim'}); pass the "
            "table they were fitted on"
        )
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise RankingError(f"semantic ids: vector {row} is not finite; leave it out as missing")
    return vectors


def _nearest(vectors: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest centroid of each vector (the first of equals), and the squared distance to it."""
    nearest = np.empty(len(vectors), dtype=np.int64)
    distance = np.empty(len(vectors), dtype=np.float32)
    lengths = np.einsum("cd,cd->c", centroids, centroids)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        block = vectors[rows]
        far = lengths - 2 * (block @ centroids.T)
        nearest[rows] = far.argmin(axis=1)
        rest = block - centroids[nearest[rows]]
        distance[rows] = np.einsum("nd,nd->n", rest, rest)
    return nearest, distance


def _first_centroids(
    vectors: np.ndarray, num_codes: int, random: np.random.Generator
) -> np.ndarray:
    """k-means++: each next one drawn by squared distance to those before it; fewer where all are taken."""
    chosen = [int(random.integers(len(vectors)))]
    distance = np.full(len(vectors), np.inf)
    while True:
        # differences, not products: a copy of a chosen vector is at distance 0 to the last bit
        for start in range(0, len(vectors), CACHED_ROWS):
            rows = slice(start, start + CACHED_ROWS)
            rest = vectors[rows] - vectors[chosen[-1]]
            distance[rows] = np.minimum(distance[rows], np.einsum("nd,nd->n", rest, rest))
        total = distance.cumsum()
        if len(chosen) == num_codes or not total[-1] > 0:
            return vectors[chosen]
        chosen.append(int(np.searchsorted(total, random.random() * total[-1], side="right")))


def _lloyd_step(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Means of what lies nearest to each centroid; one without any takes the farthest vector."""
    nearest, distance = _nearest(vectors, centroids)
    order = np.argsort(nearest, kind="stable")
    codes, starts, counts = np.unique(nearest[order], return_index=True, return_counts=True)
    means = np.empty_like(centroids)
    sums = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64)
    means[codes] = sums / counts[:, None]
    empty = np.setdiff1d(np.arange(len(centroids)), codes)
    if empty.size:
        means[empty] = vectors[np.argsort(-distance, kind="stable")[: empty.size]]
    return means
