"""The columns of a table of points: which are metrics and which are none, read as they are meant or refused by column, row and value."""

import re
from typing import get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from exchange_rate.analysis.axes import AXES, Axis
from exchange_rate.analysis.rates import OUTCOMES
from exchange_rate.estimation.columns import Floats
from exchange_rate.estimation.points import gather_points
from exchange_rate.evidence.joined import ENDS, ERROR, HALF
from moon_rec.errors import StudyError

NAMES = ("encoder", "path", "ranker", "seed")
TRAINED, PERMUTED_AUC = "trained", "auc_permuted"
TRUTHS = {"true": True, "false": False}
RANKER = "the CTR model"
"""Its name where the table has none."""
RUN_FIGURES = (*OUTCOMES, PERMUTED_AUC)
"""Figures of a run, not of its encoder."""
AXIS_COLUMNS: tuple[Axis, ...] = get_args(Axis)
"""What encoders, or rankers, differ in: no metrics, but what laws are asked of."""
OF_RANKER: Axis = "history_length"
"""Of these the one that is the ranker's."""
SHARES = re.compile(r"recall|precision|hit|ndcg|mrr")
"""Metrics known by their names to lie between 0 and 1."""


def typed(column: pl.Series, file: str) -> pl.Series:
    """A column of texts as numbers, where it is one; empty fields are missing."""
    text = column.str.strip_chars()
    text = text.set(text == "", None)
    if column.name.strip() in (*NAMES, TRAINED):
        return text
    found = text.cast(pl.Float64, strict=False)
    bad = (found.is_null() & text.is_not_null()).arg_true()
    if not len(bad) or len(bad) == text.len() - text.null_count():
        return found if not len(bad) else text
    row = int(bad[0])
    raise StudyError(
        f"{file}, row {row}, {column.name}: {text[row]!r} is no number; write one such as 0.41, or leave it empty where it was not measured"
    )


