"""Runs -> one point an encoder: the unit of evidence of every fit in this package.

Several seeds of one encoder tell how noisy its AUC is; they are no further encoders. So runs are averaged within their encoder before any line is
fitted, and the spread between seeds is kept beside the points as `seed_noise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moon_rec.errors import StudyError

Floats = NDArray[np.float64]


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

    With `seed`, two rows of one encoder and seed are one run (their mean), and where the seeds are shared among encoders an effect common to a seed
    is taken out, so that an encoder which misses a lucky seed is not blamed for it.

    Raises:
        StudyError: columns of different lengths, no rows, or a value that is not finite.
    """
    x, y = _column(metric, "metric"), _column(auc, "auc")
    names = [str(name) for name in encoder]
    seeds = None if seed is None else [str(one) for one in seed]
    lengths = {"metric": len(x), "auc": len(y), "encoder": len(names)}
    if seeds is not None:
        lengths["seed"] = len(seeds)
    if len(set(lengths.values())) != 1 or not names:
        raise StudyError(f"wanted columns of one length, one row a run; received {lengths}")
    errors = _errors(metric_error, len(names))
    order = list(dict.fromkeys(names))
    code = np.array([order.index(name) for name in names])
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


def _seed_means(
    auc: Floats, code: NDArray[np.intp], seeds: list[str] | None, num_encoders: int
) -> tuple[Floats, float, tuple[int, ...]]:
    """Encoder means of AUC, the pooled standard deviation between seeds, and the runs of each encoder."""
    if seeds is None:
        counts = np.bincount(code, minlength=num_encoders)
        means = np.bincount(code, weights=auc, minlength=num_encoders) / counts
        return means, _pooled(auc - means[code], len(auc) - num_encoders), tuple(counts.tolist())
    labels = list(dict.fromkeys(seeds))
    cells: dict[tuple[int, int], list[float]] = {}
    for row, seed, value in zip(code.tolist(), seeds, auc.tolist(), strict=True):
        cells.setdefault((row, labels.index(seed)), []).append(value)
    rows, columns = np.array(list(cells)).T
    values = np.array([np.mean(one) for one in cells.values()])
    counts = tuple(np.bincount(rows, minlength=num_encoders).tolist())
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


def _column(values: ArrayLike, name: str) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise StudyError(f"{name}: wanted one column, received shape {column.shape}")
    if not np.isfinite(column).all():
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise StudyError(f"{name}, row {row}: {column[row]} is not finite; leave that run out")
    return column


def _errors(metric_error: ArrayLike | None, num_rows: int) -> Floats:
    errors = np.zeros(num_rows) if metric_error is None else np.asarray(metric_error, np.float64)
    if errors.ndim == 0:
        errors = np.full(num_rows, float(errors))
    if errors.shape != (num_rows,) or not np.isfinite(errors).all() or (errors < 0).any():
        raise StudyError(
            f"metric_error: wanted one standard error, or one a row ({num_rows}), each >= 0; "
            f"received {np.asarray(metric_error).tolist()}"
        )
    return errors
