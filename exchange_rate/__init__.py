"""What upstream gains buy downstream: studies, exchange rates, scaling laws, the report. See docs/design.md."""

import moon_rec.signals  # noqa: F401 - first: a signal is heard while the rest loads

# isort: split
from exchange_rate.analysis.points_file import analyse_points as analyse
from exchange_rate.analysis.points_file import read_points
from exchange_rate.estimation.candidates import rank_metrics
from exchange_rate.estimation.judging import judge_metrics
from exchange_rate.estimation.planning import plan_study
from exchange_rate.estimation.rate import (
    ExchangeRate,
    fit_by_segment,
    fit_exchange_rate,
    pairwise_ratios,
)
from exchange_rate.laws.scaling import ScalingLaw, compare_forms, fit_scaling_law

__all__ = [
    "ExchangeRate",
    "ScalingLaw",
    "analyse",
    "compare_forms",
    "fit_by_segment",
    "fit_exchange_rate",
    "fit_scaling_law",
    "judge_metrics",
    "pairwise_ratios",
    "plan_study",
    "rank_metrics",
    "read_points",
]
