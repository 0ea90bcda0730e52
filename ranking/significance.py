"""Is ranker B better than ranker A? The paired difference of a metric, with intervals and a verdict.

Rows of one user are alike, so users, not rows, are drawn with replacement (a cluster bootstrap,
expanded percentile interval), and both rankers see the same draws. Sampling noise of the test set is in
that interval: it judges the very rankers that were trained. The luck of a training seed is not in it, so
**one training a side is no ranker**: a ranker trained twice is told apart from itself far more often than
one time in twenty (`benchmarks/verdicts.py`). Its verdict is that these two trainings differ, no more.
`compare_seeds` averages over seeds, reports how far they spread, and gives a second, wider interval that
takes the seeds for a sample too: that one judges rankers, and the verdict comes from it alone.

Model of the wider interval (two crossed random effects, users and seeds; `ranking.judging.power` plans with it).
The difference of seed s on n users is D_s = difference + U + S_s + I_s, with variances
U: shared / n (who is in the test set, the same for all seeds), S: seeds, I: each / n (how seed s suits
these users). The mean over k seeds then has variance shared / n + seeds / k + each / (n k). Over draws of users, one
seed's difference varies by (shared + each) / n, two seeds' differences vary together by shared / n, and
the mean by shared / n + each / (n k); the sample variance of the D_s estimates seeds + each / n. So
`seeds` is what the sample variance has beyond each / n (zero where it has less), and the wider interval
takes the variance of the mean over draws plus seeds / k, and Student's t with Satterthwaite's degrees
of freedom, for the sample variance rests on k - 1 alone. It is never narrower than the first.

Below `MIN_USERS` counted users there is no interval and no verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from moon_rec.errors import RankingError
from ranking.comparison import Comparison
from ranking.groups import group_codes
from ranking.judging.resampling import (
    Statistic,
    WeightedAuc,
    drawn_values,
    interval,
    weighted_gauc,
    weighted_log_loss,
    weighted_normalised_entropy,
)
from ranking.metrics import Weight, checked

Metric = Literal["auc", "gauc", "log_loss", "normalised_entropy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
LOWER_IS_BETTER = ("log_loss", "normalised_entropy")


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
        lower_is_better=metric in LOWER_IS_BETTER,
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
        lower_is_better: whether the metric is a loss.
    """

    a: Sequence[Statistic]
    b: Sequence[Statistic]
    num_users: int
    definition: str
    lower_is_better: bool = False


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
    asked = (one for question in questions.values() for one in (*question.a, *question.b))
    drawn = drawn_values(asked, num_users, num_resamples, seed, description)
    return answers(questions, drawn, level)


def answers(
    questions: Mapping[str, Question], drawn: Mapping[Statistic, np.ndarray], level: float = 0.95
) -> dict[str, Comparison]:
    """As `answer`, of values at hand: `drawn_values` of all statistics."""
    found = {}
    for name, question in questions.items():
        a, b = (np.stack([drawn[one] for one in side]) for side in (question.a, question.b))
        point = np.stack([a[:, 0], b[:, 0]])
        if np.isfinite(point).all():
            found[name] = _comparison(question, point, (b - a)[:, 1:].T, level)
    return found


def _comparison(
    question: Question, point: np.ndarray, drawn: np.ndarray, level: float
) -> Comparison:
    """What the `(2, seeds)` values and their `(resamples, seeds)` drawn differences amount to."""
    differences = point[1] - point[0]
    num_seeds = differences.size
    counted = min(one.counted for one in (*question.a, *question.b))
    low, high = interval(drawn.mean(axis=1), level, counted)
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
        counted=counted,
        lower_is_better=question.lower_is_better,
    )
    if num_seeds == 1 or found.no_interval:
        return found
    half = found.half_width(level)
    ends = (min(found.value - half, low), max(found.value + half, high))
    return replace(found, wide_low=ends[0], wide_high=ends[1])


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
