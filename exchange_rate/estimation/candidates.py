"""Which intermediate metric to trust: the one that predicts an unseen encoder's AUC with the smallest error, and which others are not told from it.

The error is measured: each encoder in turn is left out, a line is drawn through the others, and the left-out AUC is predicted with it (leave-one-out, Stone
1974). Verdicts (`exchange_rate.estimation.rate`) answer another question, what a gain of the metric buys, and stand beside; they choose nothing. A curve that flattens costs
its metric the error that a line makes of it, no more.

The smallest of many errors is the smallest by luck too. So every metric is set against the best on the same encoders: the paired difference of squared errors
over encoders (Granger and Newbold's test), one-sided, its level shared among the comparisons (Bonferroni). A metric whose errors are not shown to be larger is not told
from the best. `benchmarks/metric_choice.py` shows how often that promise fails where the truth is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.estimation.columns import Floats, name_column, number_column
from exchange_rate.estimation.points import Points, gather_points
from exchange_rate.estimation.rate import MIN_ENCODERS, NAN, fit_exchange_rate
from moon_rec.errors import StudyError
from moon_rec.estimate import standard_error
from moon_rec.shares import wilson

NOT_METRICS = ("encoder", "seed", "ranker")

DEFINITIONS = {
    "slope_per_deviation": "slope of AUC on the metric times the metric's standard deviation over encoders: AUC per typical step between encoders",
    "kendall": "Kendall's tau-b of encoders' mean AUC with the metric; interval by Fisher's z with variance .437/(encoders - 4) "
    "(Fieller, Hartley and Pearson 1957), for five encoders or more",
    "left_out_error": "root mean square error of an encoder's mean AUC predicted by the line through all other encoders; interval from chi-squared with "
    "encoders - 2 degrees of freedom",
    "left_out_error_of_mean": "the same where the mean AUC of all other encoders is the prediction (encoders - 1 degrees of freedom): a metric worth having does better",
    "is_told_from_best": "its squared left-out errors are shown to be larger than those of the best metric: paired over encoders (Granger and Newbold's test), one-sided, "
    "Bonferroni over the metrics compared",
    "is_told_from_mean": "guessing the mean is shown to have larger squared left-out errors: paired over encoders in the same way",
    "verdict": "of the exchange rate: identified, saturating, sign unstable or not identified; it stands beside, metrics are ranked by left_out_error alone",
}


def rank_metrics(
    table: pl.DataFrame,
    outcome: str = "auc",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_encoders: int = MIN_ENCODERS,
) -> pl.DataFrame:
    """Rank the candidate metrics, the most trustworthy first; `DEFINITIONS` says what the columns mean.

    Ranked by left-out error; a metric that is missing for some encoder comes after those that are not, for errors on other encoders do not compare. Intervals are each
    metric's own, not widened for having picked the best of several; only `is_told_from_best` is.

    Args:
        table: one row a run: `encoder`, optionally `seed`, the `outcome`, and the metrics; `<metric>.low` and `<metric>.high`, where they stand beside a
            metric as its 95 % interval, give its measurement noise.
        metrics: the candidates; by default every other numeric column that has neither a dot in its name nor the outcome's name.

    Returns:
        One row a metric: metric, verdict, slope, low, high, slope_per_deviation (and _low, _high), kendall (and _low, _high), left_out_error (and _low, _high),
        left_out_error_of_mean (and _low, _high), num_encoders, is_told_from_best (null for the best itself and where errors do not compare), is_told_from_mean, reason.

    Raises:
        StudyError: no `encoder` or outcome column, a named metric that is not there, an outcome that is missing, or what `gather_points` refuses of
            encoders and seeds.
    """
    if not isinstance(table, pl.DataFrame) or table.is_empty():
        raise StudyError("table: wanted a polars DataFrame with a row a run; received none")
    needed = ["encoder", outcome, *(metrics or [])]
    if missing := [name for name in needed if name not in table.columns]:
        raise StudyError(f"table has no column {missing[0]!r}; it has {', '.join(table.columns)}")
    if metrics is None:
        metrics = [
            name
            for name, kind in table.schema.items()
            if kind.is_numeric() and "." not in name and name not in (*NOT_METRICS, outcome)
        ]
    number_column(table[outcome], outcome)
    num_encoders = len(set(name_column(table["encoder"], "encoder")))
    found = [_row(table, name, outcome, level, min_encoders) for name in metrics]
    found.sort(key=lambda one: (one[0]["num_encoders"] < num_encoders, _size(one[1])))
    compared = [
        (row, errors)
        for row, errors in found
        if row["num_encoders"] == num_encoders and errors is not None
    ]
    for row, errors in compared:
        best = compared[0][1]
        if errors is not best:
            share = (1 - level) / (len(compared) - 1)
            row["is_told_from_best"] = _is_larger(errors.line, best.line, share)
        row["is_told_from_mean"] = _is_larger(errors.mean, errors.line, (1 - level) / len(compared))
    schema = {name: pl.Float64 for name in _FIGURES}
    schema = {"metric": pl.String, "verdict": pl.String, **schema, "num_encoders": pl.Int64}
    schema |= {
        "is_told_from_best": pl.Boolean,
        "is_told_from_mean": pl.Boolean,
        "reason": pl.String,
    }
    return pl.DataFrame([row for row, _ in found], schema=schema)


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
    "left_out_error_low",
    "left_out_error_high",
    "left_out_error_of_mean",
    "left_out_error_of_mean_low",
    "left_out_error_of_mean_high",
)


def metric_errors(table: pl.DataFrame, metric: str) -> tuple[Floats | None, str]:
    """Standard error of `metric` for each row, `(rows,)`, from the width of its 95 % interval, and what is to be said of it; None where the table has no interval.

    An interval without width, or none, is no certainty: where the metric is a share and `<metric>.count` stands beside it, the standard error is that of Wilson's
    interval, and the words say so.

    Raises:
        StudyError: such a row without a count, or of a metric that is no share.
    """
    low, high, count = (f"{metric}.{end}" for end in ("low", "high", "count"))
    if low not in table.columns or high not in table.columns:
        return None, ""
    values = table[metric].cast(pl.Float64).to_numpy()
    ends = [table[name].cast(pl.Float64).fill_null(NAN).to_numpy() for name in (low, high)]
    errors, settled = standard_error(ends[0], ends[1]), {}
    for row in np.flatnonzero(~(errors > 0)).tolist():
        name, units = table["encoder"][row], table[count][row] if count in table.columns else None
        if units is None or not units >= 1 or not 0 <= values[row] <= 1:
            raise StudyError(
                f"{metric}, row {row} (encoder {name!r}): its interval [{ends[0][row]:g}, {ends[1][row]:g}] has no width to take a standard error from; give "
                f"{low} and {high} of one that has, or of a share its {count}"
            )
        below, above = wilson(values[row], units)
        errors[row] = standard_error(below, above)
        settled[name] = f"{name!r} ({values[row]:g} of n = {units:,.0f})"
    if not settled:
        return errors, ""
    return (
        errors,
        f"an interval without width was taken for Wilson's: {', '.join(settled.values())}",
    )


def _row(
    table: pl.DataFrame, metric: str, outcome: str, level: float, min_encoders: int
) -> tuple[dict[str, Any], "_Errors | None"]:
    """A metric's figures, and its left-out errors; None where there are none."""
    nothing = {"metric": metric, "verdict": "not identified", **dict.fromkeys(_FIGURES, NAN)}
    nothing |= {"is_told_from_best": None, "is_told_from_mean": None}
    if not table.schema[metric].is_numeric():
        raise StudyError(f"{metric}: a column of {table.schema[metric]}; wanted numbers")
    if (infinite := table[metric].cast(pl.Float64).is_infinite().fill_null(False)).any():
        row = int(infinite.arg_true()[0])
        raise StudyError(
            f"{metric}, row {row}: {table[metric][row]} is not finite; leave it empty where it was not measured"
        )
    runs = table.filter(pl.col(metric).is_finite().fill_null(False))
    if runs.is_empty():
        return nothing | {"num_encoders": 0, "reason": "no run has a finite value of it"}, None
    columns = (runs[metric].to_numpy(), runs[outcome].to_numpy(), runs["encoder"].to_list())
    seed = runs["seed"].to_list() if "seed" in runs.columns else None
    points = gather_points(*columns, seed)
    tau = _kendall(points, level)
    errors = _Errors.of(points)
    figures: dict[str, Any] = {
        **dict(zip(("kendall", "kendall_low", "kendall_high"), tau, strict=True)),
        **(errors.figures(level) if errors is not None else {}),
        "num_encoders": len(points.names),
    }
    try:
        noise, told = metric_errors(runs, metric)
    except StudyError as error:
        return nothing | figures | {"reason": str(error)}, errors
    rate = fit_exchange_rate(
        *columns, seed, level, metric_error=noise, min_encoders=min_encoders, metric_name=metric
    )
    slopes = {"slope": rate.slope, "low": rate.low, "high": rate.high}
    slopes |= {
        "slope_per_deviation": rate.slope * rate.spread,
        "slope_per_deviation_low": rate.low * rate.spread,
        "slope_per_deviation_high": rate.high * rate.spread,
    }
    words = {"verdict": rate.verdict, "reason": "; ".join(filter(None, (rate.reason, told)))}
    return nothing | figures | slopes | words, errors


