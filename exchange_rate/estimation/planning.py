"""How large a study must be for a rate known to 20 %, from the noise seen in a study at hand; which encoder to train next.

The variance of the slope, for J encoders on G paths, n = J / G each, S seeds, and Q searches and U users (now: Q0, U0):

    v^2  = search^2 Q0 / Q                                          noise of a metric
    e^2  = encoder^2 + seed^2 / S + user^2 U0 / U + slope^2 v^2     around the line, within a path
    info = (J - G) within^2 / e^2  +  (G - 1) (n between^2 + within^2) / (n path^2 + e^2)
    var  = (1 + v^2 / spread^2) / info  +  (slope v^2 / spread^2)^2 / (J - 2),      spread^2 = between^2 + within^2

`info` is that of generalised least squares with random paths, its two terms encoders along a path and means of paths; the factor and the last term are what correcting for the metric's noise
costs (Fuller 1987, eq. 1.2.21; with G = J and no noise it is least squares). Half the interval is t sqrt(var), its degrees of freedom those of the fit
(`exchange_rate.estimation.sandwich`) to a study with metrics at normal quantiles. Simulated studies of the planned size have intervals within 15 % of the planned
(`tests/exchange_rate/estimation/test_planning.py`).

The noise is split by moments: what encoders of one path differ by, and what encoders of different paths differ by more; less the noise of seeds, and of users and searches where draws of users or
standard errors tell it. Where every encoder is its own path, what paths share cannot be told from what encoders do not: all of it counts as encoders'.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
from scipy import special

from exchange_rate.estimation.candidates import metric_errors
from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.lines import Line, fit_line
from exchange_rate.estimation.mixed import largest_share
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.plans import NextEncoder, NoiseParts, PlanOption, StudyPlan, StudySize
from exchange_rate.estimation.points import Points
from exchange_rate.estimation.ranking import check_columns, points_of, trained_rows
from exchange_rate.estimation.rate import check_level
from exchange_rate.estimation.sandwich import Clusters, t_quantile
from exchange_rate.estimation.verdict import clusters_of, why_no_slope
from moon_rec.errors import StudyError

NAN = float("nan")
MOST = 64
"""How many times as much of one thing is thought of; what does not do then never does."""
EXACT_PATHS = 60
"""Paths up to which degrees of freedom are taken from a fit; beyond, t hardly depends on them and they are paths - 2."""
NEW_PATH = "a new path"


def plan_study(
    table: pl.DataFrame,
    metric: str,
    outcome: str = "auc",
    *,
    target: float = 0.2,
    level: float = 0.95,
    searches: int | None = None,
    users: int | None = None,
    draws: Draws | None = None,
) -> StudyPlan:
    """What it takes to know the slope of `outcome` on `metric` within `target` of itself, from the noise seen in this study.

    Args:
        table: one row a run, as for `rank_metrics`; runs without the metric or the outcome are left out.
        target: wanted half width of the interval over the slope, above 0.
        searches, users: that metric and outcome are measured on; by default the mean of `<metric>.count`, and `draws.num_users`, where they are there. What is not known is not
            planned.
        draws: of metric and outcome under the same users.

    Raises:
        StudyError: no such column, a target that is not above 0, or what `gather_points` refuses.
    """
    check_level(level)
    check_columns(table, [metric, outcome])
    if not isinstance(target, int | float) or not target > 0:
        raise StudyError(f"target = {target!r}: wanted a relative half width above 0, such as 0.2")
    measured = pl.all_horizontal(pl.col(metric, outcome).is_finite().fill_null(False))
    rows = trained_rows(table).filter(measured)
    if rows.is_empty():
        raise StudyError(f"no run of a trained encoder has both {metric} and {outcome}")
    errors, _ = metric_errors(rows, metric)
    points = points_of(rows, outcome, metric, metric_error=errors, draws=draws)
    counts = f"{metric}.count"
    if searches is None and counts in rows.columns and rows[counts].is_not_null().any():
        searches = round(float(rows.select(pl.col(counts).cast(pl.Float64).mean()).item()))
    if users is None and draws is not None and draws.num_users:
        users = draws.num_users
    return plan_points(points, target, level, searches, users)


def plan_points(
    points: Points,
    target: float = 0.2,
    level: float = 0.95,
    searches: int | None = None,
    users: int | None = None,
) -> StudyPlan:
    """The same of points, one a trained encoder."""
    noise = Noise.of(points)
    now = StudySize(
        len(points.names),
        len(set(points.paths)),
        max(1, round(float(np.mean(points.num_runs)))),
        searches,
        users,
    )
    why = why_no_slope(points, noise, level, 4)
    line = None if why else fit_line(points.metric, points.outcome, noise, clusters_of(points))
    if line is None:
        why = why or "the metric varies over encoders no more than its noise"
        nothing = PlanOption("as it is", now, NAN, False)
        parts = NoiseParts(*[NAN] * 8)
        return StudyPlan(target, level, parts, nothing, (), "", {}, None, f"no plan: {why}")
    parts = noise_parts(points, noise, line)
    plan = _Planner(parts, now, target, level)
    present = plan.option("as it is", now)
    shares = plan.shares()
    binding = max(shares, key=lambda name: shares[name])
    words = (
        f"the interval is now about {present.relative_half_width:.0%} of the slope to either side; most of that is owed to {binding} "
        f"({shares[binding]:.0%} of the variance)"
    )
    if not line.slope.ends(level)[0] * line.slope.ends(level)[1] > 0:
        words += "; the slope is not told from zero, so the numbers hold only if it is as seen"
    if not np.isfinite(points.seed_noise):
        words += "; one seed each: the noise of seeds counts as that of encoders"
    return StudyPlan(
        target=target,
        level=level,
        parts=parts,
        now=present,
        options=plan.options(),
        binding=binding,
        shares=shares,
        next_encoder=plan.next_encoder(points),
        reason=words,
    )


def noise_parts(points: Points, noise: Noise, line: Line) -> NoiseParts:
    """The parts of the noise by moments; the module's docstring says how."""
    slope, count = line.slope.value, len(points.names)
    away = np.eye(count) - 1 / count
    search, users = (
        max(float(np.trace(away @ one)) / (count - 1), 0.0) for one in (noise.metric, noise.outcome)
    )
    around = max(float(np.trace(away @ noise.around(slope))) / (count - 1), 0.0)
    seeds = points.seed_noise if np.isfinite(points.seed_noise) else 0.0
    runs = float(np.mean(1 / np.array(points.num_runs)))
    between, within = _components(points.metric, clusters_of(points))
    rest = points.outcome - slope * points.metric
    path, encoder = _components(rest, clusters_of(points), lost=1)
    is_single = len(set(points.paths)) == count
    if is_single:
        path, encoder = 0.0, path
        between = max(between - search, 0.0)
    else:
        within = max(within - search, 0.0)
    encoder = max(encoder - around - seeds**2 * runs, 0.0)
    sizes = (between, within, path, encoder, seeds**2, users, search)
    return NoiseParts(slope, *(float(np.sqrt(one)) for one in sizes))


