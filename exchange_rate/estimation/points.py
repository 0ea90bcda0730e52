"""Runs -> one point an encoder: the unit of evidence of every fit in this package.

Several seeds of one encoder tell how noisy its AUC is; they are no further encoders. So runs are averaged within their encoder before any line is
fitted, and the spread between seeds is kept beside the points as `seed_noise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exchange_rate.estimation.columns import (
    Floats,
    name_column,
    number_array,
    number_column,
    same_length,
)
from moon_rec.errors import StudyError


@dataclass(frozen=True)
class Points:
    """One point an encoder, in order of first appearance.

    Attributes:
        names: the encoders.
        metric, auc: `(encoders,)` means over runs.
        metric_noise: standard error of an encoder's metric, root mean square over encoders; 0 where it was not given.
        num_runs: runs behind each point.
        seed_noise: standard deviation of AUC between seeds of one encoder, pooled (NaN with one seed each).
    """

    names: tuple[str, ...]
    metric: Floats
    auc: Floats
    metric_noise: float
    num_runs: tuple[int, ...]
    seed_noise: float

    def without(self, row: int) -> "Points":
        """The same points less one encoder."""
        keep = [index for index in range(len(self.names)) if index != row]
        return Points(
            tuple(self.names[index] for index in keep),
            self.metric[keep],
            self.auc[keep],
            self.metric_noise,
            tuple(self.num_runs[index] for index in keep),
            self.seed_noise,
        )


def gather_points(
    metric: ArrayLike,
    auc: ArrayLike,
    encoder: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    metric_error: ArrayLike | None = None,
) -> Points:
    """Average runs within encoders; see `Points`.

    With `seed`, where the seeds are shared among encoders an effect common to a seed is taken out, so that an encoder which misses a lucky seed is not
    blamed for it.

    Raises:
        StudyError: columns of different lengths, no rows, a value that is no finite number, a name that is missing, one encoder with two values of the metric,
            or two rows of one encoder and seed.
    """
    x, y = number_column(metric, "metric"), number_column(auc, "auc")
    names = name_column(encoder, "encoder")
    seeds = None if seed is None else name_column(seed, "seed")
    same_length(metric=x, auc=y, encoder=names, seed=seeds)
    errors = _errors(metric_error, len(names))
    order = list(dict.fromkeys(names))
    code = np.array([order.index(name) for name in names])
    _one_metric_each(x, names)
    if seeds is not None:
        _one_run_each(names, seeds)
    means, noise, counts = _seed_means(y, code, seeds, len(order))
    return Points(
        names=tuple(order),
        metric=np.array([x[code == row].mean() for row in range(len(order))]),
        auc=means,
        metric_noise=float(
            np.sqrt(np.mean([np.mean(errors[code == row] ** 2) for row in range(len(order))]))
        ),
        num_runs=counts,
        seed_noise=noise,
    )


def _one_metric_each(metric: Floats, names: list[str]) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        before = metric[first.setdefault(name, row)]
        if not np.isclose(metric[row], before, rtol=1e-9, atol=0):
            raise StudyError(
                f"encoder {name!r} has metric {before:g} in row {first[name]} and {metric[row]:g} in row {row}; the metric is the encoder's, so name two encoders "
                "apart or give each run the encoder's one value"
            )


def _one_run_each(names: list[str], seeds: list[str]) -> None:
    first: dict[tuple[str, str], int] = {}
    for row, run in enumerate(zip(names, seeds, strict=True)):
        if first.setdefault(run, row) != row:
            raise StudyError(
                f"encoder {run[0]!r} with seed {run[1]} stands in row {first[run]} and again in row {row}; one run counts once, so remove one or give it its own seed"
            )


def _seed_means(
    auc: Floats, code: NDArray[np.intp], seeds: list[str] | None, num_encoders: int
) -> tuple[Floats, float, tuple[int, ...]]:
    """Encoder means of AUC, the pooled standard deviation between seeds, and the runs of each encoder."""
    if seeds is None:
        counts = np.bincount(code, minlength=num_encoders)
        means = np.bincount(code, weights=auc, minlength=num_encoders) / counts
        return means, _pooled(auc - means[code], len(auc) - num_encoders), tuple(counts.tolist())
    labels = list(dict.fromkeys(seeds))
    rows, columns = code, np.array([labels.index(one) for one in seeds])
    values, counts = auc, tuple(np.bincount(rows, minlength=num_encoders).tolist())
    # one effect an encoder, one a seed; where seeds are not shared the two cannot be told apart
    design = np.hstack([np.eye(num_encoders)[rows], np.eye(len(labels))[columns]])
    rank = int(np.linalg.matrix_rank(design))
    if len(labels) > 1 and rank == num_encoders + len(labels) - 1:
        effects = np.linalg.lstsq(design, values, rcond=None)[0]
        means = effects[:num_encoders] + effects[num_encoders:].mean()
        return means, _pooled(values - design @ effects, len(values) - rank), counts
    means = np.bincount(rows, weights=values, minlength=num_encoders) / np.array(counts)
    return means, _pooled(values - means[rows], len(values) - num_encoders), counts


def _pooled(residuals: Floats, freedom: int) -> float:
    return float(np.sqrt(np.sum(residuals**2) / freedom)) if freedom > 0 else float("nan")


def _errors(metric_error: ArrayLike | None, num_rows: int) -> Floats:
    """A standard error a row: the one given for all, or those given; 0 for all where none is."""
    if metric_error is None:
        return np.zeros(num_rows)
    given = number_array(metric_error, "metric_error")
    errors = np.full(num_rows, float(given)) if given.ndim == 0 else given
    if errors.shape != (num_rows,):
        raise StudyError(
            f"metric_error: wanted one standard error, or one a row ({num_rows}); received shape {errors.shape}"
        )
    if (errors < 0).any() or (errors.any() and not errors.all()):
        row = int(np.flatnonzero(errors <= 0)[0])
        raise StudyError(
            f"metric_error, row {row}: {errors[row]:g} is no standard error of a measured metric; wanted more than 0 (or None, or 0 for all: metrics without noise)"
        )
    return errors
