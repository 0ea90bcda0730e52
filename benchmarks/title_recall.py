"""Recall of a title's own picture, the most that titles allow, and ridge regression as the plain baseline; see `benchmarks.title_to_picture`."""

import time
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.title_features import Features, Split, vectorizer
from moon_rec.shares import wilson

DEPTHS = (1, 10, 50)
PENALTIES = (1.0, 3.0, 10.0, 30.0)


def ceiling(titles: list[str], asked: np.ndarray) -> dict[str, float]:
    """Recall@k where all products of the right title come first, in any order: the most that titles tell."""
    many = Counter(titles)
    of_asked = np.array([many[titles[row]] for row in asked])
    return named({depth: float(np.minimum(depth / of_asked, 1).mean()) for depth in DEPTHS})


def recalls(queries: Tensor, gallery: Tensor, own: np.ndarray) -> dict[int, float]:
    """Share of queries whose own picture is among the first k; a tie counts as before it."""
    ranks, wanted = [], torch.from_numpy(own).to(gallery.device)
    for first in range(0, len(queries), 250):
        scores = queries[first : first + 250].float() @ gallery.float().T
        right = scores.gather(1, wanted[first : first + 250, None])
        ranks.append((scores >= right).sum(dim=1) - 1)
    rank = torch.cat(ranks)
    return {depth: (rank < depth).float().mean().item() for depth in DEPTHS}


def ridge(features: Features, titles: list[str], split: Split) -> dict[str, Any]:
    """TF-IDF -> the vision tower's outputs, centred."""
    pictures = features.pictures()
    start = time.process_time()
    words = vectorizer(max_features=6_000)
    words.fit([titles[row] for row in split.train])
    matrix = words.transform(titles)
    centre = pictures[split.train].mean(axis=0)
    wanted = pictures - centre
    gallery = functional.normalize(torch.from_numpy(wanted), dim=-1)
    x = matrix[split.train]
    gram, moments = (x.T @ x).toarray(), x.T @ wanted[split.train]

    def asked(slope: np.ndarray, rows: np.ndarray) -> dict[int, float]:
        found = torch.from_numpy((matrix[rows] @ slope).astype(np.float32))
        return recalls(functional.normalize(found, dim=-1), gallery, rows)

    slopes = {one: np.linalg.solve(gram + one * np.eye(len(gram)), moments) for one in PENALTIES}
    curve = [
        {"penalty": one, **named(asked(slope, split.validation))}
        for one, slope in slopes.items()
    ]  # fmt: skip
    best = max(curve, key=lambda point: point["R@10"])
    held_out = asked(slopes[best["penalty"]], split.held_out)
    seconds = {**features.seconds, "training": time.process_time() - start}
    return {"recall": with_intervals(held_out, len(split.held_out)), "best": best, "seconds": seconds, "curve": curve}  # fmt: skip


def named(shares: dict[int, float]) -> dict[str, float]:
    """By `R@k`."""
    return {f"R@{depth}": share for depth, share in shares.items()}


def with_intervals(shares: dict[int, float], asked: int) -> dict[str, Any]:
    """By `R@k`, with Wilson's 95 % intervals."""
    found = {}
    for depth, share in shares.items():
        low, high = (float(each) for each in wilson(share, asked))
        found[f"R@{depth}"] = {"share": share, "low": low, "high": high, "count": asked}
    return found