def metrics_of(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the metrics, and of what is none."""
    metrics, aside = [], []
    for name, kind in frame.schema.items():
        base = name.removesuffix(ERROR)
        for end in ENDS:
            base = base.removesuffix(end)
        if name in (*NAMES, TRAINED, *RUN_FIGURES, *AXIS_COLUMNS) or (
            base != name and base in frame.columns
        ):
            continue
        is_number = kind.is_numeric() and frame[name].is_not_null().any()
        (metrics if is_number else aside).append(name)
    return metrics, aside


def with_labels(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """`ranker`, `path` and `is_trained` of every row; the latter two are the encoder's."""
    if "ranker" not in frame.columns:
        frame = frame.with_columns(ranker=pl.lit(RANKER))
    if "path" not in frame.columns:
        frame = frame.with_columns(path=pl.col("encoder"))
    trained = pl.Series("is_trained", _truths(frame, name), pl.Boolean)
    frame = frame.with_columns(trained)
    for column, shown in (("path", "path"), ("is_trained", TRAINED)):
        first = pl.col(column).first().over("encoder")
        other = frame.select(pl.col(column) != first).to_series()
        if other.any():
            row = int(other.arg_true()[0])
            encoder = frame["encoder"][row]
            before = frame.filter(pl.col("encoder") == encoder)[column][0]
            raise StudyError(
                f"{name}, row {row}: encoder {encoder!r} has {shown} {frame[column][row]!r}, and {before!r} before; it is the encoder's: write one of them in all of its rows"
            )
    return frame


def _truths(frame: pl.DataFrame, name: str) -> list[bool]:
    """The column `trained`; true for all where it is not there."""
    if TRAINED not in frame.columns:
        return [True] * len(frame)
    found = []
    for row, value in enumerate(frame[TRAINED]):
        truth = value if isinstance(value, bool) else TRUTHS.get(str(value).strip().lower())
        if truth is None:
            shown = "nothing" if value is None else repr(value)
            raise StudyError(
                f"{name}, row {row}, {TRAINED} of encoder {frame['encoder'][row]!r}: {shown}; write true or false in every row, or leave the column out where all were trained"
            )
        found.append(truth)
    return found


def with_interval(frame: pl.DataFrame, metric: str, name: str) -> pl.DataFrame:
    """The column checked, and its error as the 95 % interval that the fits read; without one where no row has an error."""
    values = _numbers(frame, metric, name)
    if metric == "auc":
        _refuse(frame, metric, np.isnan(values), name, "is missing; leave that run out or measure it")  # fmt: skip
    if metric in RUN_FIGURES or SHARES.search(metric.lower()):
        words = "lies outside 0 to 1; write shares, not percent (0.41 for 41 %)"
        _refuse(frame, metric, (values < 0) | (values > 1), name, words)
    error, low, high = (f"{metric}{end}" for end in (ERROR, *ENDS[:2]))
    ends = _ends(frame, values, error, low, high, name)
    frame = frame.drop(error, low, high, strict=False).with_columns(pl.Series(metric, values))
    without = np.isnan(ends).any(axis=0) & ~np.isnan(values)
    if (without | np.isnan(values)).all():
        return frame
    _refuse(frame, metric, without, name, "has no error where others have one; give it, or leave all out")  # fmt: skip
    outside = (values < ends[0]) | (values > ends[1])
    _refuse(frame, metric, outside, name, f"lies outside its interval ({low} to {high})")
    return frame.with_columns(pl.Series(low, ends[0]), pl.Series(high, ends[1]))


def _ends(
    frame: pl.DataFrame, values: Floats, error: str, low: str, high: str, name: str
) -> Floats:
    """Ends of the 95 % interval, `(2, rows)`, NaN where there is none."""
    there = [one for one in (low, high) if one in frame.columns]
    if error in frame.columns:
        if there:
            raise StudyError(f"{name} has {error} and {there[0]}: keep one of them")
        size = _numbers(frame, error, name)
        _refuse(frame, error, size <= 0, name, "is no standard error; wanted more than 0")
        return np.stack([values - HALF * size, values + HALF * size])
    if len(there) == 1:
        raise StudyError(f"{name} has {there[0]} alone: wanted {low} and {high}, or {error}")
    if there:
        return np.stack([_numbers(frame, one, name) for one in there])
    return np.full((2, len(frame)), np.nan)


def with_axes(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Columns of axes checked: numbers above 0, or nothing, the same in all runs of an encoder (of a ranker, the length of histories)."""
    for axis in AXIS_COLUMNS:
        if axis not in frame.columns:
            continue
        values = _numbers(frame, axis, name)
        words = f"is no {AXES[axis]}; write a number above 0, or leave it empty where there is none"
        _refuse(frame, axis, values <= 0, name, words)
        frame = frame.with_columns(pl.Series(axis, values).fill_nan(None))
        owner = "ranker" if axis == OF_RANKER else "encoder"
        torn = (pl.col(axis).n_unique() > 1).over(owner)
        if (rows := frame.select(torn).to_series().arg_true()).len():
            row = frame.row(int(rows[0]), named=True)
            raise StudyError(
                f"{name}, {axis}: {owner} {row[owner]!r} has {row[axis]!r} in row {rows[0]} and another in others; it is the {owner}'s: write it so in all of its rows"
            )
    return frame


def refuse_unlike_runs(frame: pl.DataFrame, metric: str, name: str) -> None:
    measured = frame.filter(pl.col(metric).is_finite())
    if not measured.is_empty():
        try:
            gather_points(measured[metric], measured["auc"], measured["encoder"].to_list())
        except StudyError as error:
            raise StudyError(f"{name}, {metric}: {error}") from None
    partly = frame.group_by("encoder", maintain_order=True).agg(
        pl.col(metric).is_finite().any().alias("some"), pl.col(metric).is_finite().all().alias("all")
    )  # fmt: skip
    if not (torn := partly.filter(pl.col("some") & ~pl.col("all"))).is_empty():
        raise StudyError(
            f"{name}, {metric}: encoder {torn['encoder'][0]!r} has it in some runs and not in others; the metric is the encoder's: write it in all of them"
        )


def refuse_run_twice(frame: pl.DataFrame, name: str) -> None:
    if "seed" not in frame.columns:
        return
    twice = frame.select(pl.struct("ranker", "encoder", "seed").is_duplicated()).to_series()
    if twice.any():
        row = frame.row(int(twice.arg_true()[1]), named=True)
        raise StudyError(
            f"{name}, row {int(twice.arg_true()[1])}: encoder {row['encoder']!r} has the seed {row['seed']!r} before; name the runs' seeds apart, or leave one out"
        )


def _numbers(frame: pl.DataFrame, name: str, file: str) -> Floats:
    """A column as float64, NaN where nothing was measured."""
    column = frame[name]
    if not column.dtype.is_numeric():
        raise StudyError(f"{file}, {name}: a column of {column.dtype}; wanted numbers")
    values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    _refuse(frame, name, np.isinf(values), file, "is not finite; leave it empty where it was not measured")  # fmt: skip
    return values


def _refuse(frame: pl.DataFrame, name: str, bad: NDArray[np.bool_], file: str, words: str) -> None:
    """Refuse the first row that is bad."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        encoder, value = frame["encoder"][row], frame[name][row]
        shown = "the value" if value is None or value != value else f"{value:g}"
        raise StudyError(f"{file}, row {row}, {name} of encoder {encoder!r}: {shown} {words}")
