"""Which intermediate metric to trust: every candidate's exchange rate, rank correlation and error at predicting an unseen encoder's AUC."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.points import Points, gather_points
from exchange_rate.rate import MIN_ENCODERS, NAN, fit_exchange_rate
from moon_rec.errors import StudyError

NOT_METRICS = ("encoder", "seed", "ranker")
_ORDER = {"identified": 0, "saturating": 1, "sign unstable": 2, "not identified": 3}

DEFINITIONS = {
    "slope_per_deviation": "slope of AUC on the metric times the metric's standard deviation over encoders: AUC per typical step between encoders",
    "kendall": "Kendall's tau-b of encoders' mean AUC with the metric; interval by Fisher's z with variance .437/(encoders - 4) "
    "(Fieller, Hartley and Pearson 1957), for five encoders or more",
    "left_out_error": "root mean square error of an encoder's mean AUC predicted by the line through all other encoders",
    "left_out_error_of_mean": "the same where the mean AUC of all other encoders is the prediction: a metric worth having does better",
    "verdict": "of the exchange rate: identified, saturating, sign unstable or not identified; a metric is ranked by it first, then by left_out_error",
}


def rank_metrics(
    table: pl.DataFrame,
    outcome: str = "auc",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_encoders: int = MIN_ENCODERS,
) -> pl.DataFrame:
    """Rank the candidate metrics, the most trustworthy first; `DEFINITIONS` says what the columns mean.

    Intervals are each metric's own; they are not widened for having picked the best of several.

    Args:
        table: one row a run: `encoder`, optionally `seed`, the `outcome`, and the metrics; `<metric>.low` and `<metric>.high`, where they stand beside a
            metric as its 95 % interval, give its measurement noise.
        metrics: the candidates; by default every other numeric column that has neither a dot in its name nor the outcome's name.

    Returns:
        One row a metric: metric, verdict, slope, low, high, slope_per_deviation (and _low, _high), kendall (and _low, _high), left_out_error,
        left_out_error_of_mean, num_encoders, reason.

    Raises:
        StudyError: no `encoder` or outcome column, or a named metric that is not there.
    """
    needed = ["encoder", outcome, *(metrics or [])]
    if missing := [name for name in needed if name not in table.columns]:
        raise StudyError(f"table has no column {missing[0]!r}; it has {', '.join(table.columns)}")
    if metrics is None:
        metrics = [
            name
            for name, kind in table.schema.items()
            if kind.is_numeric() and "." not in name and name not in (*NOT_METRICS, outcome)
        ]
    rows = [_row(table, name, outcome, level, min_encoders) for name in metrics]
    rows.sort(key=lambda row: (_ORDER[row["verdict"]], _last_if_nan(row["left_out_error"])))
    schema = {name: pl.Float64 for name in _FIGURES}
    schema = {"metric": pl.String, "verdict": pl.String, **schema}
    return pl.DataFrame(rows, schema=schema | {"num_encoders": pl.Int64, "reason": pl.String})


_FIGURES = (
    "slope",
    "low",
    "high",
    "slope_per_deviation",
    "slope_per_deviation_low",
    "slope_per_deviation_high",
    "kendall",
    "kendall_low",
    "kendall_high",
    "left_out_error",
    "left_out_error_of_mean",
)


def metric_errors(table: pl.DataFrame, metric: str) -> np.ndarray:
    """Standard error of `metric` for each row, `(rows,)`, from its 95 % interval's width; 0 where it has none."""
    low, high = f"{metric}.low", f"{metric}.high"
    if low not in table.columns or high not in table.columns:
        return np.zeros(len(table))
    width = (table[high].cast(pl.Float64) - table[low].cast(pl.Float64)).to_numpy()
    return np.nan_to_num(width / (2 * stats.norm.ppf(0.975)), nan=0.0)


def _row(
    table: pl.DataFrame, metric: str, outcome: str, level: float, min_encoders: int
) -> dict[str, Any]:
    values = pl.all_horizontal(pl.col(metric).is_finite(), pl.col(outcome).is_finite())
    runs = table.filter(values.fill_null(False))
    if runs.is_empty():
        figures = dict.fromkeys(_FIGURES, NAN)
        nothing = "no run has a finite value of it"
        return {
            "metric": metric,
            "verdict": "not identified",
            **figures,
            "num_encoders": 0,
            "reason": nothing,
        }
    columns = (runs[metric].to_numpy(), runs[outcome].to_numpy(), runs["encoder"].to_list())
    seed = runs["seed"].to_list() if "seed" in runs.columns else None
    errors = metric_errors(runs, metric)
    rate = fit_exchange_rate(
        *columns, seed, level, metric_error=errors, min_encoders=min_encoders, metric_name=metric
    )
    points = gather_points(*columns, seed, errors)
    tau, tau_low, tau_high = _kendall(points, level)
    by_line, by_mean = _left_out_errors(points)
    return {
        "metric": metric,
        "verdict": rate.verdict,
        "slope": rate.slope,
        "low": rate.low,
        "high": rate.high,
        "slope_per_deviation": rate.slope * rate.spread,
        "slope_per_deviation_low": rate.low * rate.spread,
        "slope_per_deviation_high": rate.high * rate.spread,
        "kendall": tau,
        "kendall_low": tau_low,
        "kendall_high": tau_high,
        "left_out_error": by_line,
        "left_out_error_of_mean": by_mean,
        "num_encoders": rate.num_encoders,
        "reason": rate.reason,
    }


def _kendall(points: Points, level: float) -> tuple[float, float, float]:
    """Tau-b and its interval; a perfect order counts as one discordant quarter pair, so that its interval has a width."""
    count = len(points.names)
    if count < 3 or np.ptp(points.metric) == 0 or np.ptp(points.auc) == 0:
        return NAN, NAN, NAN
    tau = round(float(np.asarray(stats.kendalltau(points.metric, points.auc))[0]), 12)
    if count < 5:
        return tau, NAN, NAN
    most = 1 - 0.5 / (count * (count - 1) / 2)
    centre = np.arctanh(np.clip(tau, -most, most))
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(0.437 / (count - 4))
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return tau, min(low, tau), max(high, tau)


def _left_out_errors(points: Points) -> tuple[float, float]:
    """Root mean square errors of each encoder's AUC from the line through, and from the mean of, the others."""
    if len(points.names) < 4:
        return NAN, NAN
    line, mean = [], []
    for row in range(len(points.names)):
        rest = points.without(row)
        deviation = rest.metric - rest.metric.mean()
        size = float(deviation @ deviation)
        if size == 0:
            return NAN, NAN
        slope = float(deviation @ rest.auc) / size
        predicted = rest.auc.mean() + slope * (points.metric[row] - rest.metric.mean())
        line.append(points.auc[row] - predicted)
        mean.append(points.auc[row] - rest.auc.mean())
    return float(np.sqrt(np.mean(np.square(line)))), float(np.sqrt(np.mean(np.square(mean))))


def _last_if_nan(value: object) -> float:
    return float(value) if isinstance(value, float) and np.isfinite(value) else float("inf")
