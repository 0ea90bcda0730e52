"""Contenders of an exact search from faiss's flat index on a GPU, where faiss sees one.

On one H100 (2026-11-26) a million vectors of 128 were ranked as the processor ranks them, and the tests of exact search passed; on a processor the same code is tested
with its flat index. It holds float32 products of faiss's index to the margin of `contenders`, which a GPU set to round them (TF32) would break; faiss's own index does not
ask for that.
"""

from functools import cache

import faiss
import numpy as np
import torch

from representation.search.block_scores import Float32Scores
from representation.search.contenders import Contenders, best_of

MOST = 2048
"""Most neighbours that faiss gives from a GPU."""
SPARE = 64
"""Neighbours fetched beyond those needed, to see near ties."""


@cache
def gpu_resources():
    """faiss's memory and streams on the first GPU, once for the process: made for each index they cost more than a small search."""
    return faiss.StandardGpuResources()


def gpu_index(vectors: np.ndarray):
    """faiss's flat index of `vectors` on the first GPU, or None where faiss sees none."""
    if faiss.get_num_gpus() == 0:
        return None
    index = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.index_cpu_to_gpu(gpu_resources(), 0, index)
    index.add(vectors)  # pyright: ignore[reportCallIssue]
    return index


def gpu_contenders(
    index, in_float32: Float32Scores, need: int, hidden: np.ndarray, copies: int
) -> Contenders:
    """As `contenders.find_contenders` of `in_float32`; hidden copies take up places, so as many more are fetched as any one vector has (`copies`)."""
    fetched = min(need * copies + SPARE, MOST, index.ntotal)
    scores, places = index.search(in_float32.queries, fetched)
    lowest = scores[:, -1].copy() if fetched < index.ntotal else np.full(len(scores), -np.inf)
    scores[np.isin(places, hidden)] = -np.inf
    found = best_of(in_float32, torch.from_numpy(scores), torch.from_numpy(places), need)
    return found._replace(is_crowded=lowest >= found.floor)
