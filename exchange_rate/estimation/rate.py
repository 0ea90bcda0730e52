"""The exchange rate: AUC gained downstream per unit gained on an intermediate metric, with an interval and a verdict.

The MOON report defines the rate as the gain of the CTR model's AUC over the gain of the metric (papers.md 1.8, ER(m) = dAUC/dm) and publishes no
estimator. This one is ours.

Model. Encoder j has a true metric m_j, measured as x_j = m_j + e_j with known standard error u (`metric_error`; 0 when not given), and a mean AUC over
seeds y_j = a + slope * m_j + scatter_j + seed noise. Encoders are the evidence, seeds are not (`exchange_rate.estimation.points`). With sxx, sxy, syy the
variances and covariance over J encoders:

    slope    = sxy / (sxx - u^2)                                   measurement noise flattens a plain slope; this undoes it (Fuller 1987, eq. 1.2.3)
    interval = slope -+ t(J - 2) * sqrt((sxx syy - sxy^2 + 2 (slope u^2)^2) / (J - 2)) / (sxx - u^2)

With u = 0 it is least squares and its exact t interval; the extra term is Fuller's variance (1.2.21). Errors that all encoders share, such as an easy set
of searches, shift the intercept alone; u then overstates what matters, and the slope errs upwards by at most u^2/sxx.

Coverage of the 95 % interval over 4,000 simulated studies of 3 seeds each, given that the spread was told from noise (`tests/exchange_rate/estimation/test_rate.py`
repeats a part); u and the scatter around a line of slope .2 are in standard deviations of the true metric:

    | encoders | u = 0, scatter .1 | u = .1, .1 | u = .3, .02 | u = .3, .1 | u = .5, .1 |
    |---|---|---|---|---|---|
    | 5  | .951 | .953 | .989 | .974 | .981 |
    | 6  | .942 | .950 | .984 | .969 | .980 |
    | 8  | .953 | .947 | .975 | .960 | .980 |
    | 10 | .951 | .957 | .968 | .955 | .974 |

Verdicts, the first that applies:
    not identified   fewer than `min_encoders` encoders, or a spread of the metric no larger than its noise would make (one-sided chi-squared test at
                     `level`): slope NaN
    saturating       a curve that flattens is clearly better than the line (t test of a quadratic term at `level`, 5 encoders or more), keeps the sign
                     from end to end, and at the best metric is less than half as steep as on average: the slope is no promise for the next gain
    sign unstable    leaving out some one encoder flips the sign, or makes it exactly flat
    not identified   the interval includes zero
    identified       otherwise
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from exchange_rate.estimation.columns import Floats, name_column, number_column, same_length
from exchange_rate.estimation.points import Points, gather_points
from moon_rec.errors import StudyError

MIN_ENCODERS = 4
NAN = float("nan")


@dataclass(frozen=True)
class ExchangeRate:
    """A slope of AUC on a metric over encoders.

    Attributes:
        slope, low, high: AUC per unit of the metric, with its interval at `level`; NaN when there is no slope to speak of.
        verdict: `identified`, `not identified`, `saturating` or `sign unstable`; `reason` says why in plain words.
        end_slope: the flattening curve's steepness at the best metric, when the verdict is `saturating`.
        num_encoders, num_runs: distinct encoders and all runs.
        spread: standard deviation of the metric over encoders; `metric_noise` the standard error of one encoder's metric.
        seed_noise: standard deviation of AUC between seeds of one encoder; `scatter` that of encoders' means around the line.
        centre: mean metric and mean AUC, where the line passes.
        definition: what the slope is, to be printed beside it.
    """

    slope: float
    low: float
    high: float
    level: float
    verdict: str
    reason: str
    definition: str
    num_encoders: int
    num_runs: int
    spread: float
    metric_noise: float
    seed_noise: float
    scatter: float
    centre: tuple[float, float]
    end_slope: float = NAN

    def line(self, metric: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """The fitted line at `metric` `(points,)` with its confidence band: value, low, high, each `(points,)`."""
        distance = np.asarray(metric, dtype=np.float64) - self.centre[0]
        value = self.centre[1] + self.slope * distance
        quantile = _quantile(self.level, self.num_encoders)
        at_centre = quantile * self.scatter / np.sqrt(max(self.num_encoders, 1))
        half = np.sqrt(at_centre**2 + (distance * (self.high - self.low) / 2) ** 2)
        return value, value - half, value + half

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def fit_exchange_rate(
    metric: ArrayLike,
    auc: ArrayLike,
    encoder: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    level: float = 0.95,
    *,
    metric_error: ArrayLike | None = None,
    min_encoders: int = MIN_ENCODERS,
    metric_name: str = "the metric",
    outcome: str = "AUC",
) -> ExchangeRate:
    """Fit the slope of AUC on an intermediate metric; one row a run. The module's docstring has the model and the verdicts.

    Args:
        metric: `(runs,)` the intermediate metric of the run's encoder.
        auc: `(runs,)` AUC (or GAUC) of the run's ranker.
        encoder: `(runs,)` which encoder; runs of one encoder count as one point.
        seed: `(runs,)` the ranker's seed; see `gather_points`.
        metric_error: standard error of an encoder's metric, one for all or one a row; None (or 0 for all): the metric is exact.

    Raises:
        StudyError: columns that do not fit together, what `gather_points` refuses, or a level outside (0, 1).
    """
    _check_level(level)
    points = gather_points(metric, auc, encoder, seed, metric_error)
    noise = (
        "corrected for the metric's measurement noise"
        if points.metric_noise > 0
        else "the metric taken as exact, for no standard error of it was given"
    )
    definition = (
        f"slope of {outcome} on {metric_name} over encoders (one point an encoder, the mean over its seeds; "
        f"same ranker, same data), {noise}; {level:.0%} interval from t with encoders - 2 degrees of freedom"
    )
    return _fit(points, level, max(min_encoders, 3), definition)


def fit_by_segment(
    metric: ArrayLike,
    auc: ArrayLike,
    encoder: Sequence[object] | NDArray,
    segment: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    level: float = 0.95,
    **options: Any,
) -> dict[str, ExchangeRate]:
    """One fit a segment (an industry, a category, warm or cold), in order of first appearance; arguments as for `fit_exchange_rate`."""
    x, y = number_column(metric, "metric"), number_column(auc, "auc")
    labels = np.array(name_column(segment, "segment"))
    names = np.array(name_column(encoder, "encoder"))
    same_length(metric=x, auc=y, encoder=names, segment=labels, seed=seed)
    fits = {}
    for label in dict.fromkeys(labels.tolist()):
        rows = labels == label
        own = dict(options)
        error = own.get("metric_error")
        if error is not None and np.ndim(error) == 1 and len(error) == len(rows):
            own["metric_error"] = np.asarray(error)[rows]
        seeds = None if seed is None else [seed[row] for row in np.flatnonzero(rows).tolist()]
        try:
            fits[label] = fit_exchange_rate(x[rows], y[rows], names[rows], seeds, level, **own)
        except StudyError as error:
            raise StudyError(f"segment {label!r} (rows counted within it): {error}") from None
    return fits


def pairwise_ratios(
    metric: ArrayLike,
    auc: ArrayLike,
    encoder: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    level: float = 0.95,
    *,
    metric_error: ArrayLike | None = None,
) -> pl.DataFrame:
    """Each encoder against the first: (AUC_j - AUC_0) / (metric_j - metric_0), the reader's note's ratio (papers.md 1.8).

    The interval is Fieller's, from seed noise and the metric's error alone: it says how well the two encoders are measured, not how well two encoders
    stand for others. It is empty (null) where the metric's gain is not told from zero, and so is the ratio.

    Returns:
        Columns encoder, metric_gain and auc_gain (each with _low and _high; null where no error of it is known), ratio, low, high, num_runs.
    """
    _check_level(level)
    points = gather_points(metric, auc, encoder, seed, metric_error)
    freedom = sum(points.num_runs) - len(points.names)
    quantile = float(stats.t.ppf((1 + level) / 2, freedom)) if freedom > 0 else NAN
    gain_error = float(points.metric_noise * np.sqrt(2))
    rows = []
    for row in range(1, len(points.names)):
        metric_gain = float(points.metric[row] - points.metric[0])
        auc_gain = float(points.outcome[row] - points.outcome[0])
        auc_error = points.seed_noise * np.sqrt(1 / points.num_runs[row] + 1 / points.num_runs[0])
        low, high = _fieller(auc_gain, auc_error, metric_gain, gain_error, quantile)
        metric_half = float(stats.norm.ppf((1 + level) / 2) * gain_error) or NAN
        auc_half = quantile * float(auc_error)
        figures = {
            "metric_gain": metric_gain,
            "metric_gain_low": metric_gain - metric_half,
            "metric_gain_high": metric_gain + metric_half,
            "auc_gain": auc_gain,
            "auc_gain_low": auc_gain - auc_half,
            "auc_gain_high": auc_gain + auc_half,
            "ratio": auc_gain / metric_gain if np.isfinite(low) else NAN,
            "low": low,
            "high": high,
        }
        found = {name: value if np.isfinite(value) else None for name, value in figures.items()}
        rows.append({"encoder": points.names[row], **found, "num_runs": points.num_runs[row]})
    gains = [
        f"{name}{end}" for name in ("metric_gain", "auc_gain") for end in ("", "_low", "_high")
    ]
    schema = {"encoder": pl.String, **dict.fromkeys([*gains, "ratio", "low", "high"], pl.Float64)}
    return pl.DataFrame(rows, schema=schema | {"num_runs": pl.Int64})


def _fit(points: Points, level: float, min_encoders: int, definition: str) -> ExchangeRate:
    count = len(points.names)
    spread = float(np.std(points.metric, ddof=1)) if count > 1 else 0.0
    line = _Line.through(points, level) if count >= 3 else None
    reason = _no_slope(points, spread, level, min_encoders)
    known: dict[str, Any] = dict(
        level=level,
        definition=definition,
        num_encoders=count,
        num_runs=sum(points.num_runs),
        spread=spread,
        metric_noise=points.metric_noise,
        seed_noise=points.seed_noise,
        centre=(float(points.metric.mean()), float(points.outcome.mean())),
    )
    if reason or line is None:
        return ExchangeRate(
            slope=NAN,
            low=NAN,
            high=NAN,
            verdict="not identified",
            reason=reason,
            scatter=NAN,
            **known,
        )
    verdict, reason, end_slope = _judge(points, line, level)
    return ExchangeRate(
        slope=line.slope,
        low=line.slope - line.half,
        high=line.slope + line.half,
        verdict=verdict,
        reason=reason,
        scatter=line.scatter,
        end_slope=end_slope,
        **known,
    )


@dataclass(frozen=True)
class _Line:
    slope: float
    half: float
    scatter: float

    @classmethod
    def through(cls, points: Points, level: float) -> "_Line | None":
        """The corrected slope with half the width of its interval; None where the metric varies no more than its noise."""
        count = len(points.names)
        covariance = np.cov(points.metric, points.outcome)
        sxx, sxy, syy = (float(covariance[index]) for index in ((0, 0), (0, 1), (1, 1)))
        signal = sxx - points.metric_noise**2
        if signal <= 0:
            return None
        slope = sxy / signal
        unexplained = max(sxx * syy - sxy**2, 0.0)
        unexplained = unexplained if unexplained > 1e-14 * sxx * syy else 0.0
        from_metric = 2 * (slope * points.metric_noise**2) ** 2
        error = np.sqrt((unexplained + from_metric) / (count - 2)) / signal
        scatter = np.sqrt(unexplained / sxx * (count - 1) / (count - 2))
        return cls(slope, float(_quantile(level, count) * error), float(scatter))


def _no_slope(points: Points, spread: float, level: float, min_encoders: int) -> str:
    """Why there is no slope to speak of; empty when there is one."""
    count = len(points.names)
    if count < min_encoders:
        encoders = "encoder" if count == 1 else "encoders"
        return f"{count} distinct {encoders}; a slope with an interval needs {min_encoders} or more (seeds are no further encoders)"
    if spread <= 1e-12 * max(1.0, float(np.abs(points.metric).max())):
        return "every encoder has the same metric: there is nothing to set AUC against"
    if points.metric_noise > 0:
        ratio = (count - 1) * (spread / points.metric_noise) ** 2
        if ratio < stats.chi2.ppf(level, count - 1):
            return (
                f"the metric's spread over encoders (standard deviation {spread:.2g}) is not told from its own measurement noise "
                f"(standard error {points.metric_noise:.2g}): measure on more searches, or take encoders further apart"
            )
    return ""


def _judge(points: Points, line: _Line, level: float) -> tuple[str, str, float]:
    """Verdict, reason, and the end slope when saturating; see the module's docstring for the rules."""
    end_slope = _flattens(points, line, level)
    if end_slope is not None:
        return (
            "saturating",
            f"a curve that flattens fits clearly better than a line: at the best metric it rises {end_slope:.3g} per unit "
            f"against {line.slope:.3g} on average, so the next gain brings less than the slope says",
            end_slope,
        )
    for row, name in enumerate(points.names):
        rest = points.without(row)
        if np.sign(np.cov(rest.metric, rest.outcome)[0, 1]) != np.sign(line.slope):
            return "sign unstable", f"the sign rests on one encoder: without {name!r} it flips", NAN
    low, high = line.slope - line.half, line.slope + line.half
    if low <= 0 <= high:
        return (
            "not identified",
            f"the interval [{low:.3g}, {high:.3g}] includes zero: more encoders, or encoders further apart, are needed",
            NAN,
        )
    count = len(points.names)
    return (
        "identified",
        f"the interval excludes zero and no one of {count} encoders decides the sign",
        NAN,
    )


