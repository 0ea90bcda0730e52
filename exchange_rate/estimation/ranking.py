"""Candidate metrics in order of their left-out errors, and which of them are told from the first.

The error is measured: each path (the checkpoints of one training; an encoder on its own is its own path) in turn is left out, a line is drawn through the others, and
the left-out AUCs are predicted with it (`exchange_rate.estimation.leave_out`).

The smallest of many errors is the smallest by luck too. So every metric is set against the best on the same encoders: the paired difference of squared errors
over encoders (Granger and Newbold's test), one-sided, its level shared among the comparisons (Bonferroni). A metric whose errors are not shown to be larger is not told
from the best.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from exchange_rate.estimation.columns import Floats, number_column, truth_column
from exchange_rate.estimation.leave_out import Codes, left_out_errors, path_codes
from exchange_rate.estimation.points import Points, gather_points
from exchange_rate.estimation.verdict import MIN_ENCODERS
from moon_rec.errors import StudyError

NAN = float("nan")


@dataclass
class Ranked:
    """A metric in its place.

    Attributes:
        metric: its column; `points` one an encoder that has it, None where none has.
        errors: None where there are none.
        is_told_from_best: None for the best itself and where errors do not compare; `is_told_from_mean` None where there are none to compare.
    """

    metric: str
    points: Points | None
    errors: "PathErrors | None"
    is_told_from_best: bool | None = None
    is_told_from_mean: bool | None = None

    @property
    def num_encoders(self) -> int:
        """Encoders that have it."""
        return 0 if self.points is None else len(self.points.names)

    def figures(self, level: float) -> dict[str, float | bool | None]:
        """What is printed of its errors, their number and the comparisons, by column."""
        return {
            **(self.errors.figures(level) if self.errors is not None else {}),
            "num_encoders": self.num_encoders,
            "is_told_from_best": self.is_told_from_best,
            "is_told_from_mean": self.is_told_from_mean,
        }


def rank_by_error(
    rows: pl.DataFrame, outcome: str, metrics: Sequence[str], level: float
) -> list[Ranked]:
    """The metrics, the smallest left-out error first; one that is missing for some encoder comes after those that are not.

    Raises:
        StudyError: a column that holds no numbers, an infinite value, an outcome that is missing, or what `gather_points` refuses.
    """
    number_column(rows[outcome], outcome)
    gathered: dict[bytes, _Gathered] = {}
    found = []
    for metric in metrics:
        points = _points(rows, outcome, metric, gathered)
        found.append(Ranked(metric, points, None if points is None else PathErrors.of(points)))
    num_encoders = rows["encoder"].n_unique()
    found.sort(key=lambda one: (one.num_encoders < num_encoders, _size(one.errors)))
    compared = [
        (one, one.errors)
        for one in found
        if one.num_encoders == num_encoders and one.errors is not None
    ]
    for one, errors in compared:
        best = compared[0][1]
        if errors is not best:
            share = (1 - level) / (len(compared) - 1)
            one.is_told_from_best = is_larger(errors.line, best.line, share, errors.codes)
        share = (1 - level) / len(compared)
        one.is_told_from_mean = is_larger(errors.mean, errors.line, share, errors.codes)
    return found


def trained_rows(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of trained encoders: all, where the table does not say.

    Raises:
        StudyError: a value of `is_trained` that is neither True nor False, or no row of True.
    """
    if "is_trained" not in table.columns:
        return table
    kept = table.filter(pl.Series(truth_column(table["is_trained"].to_list(), "is_trained")))
    if kept.is_empty():
        raise StudyError(
            "is_trained: no row of True; users choose between trained encoders, so metrics are judged by those"
        )
    return kept


def check_columns(table: pl.DataFrame, numbers: Sequence[str]) -> None:
    """Refuse a table without these columns of numbers, or without `encoder`.

    Raises:
        StudyError: no table, no row, a column that is not there or holds no numbers.
    """
    if not isinstance(table, pl.DataFrame) or table.is_empty():
        raise StudyError("table: wanted a polars DataFrame with a row a run; received none")
    for column in ("encoder", *numbers):
        if column not in table.columns:
            raise StudyError(f"table has no column {column!r}; it has {', '.join(table.columns)}")
        if column != "encoder" and not table.schema[column].is_numeric():
            raise StudyError(f"{column}: a column of {table.schema[column]}; wanted numbers")


def points_of(rows: pl.DataFrame, outcome: str, metric: str | None = None, **more: Any) -> Points:
    """The points of these runs; where no metric is named, it is 0 throughout. Further arguments are those of `gather_points`."""
    seed, path = (
        rows[name].to_list() if name in rows.columns else None for name in ("seed", "path")
    )
    values = np.zeros(len(rows)) if metric is None else rows[metric].to_numpy()
    return gather_points(
        values, rows[outcome].to_numpy(), rows["encoder"].to_list(), seed, path=path, **more
    )


