"""Runs -> one point an encoder: the unit of evidence of every fit in this package.

Several seeds of one encoder tell how noisy its AUC is; they are no further encoders. So runs are averaged within their encoder before any line is
fitted, and the spread between seeds is kept beside the points as `seed_noise`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exchange_rate.estimation.columns import (
    Floats,
    name_column,
    number_array,
    number_column,
    same_length,
    truth_column,
)
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.results import OutcomeKind
from moon_rec.errors import StudyError


@dataclass(frozen=True, eq=False)
class Points:
    """One point an encoder, in order of first appearance.

    Attributes:
        names: the encoders.
        paths: the training that each is a checkpoint of; its own name where it stands alone. Encoders of one path are alike beyond their metric.
        is_trained: `(encoders,)` False where nothing was trained (random or merely pretrained weights); those never enter the headline.
        metric, outcome: `(encoders,)`; outcomes are means over runs.
        metric_error: `(encoders,)` standard error of each metric; 0 where it was not given.
        num_runs: runs behind each point.
        seed_noise: standard deviation of the outcome between seeds of one encoder, pooled (NaN with one seed each).
        shared_noise: share of the metric's noise variance that all encoders have in common; used where there are no draws.
        draws: the same draws of users for all encoders; None where only standard errors are known.
        outcome_kind: AUC, or its difference from permuted vectors.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]
    is_trained: NDArray[np.bool_]
    metric: Floats
    outcome: Floats
    metric_error: Floats
    num_runs: tuple[int, ...]
    seed_noise: float
    shared_noise: float = 0.0
    draws: Draws | None = None
    outcome_kind: OutcomeKind = "auc"

    @property
    def metric_noise(self) -> float:
        """Standard error of an encoder's metric, root mean square over encoders."""
        return float(np.sqrt(np.mean(self.metric_error**2)))

    def keep(self, rows: ArrayLike) -> "Points":
        """The points of these rows (a mask or indices `(kept,)`)."""
        chosen = np.asarray(rows)
        kept = np.arange(len(self.names))[chosen if chosen.size else []].tolist()
        names = tuple(self.names[row] for row in kept)
        return replace(
            self,
            names=names,
            paths=tuple(self.paths[row] for row in kept),
            is_trained=self.is_trained[kept],
            metric=self.metric[kept],
            outcome=self.outcome[kept],
            metric_error=self.metric_error[kept],
            num_runs=tuple(self.num_runs[row] for row in kept),
            draws=None if self.draws is None else self.draws.of(names),
        )

    def without(self, row: int) -> "Points":
        """The same points less one encoder."""
        return self.keep([index for index in range(len(self.names)) if index != row])


def gather_points(
    metric: ArrayLike,
    outcome: ArrayLike,
    encoder: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    metric_error: ArrayLike | None = None,
    *,
    path: Sequence[object] | NDArray | None = None,
    is_trained: Sequence[bool] | NDArray | None = None,
    shared_noise: float = 0.0,
    draws: Draws | None = None,
    outcome_kind: OutcomeKind = "auc",
) -> Points:
    """Average runs within encoders; see `Points`. One row a run in every column.

    With `seed`, where the seeds are shared among encoders an effect common to a seed is taken out, so that an encoder which misses a lucky seed is not
    blamed for it.

    Raises:
        StudyError: columns of different lengths, no rows, a value that is no finite number, a name that is missing, one encoder with two values of the metric, the
            path or `is_trained`, two rows of one encoder and seed, a share outside 0 to 1, or draws without one of the encoders.
    """
    x, y = number_column(metric, "metric"), number_column(outcome, "auc")
    names = name_column(encoder, "encoder")
    seeds = None if seed is None else name_column(seed, "seed")
    paths = names if path is None else name_column(path, "path")
    trained = [True] * len(names) if is_trained is None else truth_column(is_trained, "is_trained")
    same_length(metric=x, auc=y, encoder=names, seed=seeds, path=paths, is_trained=trained)
    if not 0 <= shared_noise <= 1:
        raise StudyError(f"shared_noise = {shared_noise!r}: wanted a share from 0 to 1")
    errors = _errors(metric_error, len(names))
    order = list(dict.fromkeys(names))
    code = np.array([order.index(name) for name in names])
    first = [names.index(name) for name in order]
    _one_metric_each(x, names)
    _one_each(paths, names, "path")
    _one_each(trained, names, "is_trained")
    if seeds is not None:
        _one_run_each(names, seeds)
    means, noise, counts = _seed_means(y, code, seeds, len(order))
    squares = np.bincount(code, weights=errors**2) / np.bincount(code)
    return Points(
        names=tuple(order),
        paths=tuple(paths[row] for row in first),
        is_trained=np.array([trained[row] for row in first], dtype=np.bool_),
        metric=np.array([x[code == row].mean() for row in range(len(order))]),
        outcome=means,
        metric_error=np.sqrt(squares),
        num_runs=counts,
        seed_noise=noise,
        shared_noise=float(shared_noise),
        draws=None if draws is None else draws.of(order),
        outcome_kind=outcome_kind,
    )


def _one_each(values: list[Any], names: list[str], what: str) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        before = values[first.setdefault(name, row)]
        if values[row] != before:
            raise StudyError(
                f"encoder {name!r} has {what} {before!r} in row {first[name]} and {values[row]!r} in row {row}; name two encoders apart or give it one {what}"
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
