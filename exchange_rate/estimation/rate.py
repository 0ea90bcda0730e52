"""The exchange rate: AUC gained downstream per unit gained on an intermediate metric, with an interval and a verdict.

The MOON report defines the rate as the gain of the CTR model's AUC over the gain of the metric (papers.md 1.8, ER(m) = dAUC/dm) and publishes no
estimator. This one is ours.

Who is in it. Users choose between trained encoders, so the headline is the slope among those; the slope with untrained ones stands beside it. Encoders at the floor or
the ceiling of the metric carry no slope (`exchange_rate.estimation.shapes`). Encoders are the evidence, seeds are not (`exchange_rate.estimation.points`), and checkpoints of
one training are one path.

Model. Encoder j of path i has a true metric m_ij, measured with noise, and y_ij = a + slope m_ij + path_i + error_ij, measured with noise too, on the same users.

    slope      noise of the metric taken off by its covariance over encoders        `lines`, `noise`
    weights    paths as random effects, REML                                        `mixed`
    interval   cluster-robust over paths (CR2), few-sample degrees of freedom,      `sandwich`
               and noise of users that encoders of different paths share
    within paths, between paths                                                     `paths`
    form, floor and ceiling, what the next point buys                               `shapes`
    without any one encoder, path or far-off group                                  `influence`
    users split in two                                                              `split_users`

What the interval and the verdicts promise is simulated in `benchmarks/rates.py` (table in docs/results.md).

Where only standard errors are known, noise is taken as independent but for the share `shared_noise`. If encoders share more of it than that, too much is taken off and the
slope errs upwards, by at most the noise's share of the metric's spread; draws of users tell.

Verdicts, the first that applies:
    not identified         fewer than `min_encoders` encoders or 4 paths, or a spread of the metric that is not told from its noise: slope NaN
    not identified         the slopes within and between paths are told apart
    saturating, convex     a curve that flattens or steepens is clearly better than the line (5 paths or more): the slope is no promise for the next gain
    not identified         the interval includes zero
    rests on ...           one of the above but the first two changes, or the sign does, without some one encoder, one path, or the group that stands far off
    identified             otherwise
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from exchange_rate.estimation.columns import name_column, number_column, same_length
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.influence import influence, no_influence, what_rests
from exchange_rate.estimation.lines import fit_line
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.paths import path_slopes
from exchange_rate.estimation.points import Points, gather_points
from exchange_rate.estimation.results import NAN, ExchangeRate, OutcomeKind, Shape, Slope
from exchange_rate.estimation.shapes import BEND, NEXT, at_bounds
from exchange_rate.estimation.split_users import split_users
from exchange_rate.estimation.verdict import MIN_ENCODERS, Judged, clusters_of, judge, why_no_slope
from moon_rec.errors import StudyError

PER_ROW = ("metric_error", "path", "is_trained")
INTERCEPT = "outcome on the line where the metric is 0"
MOST_NAMED = 4
LeaveOut = Literal["each", "until told", "none"]


def fit_exchange_rate(
    metric: ArrayLike,
    auc: ArrayLike,
    encoder: Sequence[object] | NDArray,
    seed: Sequence[object] | NDArray | None = None,
    level: float = 0.95,
    *,
    path: Sequence[object] | NDArray | None = None,
    is_trained: Sequence[bool] | NDArray | None = None,
    metric_error: ArrayLike | None = None,
    shared_noise: float = 0.0,
    draws: Draws | None = None,
    min_encoders: int = MIN_ENCODERS,
    metric_name: str = "the metric",
    outcome: str = "AUC",
    outcome_kind: OutcomeKind = "auc",
) -> ExchangeRate:
    """Fit the slope of AUC on an intermediate metric; one row a run. The module's docstring has the model and the verdicts.

    Args:
        metric: `(runs,)` the intermediate metric of the run's encoder.
        auc: `(runs,)` AUC (or GAUC) of the run's ranker, or that minus the AUC with permuted vectors of the same encoder (`outcome_kind`).
        encoder: `(runs,)` which encoder; runs of one encoder count as one point.
        seed: `(runs,)` the ranker's seed; see `gather_points`.
        path: `(runs,)` the training that the encoder is a checkpoint of; by default every encoder is its own.
        is_trained: `(runs,)` False where nothing was trained; by default all encoders are trained.
        metric_error: standard error of an encoder's metric, one for all or one a row; None (or 0 for all): the metric is exact. Not read where there are draws.
        shared_noise: share of that noise's variance that all encoders have in common, 0 to 1; not read where there are draws.
        draws: the same draws of users for all encoders.

    Raises:
        StudyError: columns that do not fit together, what `gather_points` refuses, or a level outside (0, 1).
    """
    check_level(level)
    points = gather_points(
        metric,
        auc,
        encoder,
        seed,
        metric_error,
        path=path,
        is_trained=is_trained,
        shared_noise=shared_noise,
        draws=draws,
        outcome_kind=outcome_kind,
    )
    return fit_points(points, level, min_encoders, metric_name, outcome)


def fit_points(
    points: Points,
    level: float = 0.95,
    min_encoders: int = MIN_ENCODERS,
    metric_name: str = "the metric",
    outcome: str = "AUC",
    *,
    leave_out: LeaveOut = "each",
) -> ExchangeRate:
    """The same of points, one an encoder.

    Args:
        leave_out: `each` encoder, path and far group in turn; `until told`, only where the verdict hangs on it and up to the first that changes it, which gives the same
            verdict in thousands of fits; `none`, so that the verdict is that of all encoders alone.
    """
    trained = points.keep(points.is_trained)
    wanted = max(min_encoders, 3)
    reason = why_no_slope(trained, Noise.of(trained), level, wanted)
    at_floor, at_ceiling = ((), ()) if reason else at_bounds(trained)
    kept = trained.keep([name not in (*at_floor, *at_ceiling) for name in trained.names])
    noise = Noise.of(kept)
    definition = _definition(points, kept, noise, level, metric_name, outcome)
    reason = reason or why_no_slope(kept, noise, level, wanted)
    judged = None if reason else judge(kept, noise, level, definition)
    said = _said_of_bounds(at_floor, at_ceiling, metric_name)
    known: dict[str, Any] = dict(
        level=level,
        definition=definition,
        num_encoders=len(kept.names),
        num_runs=sum(kept.num_runs),
        spread=float(np.std(kept.metric, ddof=1)) if len(kept.names) > 1 else 0.0,
        metric_noise=float(np.sqrt(np.mean(noise.metric.diagonal()))) if len(kept.names) else NAN,
        shared=noise.shared,
        seed_noise=kept.seed_noise,
        outcome_kind=points.outcome_kind,
        untrained=tuple(np.array(points.names, dtype=object)[~points.is_trained]),
        all_encoders=_of_all(points, level, definition),
    )
    bounds = {"at_floor": at_floor, "at_ceiling": at_ceiling}
    if judged is None:
        reason = reason or "the metric's spread over encoders is no larger than its noise"
        return _without_slope(kept, noise, "; ".join(filter(None, (reason, said))), known, bounds)
    return _with_slope(kept, noise, judged, said, known, bounds, leave_out)


def _with_slope(
    kept: Points,
    noise: Noise,
    judged: Judged,
    said: str,
    known: dict[str, Any],
    bounds: dict[str, Any],
    leave_out: LeaveOut,
) -> ExchangeRate:
    level, line, slope = known["level"], judged.line, judged.slope
    verdict, reason = judged.verdict, judged.reason
    is_asked = leave_out == "each" or (leave_out == "until told" and verdict != "not identified")
    rests = (
        influence(kept, noise, judged, level, stops_early=leave_out != "each")
        if is_asked
        else no_influence()
    )
    if verdict == "identified" and is_asked:
        reason += f" and no one of {len(kept.names)} encoders on {judged.paths.num_paths} paths decides that"
    if verdict != "not identified" and rests.changes:
        verdict, reason = what_rests(judged.verdict, rests)
    return ExchangeRate(
        slope=slope.value,
        low=slope.low,
        high=slope.high,
        verdict=verdict,
        reason="; ".join(filter(None, (reason, said))),
        scatter=line.scatter,
        centre=(line.frame.centre, line.height.value),
        height_error=line.height.error,
        freedom=slope.freedom,
        intercept=Slope.of(line.intercept, level, INTERCEPT),
        paths=judged.paths,
        shape=replace(judged.shape, **bounds),
        influence=rests,
        split_users=split_users(kept, line, slope),
        **known,
    )


def _without_slope(
    kept: Points, noise: Noise, reason: str, known: dict[str, Any], bounds: dict[str, Any]
) -> ExchangeRate:
    best = float(kept.metric.max()) if len(kept.names) else NAN
    unknown = Slope.unknown
    return ExchangeRate(
        slope=NAN,
        low=NAN,
        high=NAN,
        verdict="not identified",
        reason=reason,
        scatter=NAN,
        centre=_means(kept),
        intercept=unknown(INTERCEPT),
        paths=path_slopes(
            kept.metric, kept.outcome, noise, clusters_of(kept), None, known["level"]
        ),
        shape=Shape("unknown", unknown(BEND), unknown(NEXT), best, text="", **bounds),
        influence=no_influence(),
        **known,
    )


def _means(points: Points) -> tuple[float, float]:
    if not points.names:
        return NAN, NAN
    return float(points.metric.mean()), float(points.outcome.mean())


def _of_all(points: Points, level: float, definition: str) -> Slope | None:
    """The slope with untrained encoders too; None where there are none."""
    if points.is_trained.all():
        return None
    definition = f"{definition}; over all encoders, untrained ones too"
    if len(points.names) < MIN_ENCODERS or np.ptp(points.metric) == 0:
        return Slope.unknown(definition)
    line = fit_line(points.metric, points.outcome, Noise.of(points), clusters_of(points))
    return Slope.unknown(definition) if line is None else Slope.of(line.slope, level, definition)


def _definition(
    points: Points, kept: Points, noise: Noise, level: float, metric_name: str, outcome: str
) -> str:
    if noise.is_drawn and points.draws is not None:
        said = f"corrected for the noise of the users drawn ({len(points.draws.metric)} draws of the same users for all encoders)"
    elif points.metric_noise > 0:
        said = "corrected for the metric's measurement noise, taken as independent between encoders"
        if points.shared_noise:
            said = f"corrected for the metric's measurement noise, {points.shared_noise:.0%} of it taken as shared by all encoders"
    else:
        said = "the metric taken as exact, for no standard error of it was given"
    who = "encoders" if points.is_trained.all() else "trained encoders"
    outcome = (
        f"{outcome} with true minus with permuted vectors"
        if points.outcome_kind == "over permuted"
        else outcome
    )
    paths = len(set(kept.paths))
    alike = "" if paths == len(kept.names) else f", {paths} training paths as random effects"
    return (
        f"slope of {outcome} on {metric_name} over {who} (one point an encoder, the mean over its seeds; same ranker, same data{alike}), {said}; "
        f"{level:.0%} interval robust to unequal scatter{' and clustered by path (CR2)' if alike else ' (HC2)'}"
    )


def _said_of_bounds(at_floor: tuple[str, ...], at_ceiling: tuple[str, ...], name: str) -> str:
    parts = []
    for where, names in (("floor", at_floor), ("ceiling", at_ceiling)):
        if names:
            more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
            listed = ", ".join(map(repr, names[:MOST_NAMED])) + more
            verb = "is" if len(names) == 1 else "are"
            parts.append(
                f"{listed} {verb} at the {where} of {name} and left out, for there it tells nothing apart"
            )
    return "; ".join(parts)


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
        for name in PER_ROW:
            column = own.get(name)
            if column is not None and np.ndim(column) == 1 and len(column) == len(rows):
                own[name] = [column[row] for row in np.flatnonzero(rows).tolist()]
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
    check_level(level)
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


def check_level(level: float) -> None:
    """Raises: StudyError: a level that is no number between 0 and 1."""
    is_number = isinstance(level, int | float) and not isinstance(level, bool)
    if not is_number or not 0 < level < 1:
        raise StudyError(f"level = {level!r}: wanted a coverage between 0 and 1, such as 0.95")
