"""Parts of a table of scores that are judged apart: cold and warm items, and the groups of any column. No torch.

Notable choices
- Text, truth values and numbers of few different values make a segment a value; other numbers are cut
  at quantiles of the rows. Zero stands alone where the column counts something (whole numbers from
  zero up): no history at all is another thing than a short one.
- A segment that cannot be judged (too few users for a bootstrap over users, clicks or non-clicks
  alone, more values than are asked for) is left out and *named* with its size and the reason.
- Missing values are a segment, `unknown`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.shown import visible
from ranking.groups import group_codes
from ranking.judging.resampling import MIN_USERS

MAX_SEGMENTS = 20
"""Of a column of text; the largest are judged, the others are named."""
MAX_VALUES = 12
"""A numeric column of more different values than this is cut at quantiles."""
NUM_QUANTILES = 4
MOST_GROUPS = 1000
"""A column of text with more values than this is refused, not listed."""
UNKNOWN = "unknown"


@dataclass(frozen=True, eq=False)
class Segment:
    """Some rows of a table of scores.

    Attributes:
        key: what stands behind a metric's name: `""` (all rows), `_cold`, `_warm` or `[column=value]`.
        name: for people: `all`, `cold items`, `category = Home`.
        column: the column it comes from, empty for all rows.
        rows: `(rows,)` boolean.
        num_rows, num_clicks, num_users: its size.
        num_two_class_users: users with clicks and non-clicks, the ones that GAUC counts.
    """

    key: str
    name: str
    column: str
    rows: np.ndarray
    num_rows: int
    num_clicks: int
    num_users: int
    num_two_class_users: int

    @property
    def is_group(self) -> bool:
        """Whether it is a group of a column that was asked for."""
        return self.key.startswith("[")

    @property
    def words(self) -> str:
        """What a definition ends with."""
        return f", {self.name} only" if self.key else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the rows."""
        sizes = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "rows"}
        return sizes | {"num_one_class_users": self.num_users - self.num_two_class_users}


@dataclass(frozen=True)
class LeftOut:
    """A segment that is not judged, and why."""

    name: str
    num_rows: int
    num_users: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name}: {self.num_rows:,} rows of {self.num_users:,} users, {self.reason}"


@dataclass(frozen=True)
class Segments:
    """The segments of a table of scores; `judged` begins with all rows."""

    judged: tuple[Segment, ...]
    left_out: tuple[LeftOut, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "judged": [one.as_dict() for one in self.judged],
            "left_out": [one.as_dict() for one in self.left_out],
        }


def segments_of(
    scores: pl.DataFrame,
    by: Sequence[str] = (),
    min_users: int = MIN_USERS,
    max_segments: int = MAX_SEGMENTS,
    num_quantiles: int = NUM_QUANTILES,
) -> Segments:
    """All rows, cold and warm items (where `is_cold` is known), and the groups of each column in `by`.

    Args:
        scores: with `user_id, label, is_cold` and the columns asked for.
        min_users: a group of a column needs as many; cold and warm are judged whatever their size. Below
            `MIN_USERS` counted users what is judged has a value and no interval.
        max_segments: of one column of text, the largest first.
        num_quantiles: groups of a column of many numbers.

    Raises:
        RankingError: a column that is not there or cannot be grouped, a setting out of range.
    """
    if min_users < 1 or max_segments < 1 or num_quantiles < 1:
        raise RankingError(
            f"min_users {min_users}, max_segments {max_segments}, num_quantiles {num_quantiles}: "
            "wanted at least 1 of each"
        )
    left_out: list[LeftOut] = []
    wanted = [("", "all", "", np.ones(scores.height, dtype=bool), 1)]
    if scores.height and scores["is_cold"].is_null().all():
        reason = "is_cold is not known without a shop"
        left_out.append(_left_out(scores, "cold and warm items", wanted[0][3], reason))
    else:
        cold = scores["is_cold"].to_numpy()
        wanted += [("_cold", "cold items", "is_cold", cold, 1)]
        wanted += [("_warm", "warm items", "is_cold", ~cold, 1)]
    for column in dict.fromkeys(by):
        groups = groups_of(scores, column, num_quantiles)
        kept = _largest(groups, max_segments)
        for value, rows in groups.items():
            name = f"{column} = {value}"
            if value in kept:
                wanted.append((f"[{column}={value}]", name, column, rows, min_users))
            else:
                reason = f"not among the {max_segments} largest of {column}"
                left_out.append(_left_out(scores, name, rows, reason))
    judged = []
    for key, name, column, rows, least in wanted:
        segment = _segment(scores, key, name, column, rows)
        reason = _reason(segment, least)
        if not reason:
            judged.append(segment)
        elif key:
            left_out.append(_left_out(scores, name, rows, reason))
    return Segments(tuple(judged), tuple(left_out))