def _components(values: Floats, clusters: Clusters, lost: int = 0) -> tuple[float, float]:
    """Variance between and within paths (all of it between where every encoder is its own path); `lost` degrees of freedom were used for a line."""
    sizes = clusters.is_real.sum(axis=1)
    means = clusters.means(values)
    if clusters.count == len(values):
        return float(np.sum((values - values.mean()) ** 2)) / (len(values) - 1 - lost), 0.0
    inner = float(np.sum((values - means[clusters.code]) ** 2)) / (len(values) - clusters.count)
    outer = float(np.sum((means - means.mean()) ** 2)) / max(clusters.count - 1 - lost, 1)
    return max(outer - inner * float(np.mean(1 / sizes)), 0.0), inner


def half_width(parts: NoiseParts, size: StudySize, now: StudySize, level: float) -> float:
    """Planned half width of the slope's interval, outcome per unit of the metric; `now` is the size that the noise of searches and users was seen at."""
    free = _freedom(parts, size, now)
    return t_quantile(level, free) * float(np.sqrt(_variance(parts, size, now)))


def _around(parts: NoiseParts, size: StudySize, now: StudySize) -> tuple[float, float]:
    """e^2 and v^2."""
    noise = parts.search_noise**2 * _ratio(now.searches, size.searches)
    users = parts.user_noise**2 * _ratio(now.users, size.users)
    seeds = parts.seed_noise**2 / size.seeds
    around = parts.encoder_scatter**2 + seeds + users + parts.slope**2 * noise
    return max(around, 1e-300), noise


