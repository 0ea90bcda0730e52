"""Is ranker B better than ranker A? The paired difference of a metric, with an interval over users.

Rows of one user are alike, so users, not rows, are drawn with replacement (a cluster bootstrap,
percentile interval), and both rankers see the same draws. Sampling noise of the test set is in that
interval: it judges the very rankers that were trained. The luck of a training seed is not in it, so
`compare_seeds` averages over seeds, reports how far they spread, and gives a second, wider interval
that takes the seeds for a sample too: the one that judges a way of training.

Model of the wider interval (two crossed random effects, users and seeds; `ranking.judging.power` plans with it).
The difference of seed s on n users is D_s = difference + U + S_s + I_s, with variances
U: shared / n (who is in the test set, the same for all seeds), S: seeds, I: each / n (how seed s suits
these users). The mean over k seeds then has variance shared / n + seeds / k + each / (n k). Over draws of users, one
seed's difference varies by (shared + each) / n, two seeds' differences vary together by shared / n, and
the mean by shared / n + each / (n k); the sample variance of the D_s estimates seeds + each / n. So
`seeds` is what the sample variance has beyond each / n (zero where it has less), and the wider interval
takes the variance of the mean over draws plus seeds / k, and Student's t with Satterthwaite's degrees
of freedom, for the sample variance rests on k - 1 alone. It is never narrower than the first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import stdtrit

from moon_rec.errors import RankingError
from ranking.judging.resampling import (
    NOTHING,
    Statistic,
    WeightedAuc,
    interval,
    resample,
    weighted_gauc,
    weighted_log_loss,
    weighted_normalised_entropy,
)
from ranking.metrics import Weight, checked, group_codes

Metric = Literal["auc", "gauc", "log_loss", "normalised_entropy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER = ("log_loss", "normalised_entropy")


@dataclass(frozen=True)
class Comparison:
    """The difference of two rankers on the same rows.

    Attributes:
        value: metric of B minus metric of A (for log loss and normalised entropy, below zero is better).
        low, high: ends of its interval at `level`.
        a, b: the metric of each.
        count: how many users were resampled.
        definition: what was compared, in words to print beside it.
        level: coverage of the interval.
        seed_values: the difference of each seed (one value where there is one seed).
        seed_spread: their standard deviation, 0 with one seed; not part of the interval.
        standard_error: of `value` over draws of users.
        seed_standard_error: the same of one seed's difference (root mean square over seeds).
        wide_low, wide_high: ends of the interval over users *and* seeds; NaN with one seed.
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
    standard_error: float = NOTHING
    seed_standard_error: float = NOTHING
    wide_low: float = NOTHING
    wide_high: float = NOTHING

    @property
    def is_significant(self) -> bool:
        """Whether zero is outside the interval over users: these trained rankers differ."""
        return self.low > 0 or self.high < 0

    @property
    def is_significant_over_seeds(self) -> bool:
        """Whether zero is outside the wider interval: the ways of training differ. False with one seed."""
        return self.wide_low > 0 or self.wide_high < 0

    @property
    def shared_variance(self) -> float:
        """Variance over draws of users that all seeds have in common, `shared / n`; all of it with one seed."""
        whole, single, seeds = self.standard_error**2, self.seed_standard_error**2, self.num_seeds
        if seeds == 1:
            return whole
        # Var(mean) = single / k + (k - 1) / k * covariance
        return max(0.0, (seeds * whole - single) / (seeds - 1))

    @property
    def each_variance(self) -> float:
        """The rest of one seed's variance over draws of users, `each / n`; zero with one seed."""
        if self.num_seeds == 1:
            return 0.0
        return max(0.0, self.seed_standard_error**2 - self.shared_variance)

    @property
    def seed_variance(self) -> float:
        """Variance between seeds beyond what these users make of them, `seeds`; NaN with one seed."""
        if self.num_seeds == 1:
            return NOTHING
        return max(0.0, self.seed_spread**2 - self.each_variance)

    @property
    def num_seeds(self) -> int:
        """Seeds of each side."""
        return len(self.seed_values)

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
        metric: `auc`, `gauc`, `log_loss` or `normalised_entropy`.
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
    num_seeds = len(scores_a)
    question = Question(
        statistics[:num_seeds],
        statistics[num_seeds:],
        int(codes.max()) + 1,
        definition(metric, weight, num_seeds),
    )
    found = answer({"": question}, question.num_users, num_resamples, seed, level)
    if not found:
        raise RankingError(
            f"{metric_words(metric, weight)} has no value: none of {question.num_users:,} users has "
            "both clicks and non-clicks"
        )
    return found[""]