@dataclass(frozen=True, eq=False)
class _Gathered:
    """Runs with their outcome averaged; `first` `(encoders,)` is each encoder's first run, `again` `(runs,)` the first run of each run's encoder."""

    runs: pl.DataFrame
    points: Points
    first: NDArray[np.intp]
    again: NDArray[np.intp]

    @classmethod
    def of(cls, runs: pl.DataFrame, outcome: str) -> "_Gathered":
        points = points_of(runs, outcome)
        place: dict[str, int] = {}
        again = [
            place.setdefault(str(name), row) for row, name in enumerate(runs["encoder"].to_list())
        ]
        first = [place[name] for name in points.names]
        return cls(runs, points, np.array(first), np.array(again))


def _points(
    rows: pl.DataFrame, outcome: str, metric: str, gathered: dict[bytes, _Gathered]
) -> Points | None:
    """The points of one metric; metrics that are missing in the same runs share the work of averaging the outcome, kept in `gathered`."""
    if not rows.schema[metric].is_numeric():
        raise StudyError(f"{metric}: a column of {rows.schema[metric]}; wanted numbers")
    values = rows[metric].cast(pl.Float64).fill_null(NAN).to_numpy()
    if len(infinite := np.flatnonzero(np.isinf(values))):
        row = int(infinite[0])
        raise StudyError(
            f"{metric}, row {row}: {values[row]} is not finite; leave it empty where it was not measured"
        )
    kept = np.isfinite(values)
    if not kept.any():
        return None
    key = kept.tobytes()
    if key not in gathered:
        gathered[key] = _Gathered.of(rows.filter(pl.Series(kept)), outcome)
    found, own = gathered[key], values[kept]
    if not np.allclose(own, own[found.again], rtol=1e-9, atol=0):
        points_of(found.runs, outcome, metric)  # names the rows, and raises
    return replace(found.points, metric=own[found.first])


@dataclass(frozen=True, eq=False)
class PathErrors:
    """Left-out errors, one an encoder in order of names: of the line through the encoders of all other paths, and of their mean; with the encoders' paths."""

    line: Floats
    mean: Floats
    codes: Codes

    @classmethod
    def of(cls, points: Points) -> "PathErrors | None":
        """None for too few, or where without one path all others have the same metric."""
        if len(points.names) < MIN_ENCODERS:
            return None
        codes = path_codes(points.paths)
        found = left_out_errors(points.metric, points.outcome, codes)
        if found is None:
            return None
        order = np.argsort(points.names)
        return cls(found[0][order], found[1][order], codes[order])

    @property
    def size(self) -> float:
        """Root mean square error of the line."""
        return float(np.sqrt(np.mean(self.line**2)))

    def figures(self, level: float) -> dict[str, float]:
        """What is printed of them."""
        found: dict[str, float] = {}
        for name, errors, lost in (("", self.line, 2), ("_of_mean", self.mean, 1)):
            freedom = int(self.codes.max()) + 1 - lost
            size = float(np.sqrt(np.mean(errors**2)))
            low = high = NAN
            if freedom > 0:
                low, high = (size * end for end in _ends(freedom, level))
            found[f"left_out_error{name}"] = size
            found |= {f"left_out_error{name}_low": low, f"left_out_error{name}_high": high}
        return found


def is_larger(errors: Floats, best: Floats, share: float, codes: Codes) -> bool:
    """Whether these errors are larger than the best's, paired over encoders, one-sided at the level `share`; `codes` `(encoders,)` are the paths by number.

    Two series of errors have equal mean squares exactly when their sum and their difference are uncorrelated (Granger and Newbold 1977; Diebold and Mariano 1995,
    eq. 3): r is that correlation, and r sqrt(f / (1 - r^2)) has Student's t with f degrees of freedom. Theirs is f = n - 1, for errors that are independent.
    Left-out errors share their encoders: with f = n - 3 two metrics that are alike are told apart no more often than the level says (`benchmarks/metric_choice.py`;
    with n - 1 four times as often at 5 encoders). Products of one path are no independent evidence: the statistic is divided by the square root of how much more their sums
    by path vary than they would if independent (never less than 1), and has paths - 3 degrees of freedom.
    """
    total, difference = errors + best, errors - best
    size = float(np.sqrt((total @ total) * (difference @ difference)))
    freedom = int(codes.max()) + 1 - 3
    if size == 0 or freedom < 1:
        return False
    count, paths = len(errors), freedom + 3
    correlation = min(float(total @ difference) / size, 1 - 1e-12)
    value = correlation * np.sqrt((count - 3) / (1 - correlation**2))
    around = total * difference - np.mean(total * difference)
    alone = max(float(around @ around), 1e-300)
    alike = float(np.sum(np.bincount(codes, weights=around) ** 2)) / alone
    alike *= paths / (paths - 1) * (count - 1) / count  # sums around their mean are too small
    return bool(value / np.sqrt(max(alike, 1.0)) > _quantile(1 - share, freedom))


def _size(errors: PathErrors | None) -> float:
    return float("inf") if errors is None else errors.size


@cache
def _ends(freedom: int, level: float) -> tuple[float, float]:
    """Of the interval of a root mean square, over its value."""
    ends = stats.chi2.ppf([(1 + level) / 2, (1 - level) / 2], freedom)
    low, high = np.sqrt(freedom / ends).tolist()
    return low, high


@cache
def _quantile(level: float, freedom: int) -> float:
    return float(stats.t.ppf(level, freedom))