def _flattens(points: Points, line: _Line, level: float) -> float | None:
    """Steepness at the best metric of a quadratic that is clearly better than the line and flattens; None where there is none."""
    count = len(points.names)
    if count < 5 or line.scatter == 0:
        return None
    scaled = (points.metric - points.metric.mean()) / points.metric.std()
    design = np.stack([np.ones(count), scaled, scaled**2], axis=1)
    if np.linalg.cond(design) > 1e8:
        return None
    weights = np.linalg.lstsq(design, points.outcome, rcond=None)[0]
    residual = float(np.sum((points.outcome - design @ weights) ** 2))
    error = np.sqrt(residual / (count - 3) * np.linalg.inv(design.T @ design)[2, 2])
    quantile = stats.t.ppf((1 + level) / 2, count - 3)
    sign = np.sign(line.slope)
    if abs(weights[2]) <= quantile * error or sign * weights[2] >= 0:
        return None
    ends = np.array([scaled.min(), scaled.max()])
    curve = weights[0] + weights[1] * ends + weights[2] * ends**2
    rise = float(curve[1] - curve[0])
    at_end = float(weights[1] + 2 * weights[2] * ends[1])
    average = rise / float(ends[1] - ends[0])
    top = -weights[1] / (2 * weights[2])
    peak = weights[0] + weights[1] * top + weights[2] * top**2 if top < ends[1] else curve[1]
    keeps_sign = sign * rise > 0 and abs(rise) >= abs(float(peak - curve[0])) / 2
    if not keeps_sign or sign * at_end >= 0.5 * sign * average:
        return None
    return at_end / float(points.metric.std())


def _fieller(
    top: float, top_error: float, bottom: float, bottom_error: float, quantile: float
) -> tuple[float, float]:
    """Fieller's interval of top/bottom with independent errors; NaN where it is unbounded or there is no error to go by."""
    size = bottom**2 - (quantile * bottom_error) ** 2
    if not np.isfinite(size) or size <= 0 or not np.isfinite(top_error):
        return NAN, NAN
    inside = (top * bottom) ** 2 - size * (top**2 - (quantile * top_error) ** 2)
    half = np.sqrt(max(inside, 0.0))
    return float((top * bottom - half) / size), float((top * bottom + half) / size)


def _check_level(level: float) -> None:
    is_number = isinstance(level, int | float) and not isinstance(level, bool)
    if not is_number or not 0 < level < 1:
        raise StudyError(f"level = {level!r}: wanted a coverage between 0 and 1, such as 0.95")


def _quantile(level: float, num_encoders: int) -> float:
    return float(stats.t.ppf((1 + level) / 2, num_encoders - 2)) if num_encoders > 2 else NAN