def groups_of(
    scores: pl.DataFrame, column: str, num_quantiles: int = NUM_QUANTILES
) -> dict[str, np.ndarray]:
    """Group's name -> its rows `(rows,)` boolean: values in order, quantile groups ascending, `unknown` last.

    Raises:
        RankingError: the column is not there, or holds lists or the like.
    """
    if column not in scores.columns:
        raise RankingError(
            f"no column {column!r} in the scores to group by; there are {', '.join(scores.columns)}"
        )
    values = scores[column]
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise RankingError(f"column {column!r} is of {values.dtype}: group by text or numbers")
    if not values.dtype.is_numeric():
        values = values.cast(pl.String)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    known = values.is_not_null().to_numpy()
    num_values = values.drop_nulls().n_unique()
    if values.dtype.is_numeric() and num_values > MAX_VALUES:
        groups = _quantile_groups(values, known, num_quantiles)
    elif num_values > MOST_GROUPS:
        raise RankingError(
            f"column {column!r} holds {num_values:,} different values, more than {MOST_GROUPS:,}: "
            "group by something coarser"
        )
    else:
        groups = {}
        for value in values.drop_nulls().unique().sort():
            name = f"{value:g}" if isinstance(value, float) else str(value)
            name = name if name.isprintable() else visible(name)
            groups[name] = groups.get(name, False) | (values == value).fill_null(False).to_numpy()
    if not known.all():
        groups[UNKNOWN] = groups.get(UNKNOWN, False) | ~known
    return groups


def _quantile_groups(values: pl.Series, known: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Groups of about equally many rows, named by their least and largest value; zero apart in counts."""
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    counts_something = values.dtype.is_integer() and numbers[known].min() >= 0
    groups, rest = {}, known
    if counts_something and (numbers == 0).any():
        groups["0"] = numbers == 0
        rest = known & (numbers > 0)
    edges = np.quantile(numbers[rest], np.linspace(0, 1, count + 1)[1:-1])
    place = np.searchsorted(edges, numbers, side="right")
    for number in range(count):
        rows = rest & (place == number)
        if rows.any():
            low, high = numbers[rows].min(), numbers[rows].max()
            groups[f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"] = rows
    return groups


def _largest(groups: dict[str, np.ndarray], count: int) -> set[str]:
    sizes = {name: int(rows.sum()) for name, rows in groups.items()}
    return set(sorted(sizes, key=lambda name: (-sizes[name], name))[:count])


def _segment(scores: pl.DataFrame, key: str, name: str, column: str, rows: np.ndarray) -> Segment:
    labels, users = scores["label"].to_numpy()[rows], scores["user_id"].filter(pl.Series(rows))
    codes = group_codes(users, labels.size)
    sizes, clicks = np.bincount(codes), np.bincount(codes, labels)
    both = int(((clicks > 0) & (clicks < sizes)).sum())
    return Segment(key, name, column, rows, labels.size, int(clicks.sum()), sizes.size, both)


def _reason(segment: Segment, min_users: int) -> str:
    """Why a segment cannot be judged; empty where it can."""
    if segment.num_rows == 0:
        return "nothing to judge"
    if segment.num_clicks == 0:
        return "no click"
    if segment.num_clicks == segment.num_rows:
        return "clicks alone"
    if segment.num_users < min_users:
        return f"fewer users than {min_users}"
    return ""


def _left_out(scores: pl.DataFrame, name: str, rows: np.ndarray, reason: str) -> LeftOut:
    return LeftOut(
        name, int(rows.sum()), scores["user_id"].filter(pl.Series(rows)).n_unique(), reason
    )
