"""Estimates of what several trainings found: one mean over seeds and searches, differences paired, the same search and the same seed.

Hits stand in a table, a row a search, arm and seed: `arm`, `seed`, `modality` (the kind of search, or the task), `search_id`, and a column `hit@k` for each cut. Intervals (`moon_rec.shares`) are of the
variance in a bootstrap that draws searches and seeds anew. With three seeds the part of the seeds is rough, so each seed's own figure stands beside.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator
from moon_rec.shares import interval


def variance_of_mean(values: np.ndarray, seed: int, num_resamples: int = 2000) -> float:
    """Of the mean of `values` `(seeds, searches)`, by bootstrap: seeds and searches drawn anew."""
    random = generator(seed, "ablation", values.size)
    means = np.empty(num_resamples)
    for at in range(num_resamples):
        seeds = random.integers(0, len(values), len(values))
        searches = random.integers(0, values.shape[1], values.shape[1])
        means[at] = values[seeds].mean(axis=0)[searches].mean()
    return float(means.var())


def estimate_over_seeds(
    values: np.ndarray, definition: str, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Mean of `values` `(seeds, searches)`, within the bounds, with an interval over both."""
    low, high = interval(values.mean(), variance_of_mean(values, 0), values.shape[1], bounds=bounds)
    return Estimate(float(values.mean()), float(low), float(high), values.shape[1], definition)


def hits_by_seed(hits: pl.DataFrame, arm: str, modality: str, k: int) -> dict[int, np.ndarray]:
    """Of each seed that the arm has, rising, its hits `(searches,)` as float64, searches ascending."""
    chosen = hits.filter((pl.col("arm") == arm) & (pl.col("modality") == modality))
    return {
        int(seed): part.sort("search_id")[f"hit@{k}"].to_numpy().astype(np.float64)
        for (seed,), part in chosen.sort("seed").group_by("seed", maintain_order=True)  # type: ignore[misc]
    }


def rows_of(
    hits: pl.DataFrame,
    modality: str,
    k: int,
    against: Mapping[str, Mapping[str, str]],
    define: Callable[[int, int], str],
) -> list[dict[str, Any]]:
    """A row an arm that is there: its mean, its differences to other arms over the seeds that both have, and each seed's mean.

    Args:
        against: the arms in order, and for each the arms that it is held against, by the name that the difference has.
        define: the definition of the mean, of the number of searches and of seeds.
    """
    found = {arm: hits_by_seed(hits, arm, modality, k) for arm in against}
    rows = []
    for arm, others in against.items():
        if not found[arm]:
            continue
        values = np.stack(list(found[arm].values()))
        row: dict[str, Any] = {
            "arm": arm,
            "modality": modality,
            "k": k,
            "recall": estimate_over_seeds(values, define(values.shape[1], len(values))).as_dict(),
            "by_seed": values.mean(axis=1).tolist(),
        }
        for name, other in others.items():
            common = [seed for seed in found[arm] if seed in found.get(other, {})]
            if common:
                gaps = np.stack([found[arm][seed] - found[other][seed] for seed in common])
                about = f"recall@{k} of this arm minus that of '{other}', same searches, same seeds: {', '.join(map(str, common))}"
                row[name] = estimate_over_seeds(gaps, about, (-1.0, 1.0)).as_dict()
        rows.append(row)
    return rows
