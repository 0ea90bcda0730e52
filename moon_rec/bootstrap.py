"""The percentile bootstrap of a mean that has no bounds, in bounded memory; `shares` has the interval of one that has."""

import numpy as np

from moon_rec.estimate import Estimate
from moon_rec.seeds import generator

CHUNK_CELLS = 4_000_000


def bootstrap_mean(
    values: np.ndarray,
    seed: int = 0,
    num_resamples: int = 1000,
    level: float = 0.95,
    definition: str = "",
) -> Estimate:
    """Mean of `values` with its percentile-bootstrap interval (Efron 1979), units drawn with replacement.

    Args:
        values: `(units,)`, one value a unit (a search, a user ...), finite.

    Returns:
        The mean and its interval; NaN throughout where there are no units, and no interval (NaN) of one unit, whose resamples are all itself.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, definition, level)
    if values.size == 1:
        nothing = float("nan")
        return Estimate(float(values[0]), nothing, nothing, 1, definition, level)
    random = generator(seed, "bootstrap", values.size)
    means = np.empty(num_resamples)
    step = max(1, CHUNK_CELLS // values.size)
    for start in range(0, num_resamples, step):
        stop = min(start + step, num_resamples)
        rows = random.integers(0, values.size, size=(stop - start, values.size))
        means[start:stop] = values[rows].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high), values.size, definition, level)
