"""The blend of metrics with the largest proxy quality, with weights that a study of few encoders can bear.

The best weights (L_PP + X)^-1 L_PN (`exchange_rate.estimation.proxies`) turn round a matrix that has as many rows as there are metrics, from as many encoders or fewer: as they stand they
follow the noise. So the matrix is shrunk: metrics are divided by their standard deviations, and

    w(ridge) proportional to (R_PP + ridge I)^-1 r_PN        R correlations of what was measured, r = the same less noise that metric and outcome share

A large ridge gives every metric its own correlation as weight, a small one takes out what metrics have in common. The ridge with the smallest leave-one-path-out error is
taken. Ledoit and Wolf's (2004) shrinkage, the alternative, comes nearest to the covariance matrix; we need weights that predict an encoder of a new training, and its formula takes
encoders for independent, which checkpoints of one training are not. On what a blend is worth the choice of its ridge has an influence too: each fold of paths is predicted with
weights and ridge found without it.
"""

from dataclasses import dataclass

import numpy as np

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.leave_out import Codes, left_out_errors, path_codes
from exchange_rate.estimation.proxies import Sample, qualities
from exchange_rate.estimation.ranking import is_larger
from exchange_rate.estimation.trust import Blend
from moon_rec.seeds import generator

RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
NUM_FOLDS = 10
"""Folds of whole paths, where there are more paths than this: 165 fits of every ridge take long and say no more."""
LEAST_PATHS = 5


def best_blend(
    sample: Sample, names: tuple[str, ...], best: str, level: float, seed: int
) -> Blend | None:
    """The blend of all metrics `names` of the sample beside the `best` single one; None for a single metric or fewer than five paths."""
    single = sample.metrics[:, names.index(best)]
    errors = left_out_errors(single, sample.outcome, sample.codes)
    if len(names) < 2 or sample.num_paths < LEAST_PATHS or errors is None:
        return None
    found = blend_weights(sample)
    scores, blended = left_out_scores(sample, seed)
    own = Sample(scores[:, None], sample.outcome, sample.codes, sample.outcome_noise, np.zeros(1))
    quality = qualities(own, level)
    sizes = [float(np.sqrt(np.mean(one**2))) for one in (blended, errors[0])]
    is_better = is_larger(errors[0], blended, 1 - level, sample.codes)
    words = (
        f"it predicts an encoder of a new training with an error of {sizes[0]:.2g}, {best} alone with {sizes[1]:.2g}: "
        f"{'shown to be better' if is_better else 'not shown to be better'}"
    )
    order = np.argsort(-np.abs(found.values), kind="stable").tolist()
    return Blend(
        weights={names[row]: float(found.values[row]) for row in order},
        quality=float(quality.value[0]),
        low=float(quality.low[0]),
        high=float(quality.high[0]),
        left_out_error=sizes[0],
        ridge=found.ridge,
        best_metric=best,
        best_left_out_error=sizes[1],
        is_better=is_better,
        reason="; ".join(filter(None, (words, quality.reason))),
    )


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights `(metrics,)` for metrics in standard deviations, absolute values summing to 1, and their ridge."""

    values: Floats
    ridge: float


def blend_weights(sample: Sample) -> Weights:
    """The weights; see the module's docstring."""
    ridge = _best_ridge(sample)
    return Weights(_weights(sample, ridge), ridge)


def left_out_scores(sample: Sample, seed: int) -> tuple[Floats, Floats]:
    """`(encoders,)` each: the blend's score of an encoder, and the error of its predicted outcome, with weights, ridge and line found without its fold of paths.

    A score is the predicted difference from the mean encoder, so that scores of different folds have one unit.
    """
    scores, errors = np.empty(len(sample.outcome)), np.empty(len(sample.outcome))
    centre = sample.metrics.mean(axis=0)
    for fold in _folds(sample, seed):
        rest = _keep(sample, ~fold)
        weights = _slopes(rest, _best_ridge(rest))
        scores[fold] = (sample.metrics[fold] - centre) @ weights
        predicted = (
            rest.outcome.mean() + (sample.metrics[fold] - rest.metrics.mean(axis=0)) @ weights
        )
        errors[fold] = sample.outcome[fold] - predicted
    return scores, errors


def _folds(sample: Sample, seed: int) -> list[np.ndarray]:
    paths = np.arange(sample.num_paths)
    if sample.num_paths > NUM_FOLDS:
        paths = generator(seed, "folds of paths", sample.num_paths).permutation(paths) % NUM_FOLDS
    return [paths[sample.codes] == fold for fold in range(int(paths.max()) + 1)]


def _keep(sample: Sample, rows: np.ndarray) -> Sample:
    return Sample(
        sample.metrics[rows],
        sample.outcome[rows],
        path_codes(sample.codes[rows].tolist()),
        sample.outcome_noise,
        sample.shared_noise,
    )


def _scaled(sample: Sample) -> tuple[Floats, Floats]:
    """Centred metrics in standard deviations (a constant one is 0 throughout), and the standard deviations."""
    around = sample.metrics - sample.metrics.mean(axis=0)
    size = around.std(axis=0)
    size = np.where(
        size > 1e-12 * np.maximum(1.0, np.abs(sample.metrics).max(axis=0)), size, np.inf
    )
    return around / size, size


def _weights(sample: Sample, ridge: float) -> Floats:
    """Absolute values sum to 1."""
    scaled, size = _scaled(sample)
    found = _solved(scaled, sample.outcome, sample.shared_noise / size, ridge)
    total = float(np.abs(found).sum())
    return found / total if total > 0 else found


def _slopes(sample: Sample, ridge: float) -> Floats:
    """Outcome per unit of each metric."""
    scaled, size = _scaled(sample)
    return _solved(scaled, sample.outcome, sample.shared_noise / size, ridge) / size


def _solved(scaled: Floats, outcome: Floats, shared: Floats, ridge: float) -> Floats:
    count, width = scaled.shape
    cross = scaled.T @ (outcome - outcome.mean()) / count - shared
    return np.linalg.solve(scaled.T @ scaled / count + ridge * np.eye(width), cross)


def _best_ridge(sample: Sample) -> float:
    """The ridge of the smallest leave-one-path-out error, from one decomposition: errors without a path are (I - H)^-1 times residuals, H the path's block of the hat matrix."""
    scaled, _ = _scaled(sample)
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    target = sample.outcome - sample.outcome.mean()
    squares = values**2 / len(target)
    sizes = []
    for ridge in RIDGES:
        hat = (left * (squares / (squares + ridge))) @ left.T + 1 / len(target)
        sizes.append(_left_out_size(hat, target - hat @ target, sample.codes))
    return RIDGES[int(np.argmin(sizes))]


def _left_out_size(hat: Floats, residuals: Floats, codes: Codes) -> float:
    if int(codes.max()) + 1 == len(codes):
        return float(np.sum((residuals / (1 - np.diag(hat))) ** 2))
    total = 0.0
    for path in range(int(codes.max()) + 1):
        own = np.flatnonzero(codes == path)
        block = np.eye(len(own)) - hat[np.ix_(own, own)]
        total += float(np.sum(np.linalg.solve(block, residuals[own]) ** 2))
    return total