def _ratio(now: int | None, then: int | None) -> float:
    return 1.0 if now is None or then is None else now / then


def _variance(parts: NoiseParts, size: StudySize, now: StudySize) -> float:
    around, noise = _around(parts, size, now)
    each = size.encoders / size.paths
    between, within = parts.spread_between**2, parts.spread_within**2
    info = (size.encoders - size.paths) * within / around
    info += (size.paths - 1) * (each * between + within) / (each * parts.path_scatter**2 + around)
    return _with_metric_noise(info, noise, between + within, parts.slope, size.encoders)


def _with_metric_noise(info: float, noise: float, spread: float, slope: float, num: int) -> float:
    if info <= 0 or spread <= 0:
        return float("inf")
    return (1 + noise / spread) / info + (slope * noise / spread) ** 2 / max(num - 2, 1)


def _freedom(parts: NoiseParts, size: StudySize, now: StudySize) -> float:
    """Degrees of freedom of the fit to a study of that size, with metrics at normal quantiles."""
    if size.paths > EXACT_PATHS:
        return size.paths - 2
    codes = np.arange(size.encoders) % size.paths
    turn = np.arange(size.encoders) // size.paths
    most = int(turn.max()) + 1
    metric = parts.spread_between * _quantiles(size.paths)[codes]
    if most > 1:  # in another order along each path, so that no place is the same for all
        metric = metric + parts.spread_within * _quantiles(most)[(turn + codes) % most]
    around, _ = _around(parts, size, now)
    share = parts.path_scatter**2 / (parts.path_scatter**2 + around)
    nothing = np.zeros((size.encoders, size.encoders))
    none = Noise(nothing, nothing, nothing, False)
    clusters = Clusters.of(codes)
    line = fit_line(metric, metric, none, clusters, min(share, largest_share(clusters), 0.98))
    return max(size.paths - 2, 1) if line is None else max(line.slope.freedom, 1.0)


def _quantiles(count: int) -> Floats:
    values = special.ndtri((np.arange(count) + 0.5) / count)
    return values / values.std() if count > 1 else values


