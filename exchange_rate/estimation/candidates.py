"""Which intermediate metric predicts an unseen encoder's AUC with the smallest error, which others are not told from it, and what each of them buys.

`exchange_rate.estimation.ranking` measures the errors and compares them. Verdicts (`exchange_rate.estimation.rate`) answer another question, what a gain of the metric buys, and stand
beside; they choose nothing. A curve that flattens costs its metric the error that a line makes of it, no more. Whether the best is worth anything at all is a third question:
`exchange_rate.estimation.judging` sets it against decoys.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.ranking import Ranked, rank_by_error, trained_rows
from exchange_rate.estimation.rate import MIN_ENCODERS, NAN, fit_points
from moon_rec.errors import StudyError
from moon_rec.estimate import standard_error
from moon_rec.shares import wilson

MOST_LEFT_OUT = 40
"""Encoders up to which a metric's verdict asks what becomes of it without each of them; of more, one decides nothing, and 60 metrics would take minutes."""
NOT_METRICS = ("encoder", "path", "seed", "ranker")

DEFINITIONS = {
    "slope_per_deviation": "slope of AUC on the metric times the metric's standard deviation over encoders: AUC per typical step between encoders",
    "kendall": "Kendall's tau-b of encoders' mean AUC with the metric; interval by Fisher's z with variance .437/(paths - 4) "
    "(Fieller, Hartley and Pearson 1957), for five paths or more (an encoder on its own is its own path)",
    "left_out_error": "root mean square error of an encoder's mean AUC predicted by the line through the encoders of all other paths; interval from "
    "chi-squared with paths - 2 degrees of freedom",
    "left_out_error_of_mean": "the same where the mean AUC of those encoders is the prediction (paths - 1 degrees of freedom): a metric worth having does better",
    "is_told_from_best": "its squared left-out errors are shown to be larger than those of the best metric: paired over encoders (Granger and Newbold's test), one-sided, "
    "Bonferroni over the metrics compared; paths are the independent units",
    "is_told_from_mean": "guessing the mean is shown to have larger squared left-out errors: paired over encoders in the same way",
    "verdict": f"of the exchange rate (each metric's own; up to {MOST_LEFT_OUT} encoders it must hold without any one of them); it stands beside, metrics are ranked by "
    "left_out_error alone",
}


def rank_metrics(
    table: pl.DataFrame,
    outcome: str = "auc",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    min_encoders: int = MIN_ENCODERS,
) -> pl.DataFrame:
    """Rank the candidate metrics, the smallest left-out error first; `DEFINITIONS` says what the columns mean.

    Ranked by left-out error; a metric that is missing for some encoder comes after those that are not, for errors on other encoders do not compare. Intervals are each
    metric's own, not widened for having picked the best of several; only `is_told_from_best` is.

    Args:
        table: one row a run: `encoder`, optionally `path` (the training that it is a checkpoint of), `is_trained` (rows of False are left out) and `seed`, the
            `outcome`, and the metrics; `<metric>.low` and `<metric>.high`, where they stand beside a metric as its 95 % interval, give its measurement noise.
        metrics: the candidates; by default every other numeric column that has neither a dot in its name nor the outcome's name.

    Returns:
        One row a metric: metric, verdict, slope, low, high, slope_per_deviation (and _low, _high), kendall (and _low, _high), left_out_error (and _low, _high),
        left_out_error_of_mean (and _low, _high), num_encoders, is_told_from_best (null for the best itself and where errors do not compare), is_told_from_mean, reason.

    Raises:
        StudyError: no `encoder` or outcome column, a named metric that is not there, an outcome that is missing, no trained encoder, or what `gather_points`
            refuses of encoders, paths and seeds.
    """
    if not isinstance(table, pl.DataFrame) or table.is_empty():
        raise StudyError("table: wanted a polars DataFrame with a row a run; received none")
    needed = ["encoder", outcome, *(metrics or [])]
    if missing := [name for name in needed if name not in table.columns]:
        raise StudyError(f"table has no column {missing[0]!r}; it has {', '.join(table.columns)}")
    if metrics is None:
        metrics = candidate_columns(table, outcome)
    rows = trained_rows(table)
    found = [
        _row(rows, ranked, outcome, level, min_encoders)
        for ranked in rank_by_error(rows, outcome, metrics, level)
    ]
    schema = {name: pl.Float64 for name in _FIGURES}
    schema = {"metric": pl.String, "verdict": pl.String, **schema, "num_encoders": pl.Int64}
    schema |= {
        "is_told_from_best": pl.Boolean,
        "is_told_from_mean": pl.Boolean,
        "reason": pl.String,
    }
    return pl.DataFrame(found, schema=schema)


def candidate_columns(table: pl.DataFrame, outcome: str) -> list[str]:
    """The columns that are taken for metrics where none are named."""
    return [
        name
        for name, kind in table.schema.items()
        if kind.is_numeric() and "." not in name and name not in (*NOT_METRICS, outcome)
    ]


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
    rows: pl.DataFrame, ranked: Ranked, outcome: str, level: float, min_encoders: int
) -> dict[str, Any]:
    """A metric's figures, with the rate beside the errors."""
    metric, points = ranked.metric, ranked.points
    known: dict[str, Any] = {"metric": metric, "verdict": "not identified"}
    known |= dict.fromkeys(_FIGURES, NAN) | ranked.figures(level)
    if points is None:
        return known | {"reason": "no run has a finite value of it"}
    tau = _kendall(points, level)
    known |= dict(zip(("kendall", "kendall_low", "kendall_high"), tau, strict=True))
    runs = rows.filter(pl.col(metric).is_finite().fill_null(False))
    try:
        noise, told = metric_errors(runs, metric)
    except StudyError as error:
        return known | {"reason": str(error)}
    if noise is not None:
        points = replace(points, metric_error=_by_encoder(noise, runs, points))
    leave_out = "until told" if len(points.names) <= MOST_LEFT_OUT else "none"
    rate = fit_points(points, level, min_encoders, metric, leave_out=leave_out)
    slopes = {"slope": rate.slope, "low": rate.low, "high": rate.high}
    slopes |= {
        "slope_per_deviation": rate.slope * rate.spread,
        "slope_per_deviation_low": rate.low * rate.spread,
        "slope_per_deviation_high": rate.high * rate.spread,
    }
    words = {"verdict": rate.verdict, "reason": "; ".join(filter(None, (rate.reason, told)))}
    return known | slopes | words


def _by_encoder(errors: Floats, runs: pl.DataFrame, points: Points) -> Floats:
    """`(encoders,)` root mean squares of the standard errors of each encoder's runs `(runs,)`."""
    place = {name: row for row, name in enumerate(points.names)}
    code = np.array([place[str(name)] for name in runs["encoder"].to_list()])
    return np.sqrt(np.bincount(code, weights=errors**2) / np.bincount(code))


def _kendall(points: Points, level: float) -> tuple[float, float, float]:
    """Tau-b and its interval; a perfect order counts as one discordant quarter pair, so that its interval has a width."""
    count = len(set(points.paths))
    if len(points.names) < 3 or np.ptp(points.metric) == 0 or np.ptp(points.outcome) == 0:
        return NAN, NAN, NAN
    tau = round(float(np.asarray(stats.kendalltau(points.metric, points.outcome))[0]), 12)
    if count < 5:
        return tau, NAN, NAN
    most = 1 - 0.5 / (count * (count - 1) / 2)
    centre = np.arctanh(np.clip(tau, -most, most))
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(0.437 / (count - 4))
    low, high = float(np.tanh(centre - half)), float(np.tanh(centre + half))
    return tau, min(low, tau), max(high, tau)