@dataclass(frozen=True, eq=False)
class Question:
    """A difference to be measured: a metric's statistic of every seed of A and of B over some rows.

    Attributes:
        a, b: one statistic a seed, over user codes that all questions share.
        num_users: users of these rows.
        definition: what is compared, in words.
    """

    a: Sequence[Statistic]
    b: Sequence[Statistic]
    num_users: int
    definition: str


def answer(
    questions: Mapping[str, Question],
    num_users: int,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    description: str = "",
) -> dict[str, Comparison]:
    """The comparisons of many questions under one set of draws of all `num_users` users.

    A question of a segment ignores users without rows in it. Questions whose metric has no value on
    the whole rows (GAUC where no user has both classes) are left out.

    Args:
        description: shown with the progress; none is shown where it is empty.
    """
    whole = np.ones(num_users)
    points = {
        name: np.array([[one.value(whole) for one in side] for side in (question.a, question.b)])
        for name, question in questions.items()
    }
    kept = [name for name, point in points.items() if np.isfinite(point).all()]
    statistics = [one for name in kept for one in (*questions[name].a, *questions[name].b)]
    drawn = resample(statistics, num_users, num_resamples, seed, description)
    found, start = {}, 0
    for name in kept:
        num_seeds = len(questions[name].a)
        mine = drawn[:, start : start + 2 * num_seeds]
        differences = mine[:, num_seeds:] - mine[:, :num_seeds]
        found[name] = _comparison(questions[name], points[name], differences, level)
        start += 2 * num_seeds
    return found


def _comparison(
    question: Question, point: np.ndarray, drawn: np.ndarray, level: float
) -> Comparison:
    """What the `(2, seeds)` values and their `(resamples, seeds)` drawn differences amount to."""
    differences = point[1] - point[0]
    num_seeds = differences.size
    low, high = interval(drawn.mean(axis=1), level)
    errors = (
        _spread(drawn.mean(axis=1)),
        float(np.sqrt(np.mean([_spread(d) ** 2 for d in drawn.T]))),
    )
    found = Comparison(
        value=float(differences.mean()),
        low=low,
        high=high,
        a=float(point[0].mean()),
        b=float(point[1].mean()),
        count=question.num_users,
        definition=question.definition,
        level=level,
        seed_values=tuple(float(value) for value in differences),
        seed_spread=float(differences.std(ddof=1)) if num_seeds > 1 else 0.0,
        standard_error=errors[0],
        seed_standard_error=errors[1],
    )
    return replace(found, **_wide(found)) if num_seeds > 1 else found


def _wide(found: Comparison) -> dict[str, float]:
    """Ends of the interval over users and seeds."""
    variance = found.standard_error**2 + found.seed_variance / found.num_seeds
    of_sample = found.seed_spread**2 / found.num_seeds
    freedom = (found.num_seeds - 1) * (variance / of_sample) ** 2 if of_sample > 0 else np.inf
    half = float(stdtrit(min(freedom, 1e6), (1 + found.level) / 2)) * variance**0.5
    low, high = found.value - half, found.value + half
    return {"wide_low": min(low, found.low), "wide_high": max(high, found.high)}


def _spread(values: np.ndarray) -> float:
    """Standard deviation of the draws that have a value."""
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if known.size > 1 else 0.0


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
    if metric == "normalised_entropy":
        return weighted_normalised_entropy(labels, scores, users)
    raise RankingError(f"metric {metric!r}: wanted one of {', '.join(METRICS)}")


def definition(metric: str, weight: Weight | None, num_seeds: int, of: str = "") -> str:
    """What a comparison is, in words to print beside it; `of` names the rows."""
    seeds = f", mean over {num_seeds} seeds" if num_seeds > 1 else ""
    words = metric_words(metric, weight)
    return f"{words} of B minus A on the same rows{of}{seeds}; bootstrap over users, paired"


def metric_words(metric: str, weight: Weight | None = None) -> str:
    """A metric's name for people."""
    named = {"auc": "AUC", "gauc": f"GAUC by {weight or 'impressions'}", "log_loss": "log loss"}
    return named.get(metric, metric.replace("_", " "))