class _Planner:
    """One study's options."""

    def __init__(self, parts: NoiseParts, now: StudySize, target: float, level: float) -> None:
        self.parts, self.now, self.target, self.level = parts, now, target, level

    def option(self, change: str, size: StudySize) -> PlanOption:
        """What a size promises."""
        wide = half_width(self.parts, size, self.now, self.level) / abs(self.parts.slope)
        return PlanOption(change, size, wide, wide <= self.target)

    def options(self) -> tuple[PlanOption, ...]:
        """One thing increased at a time, as far as it must be."""
        now, parts = self.now, self.parts
        each = now.encoders / now.paths
        found = [
            self._grown(
                "more paths" if each > 1 else "more encoders, each a training of its own",
                now.paths,
                lambda paths: replace(now, paths=paths, encoders=round(paths * each)),
            )
        ]
        if each > 1:
            found.append(
                self._grown(
                    "more encoders on the paths there are",
                    now.encoders,
                    lambda encoders: replace(now, encoders=encoders),
                )
            )
        if parts.seed_noise > 0:
            grown = self._grown("more seeds", now.seeds, lambda seeds: replace(now, seeds=seeds))
            found.append(grown)
        if now.users is not None and parts.user_noise > 0:
            grown = self._grown("more users", now.users, lambda users: replace(now, users=users))
            found.append(grown)
        if now.searches is not None and parts.search_noise > 0:
            found.append(
                self._grown(
                    "more searches", now.searches, lambda searches: replace(now, searches=searches)
                )
            )
        return tuple(found)

    def _grown(self, change: str, start: int, size: Callable[[int], StudySize]) -> PlanOption:
        """The smallest number from `start` on that reaches the target; the largest thought of where none does."""
        low, high = start, start * MOST
        most = self.option(f"{change}: not enough, however many", size(high))
        if not most.is_enough:
            return most
        while low < high:
            middle = (low + high) // 2
            if self.option(change, size(middle)).is_enough:
                high = middle
            else:
                low = middle + 1
        return self.option(change, size(low))

    def shares(self) -> dict[str, float]:
        """What of the variance each part of the noise is to blame for: how much smaller it were without, in proportion."""
        names = {
            "paths": "path_scatter",
            "encoders": "encoder_scatter",
            "seeds": "seed_noise",
            "users": "user_noise",
            "searches": "search_noise",
        }
        whole = _variance(self.parts, self.now, self.now)
        saved = {
            name: 1 - _variance(replace(self.parts, **{part: 0.0}), self.now, self.now) / whole
            for name, part in names.items()
        }
        total = sum(saved.values())
        return {name: one / total if total > 0 else NAN for name, one in saved.items()}

    def next_encoder(self, points: Points) -> NextEncoder:
        """The encoder within reach that narrows the interval most: on a new path at an end of the range seen, on a path of the study no further beyond its own range than its
        encoders lie apart."""
        low, high = float(points.metric.min()), float(points.metric.max())
        reach = {NEW_PATH: (high, low)}
        if len(set(points.paths)) < len(points.names):
            step = self.parts.spread_within
            for path in dict.fromkeys(points.paths):
                own = points.metric[[one == path for one in points.paths]]
                reach[path] = (min(own.max() + step, high), max(own.min() - step, low))
        now = self._width(points.metric, list(points.paths))
        wide, at, path = min(
            (self._width(np.append(points.metric, end), [*points.paths, path]), float(end), path)
            for path, ends in reach.items()
            for end in ends
        )
        on = NEW_PATH if path == NEW_PATH else f"path {path}"
        words = (
            f"an encoder of {on} with a metric near {at:.3g} (seen so far: {low:.3g} to {high:.3g}) narrows the interval most: "
            f"from {now:.0%} to about {wide:.0%} of the slope"
        )
        return NextEncoder(path, at, wide, now, words)

    def _width(self, metric: Floats, paths: list[str]) -> float:
        """Planned relative half width with these very encoders."""
        count, names = len(metric), list(dict.fromkeys(paths))
        size = replace(self.now, encoders=count, paths=len(names))
        around, noise = _around(self.parts, size, self.now)
        codes = np.array([names.index(path) for path in paths])
        alike = codes[:, None] == codes
        covariance = around * np.eye(count) + self.parts.path_scatter**2 * alike
        design = np.column_stack([np.ones(count), metric])
        bread = np.linalg.inv(design.T @ np.linalg.solve(covariance, design))
        spread = self.parts.spread_between**2 + self.parts.spread_within**2
        # the metric as measured is wider than it truly is by its noise
        info = spread / (spread + noise) / float(bread[1, 1])
        variance = _with_metric_noise(info, noise, spread, self.parts.slope, count)
        free = _freedom(self.parts, size, self.now)
        return t_quantile(self.level, free) * float(np.sqrt(variance)) / abs(self.parts.slope)