def _kendall(points: Points, level: float) -> tuple[float, float, float]:
    """Tau-b and its interval; a perfect order counts as one discordant quarter pair, so that its interval has a width."""
    count = len(points.names)
    if count < 3 or np.ptp(points.metric) == 0 or np.ptp(points.outcome) == 0:
        return NAN, NAN, NAN
    tau = round(float(np.asarray(stats.kendalltau(points.metric, points.outcome))[0]), 12)
    if count < 5:
        return tau, NAN, NAN
    most = 1 - 0.5 / (count * (count - 1) / 2)
    centre = np.arctanh(np.clip(tau, -most, most))
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(0.437 / (count - 4))
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return tau, min(low, tau), max(high, tau)


@dataclass(frozen=True, eq=False)
class _Errors:
    """Left-out errors, one an encoder in order of names: of the line through the others, and of their mean."""

    line: Floats
    mean: Floats

    @classmethod
    def of(cls, points: Points) -> "_Errors | None":
        """Residual over one minus leverage is the error without that encoder. None for too few, or where without one all others have the same metric."""
        count = len(points.names)
        deviation = points.metric - points.metric.mean()
        size = float(deviation @ deviation)
        if count < MIN_ENCODERS or size == 0:
            return None
        left = 1 - 1 / count - deviation**2 / size
        if left.min() < 1e-9:
            return None
        around = points.outcome - points.outcome.mean()
        line = (around - float(deviation @ around) / size * deviation) / left
        order = np.argsort(points.names)
        return cls(line[order], (around * count / (count - 1))[order])

    @property
    def size(self) -> float:
        """Root mean square error of the line."""
        return float(np.sqrt(np.mean(self.line**2)))

    def figures(self, level: float) -> dict[str, float]:
        """What is printed of them."""
        found: dict[str, float] = {}
        for name, errors, lost in (("", self.line, 2), ("_of_mean", self.mean, 1)):
            freedom = len(errors) - lost
            size = float(np.sqrt(np.mean(errors**2)))
            ends = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], freedom)
            low, high = (size * np.sqrt(freedom / ends)).tolist()
            found[f"left_out_error{name}"] = size
            found |= {f"left_out_error{name}_low": low, f"left_out_error{name}_high": high}
        return found


def _is_larger(errors: Floats, best: Floats, share: float) -> bool:
    """Whether these errors are larger than the best's, paired over encoders, one-sided at the level `share`.

    Two series of errors have equal mean squares exactly when their sum and their difference are uncorrelated (Granger and Newbold 1977; Diebold and Mariano 1995,
    eq. 3): r is that correlation, and r sqrt(f / (1 - r^2)) has Student's t with f degrees of freedom. Theirs is f = n - 1, for errors that are independent.
    Left-out errors share their encoders: with f = n - 3 two metrics that are alike are told apart no more often than the level says (`benchmarks/metric_choice.py`;
    with n - 1 four times as often at 5 encoders).
    """
    total, difference = errors + best, errors - best
    size = float(np.sqrt((total @ total) * (difference @ difference)))
    if size == 0:
        return False
    correlation = min(float(total @ difference) / size, 1 - 1e-12)
    freedom = len(errors) - 3
    value = correlation * np.sqrt(freedom / (1 - correlation**2))
    return bool(value > stats.t.ppf(1 - share, freedom))


def _size(errors: _Errors | None) -> float:
    return float("inf") if errors is None else errors.size
