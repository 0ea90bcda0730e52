"""Is ranker B better than ranker A? The paired difference of a metric, with an interval over users.

Rows of one user are alike, so users, not rows, are drawn with replacement (a cluster bootstrap,
percentile interval), and both rankers see the same draws. Sampling noise of the test set is in the
interval; the luck of a training seed is not, so `compare_seeds` averages over seeds and reports how
far they spread.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from moon_rec.errors import RankingError
from ranking.metrics import Weight, checked, group_codes
from ranking.resampling import (
    Statistic,
    WeightedAuc,
    interval,
    resample,
    weighted_gauc,
    weighted_log_loss,
)

Metric = Literal["auc", "gauc", "log_loss"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Comparison:
    """The difference of two rankers on the same rows.

    Attributes:
        value: metric of B minus metric of A (for log loss, below zero is better).
        low, high: ends of its interval at `level`.
        a, b: the metric of each.
        count: how many users were resampled.
        definition: what was compared, in words to print beside it.
        level: coverage of the interval.
        seed_values: the difference of each seed (one value where there is one seed).
        seed_spread: their standard deviation, 0 with one seed; not part of the interval.
    """

    value: float
    low: float
    high: float
    a: float
    b: float
    count: int
    definition: str
    level: float
    seed_values: tuple[float, ...]
    seed_spread: float

    @property
    def is_significant(self) -> bool:
        """Whether zero is outside the interval."""
        return self.low > 0 or self.high < 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def compare(
    labels: np.ndarray,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    users: np.ndarray,
    metric: Metric = "auc",
    num_resamples: int = 1000,
    seed: int = 0,
    weight: Weight | None = None,
    level: float = 0.95,
) -> Comparison:
    """Metric of B minus metric of A on the same rows, paired, with a bootstrap interval over users.

    Args:
        labels: `(rows,)` of 0 and 1.
        scores_a, scores_b: `(rows,)`, row for row the same impressions; probabilities for log loss.
        users: `(rows,)` ids.
        metric: `auc`, `gauc` or `log_loss`.
        weight: GAUC's weight (`impressions` when None).

    Raises:
        RankingError: what `ranking.metrics.auc` refuses, an unknown metric, a setting out of range.
    """
    return compare_seeds(
        labels, [scores_a], [scores_b], users, metric, num_resamples, seed, weight, level
    )


def compare_seeds(
    labels: np.ndarray,
    scores_a: Sequence[np.ndarray],
    scores_b: Sequence[np.ndarray],
    users: np.ndarray,
    metric: Metric = "auc",
    num_resamples: int = 1000,
    seed: int = 0,
    weight: Weight | None = None,
    level: float = 0.95,
) -> Comparison:
    """`compare` averaged over training seeds: the mean over seeds of (B minus A) under shared user draws.

    Args:
        scores_a, scores_b: one `(rows,)` array a seed, as many of A as of B, paired by position.
    """
    if len(scores_a) != len(scores_b) or not scores_a:
        raise RankingError(
            f"{len(scores_a)} seeds of A and {len(scores_b)} of B: wanted as many of each, not none"
        )
    if num_resamples < 1 or not 0 < level < 1:
        raise RankingError(
            f"num_resamples {num_resamples}, level {level}: wanted at least 1, and inside (0, 1)"
        )
    codes = group_codes(users, np.asarray(labels).size)
    statistics = [
        statistic_of(metric, labels, scores, codes, weight) for scores in (*scores_a, *scores_b)
    ]
    num_users, num_seeds = int(codes.max()) + 1, len(scores_a)
    whole = np.ones(num_users)
    point = np.array([statistic.value(whole) for statistic in statistics])
    drawn = resample(statistics, num_users, num_resamples, seed)
    differences = point[num_seeds:] - point[:num_seeds]
    drawn_mean = (drawn[:, num_seeds:] - drawn[:, :num_seeds]).mean(axis=1)
    low, high = interval(drawn_mean, level)
    return Comparison(
        value=float(differences.mean()),
        low=low,
        high=high,
        a=float(point[:num_seeds].mean()),
        b=float(point[num_seeds:].mean()),
        count=num_users,
        definition=_definition(metric, weight, num_seeds),
        level=level,
        seed_values=tuple(float(value) for value in differences),
        seed_spread=float(differences.std(ddof=1)) if num_seeds > 1 else 0.0,
    )


def statistic_of(
    metric: str,
    labels: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray,
    weight: Weight | None = None,
) -> Statistic:
    """The metric of that name over these rows, ready to be resampled; `users` are codes from 0."""
    labels, scores = checked(labels, scores, both_classes=metric != "log_loss")
    if metric == "auc":
        return WeightedAuc(labels, scores, users)
    if metric == "gauc":
        return weighted_gauc(labels, scores, users, weight or "impressions")
    if metric == "log_loss":
        return weighted_log_loss(labels, scores, users)
    raise RankingError(f"metric {metric!r}: wanted one of {', '.join(METRICS)}")


def _definition(metric: str, weight: Weight | None, num_seeds: int) -> str:
    name = {"auc": "AUC", "gauc": f"GAUC by {weight or 'impressions'}", "log_loss": "log loss"}
    seeds = f", mean over {num_seeds} seeds" if num_seeds > 1 else ""
    return f"{name[metric]} of B minus A on the same rows{seeds}; bootstrap over users, paired"
