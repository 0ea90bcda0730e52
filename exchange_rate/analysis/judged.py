"""The candidate metrics of what was analysed, judged by AUC of the headline's ranker."""

from collections.abc import Mapping, Sequence

import polars as pl

from exchange_rate.analysis.rates import OUTCOMES
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.judging import judge_metrics
from exchange_rate.estimation.trust import NAN, NONE, Choice, MetricJudgement
from moon_rec.errors import StudyError

SEGMENTS = {"warm items": "auc_warm", "cold items": "auc_cold"}


def judged_of(
    content: pl.DataFrame,
    metrics: Sequence[str],
    steering: str,
    level: float,
    draws: Mapping[str, Draws],
) -> MetricJudgement:
    """The judgement; where no metric can be judged, none and why.

    Args:
        content: runs of the headline's ranker on vectors that count.
        draws: by metric, the same draws of users for all encoders; empty where there are none.
    """
    kept = [one for one in metrics if one in content.columns]
    segments = {name: column for name, column in SEGMENTS.items() if _is_whole(content, column)}
    try:
        if not kept:
            raise StudyError("no metric was measured")
        return judge_metrics(
            content,
            "auc",
            kept,
            level,
            steering=steering if steering in kept else None,
            segments=segments or None,
            draws=draws or None,
        )
    except StudyError as error:
        reason = f"No metric can be named: {error}."
        return MetricJudgement((), None, (), 0, Choice(NONE, (), NAN, 0, reason), level, {})


def _is_whole(content: pl.DataFrame, column: str) -> bool:
    """Whether every run has it."""
    assert column in OUTCOMES
    return column in content.columns and bool(content[column].is_finite().fill_null(False).all())
