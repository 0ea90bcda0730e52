"""Recalls and AUCs measured anywhere -> what a report prints: a table of points is enough, without a study.

One row a run of a CTR model on an encoder's vectors. Columns:

    encoder                     which encoder; required
    auc                         the run's AUC, from 0 to 1; required. `gauc`, `auc_warm` and `auc_cold` are read beside it
    path                        the training that the encoder is a checkpoint of
    trained                     true or false: whether the encoder was trained; true where the column is not there. The headline is among trained encoders
    ranker, seed                which CTR model, and which of its trainings
    auc_permuted                the run's AUC on the same vectors permuted among items: what is left of the gain is no content
    <metric>                    every other column of numbers is a metric of the encoder, the same in all of its runs; empty where it was not measured
    <metric>_error              its standard error; or <metric>.low and <metric>.high, a 95 % interval, and <metric>.count, what it was measured on
    auc_error                   the standard error of the run's AUC over users

Several rankers stand side by side; one of them is the headline's. The fits are those of a study's report (`exchange_rate.analysis.study_analysis`). What only a study
measures (a baseline, training tokens) is not there, and the report says so.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri

from exchange_rate.analysis.quantities import number
from exchange_rate.analysis.rates import OUTCOMES
from exchange_rate.analysis.results import Number, Results
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.estimation.columns import Floats, name_column
from exchange_rate.estimation.points import gather_points
from exchange_rate.evidence.joined import ENDS, ERROR, HALF
from exchange_rate.evidence.records import Study
from exchange_rate.names import CONTENT, PERMUTED, RankerNames
from moon_rec.errors import ShopError, StudyError
from moon_rec.estimate import standard_error
from moon_rec.files import digest_of
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.files import open_source

NAMES = ("encoder", "path", "ranker", "seed")
TRAINED, PERMUTED_AUC = "trained", "auc_permuted"
TRUTHS = {"true": True, "false": False}
RANKER = "the CTR model"
"""Its name where the table has none."""
MOST_ROWS = 1_000_000
RUN_FIGURES = (*OUTCOMES, PERMUTED_AUC)
"""Figures of a run, not of its encoder."""
SHARES = re.compile(r"recall|precision|hit|ndcg|mrr")
"""Metrics known by their names to lie between 0 and 1."""


def read_points(path: str | Path) -> pl.DataFrame:
    """A file of points (CSV, TSV, JSON lines, Parquet, Arrow; packed or not) -> names as texts, all else as numbers.

    Raises:
        StudyError: no such file, no rows, too many, or a column with numbers and something else in it; by file, row (from 0, without the header) and value.
    """
    try:
        source = open_source([path])
        frame = source.collect(source.frame.head(MOST_ROWS + 1))
    except ShopError as error:
        raise StudyError(str(error)) from None
    if frame.is_empty() or len(frame) > MOST_ROWS:
        rows = f"more than {MOST_ROWS:,} rows" if len(frame) else "no rows"
        raise StudyError(f"{path} has {rows}: wanted one row a run, and the header encoder,auc,...")
    if source.is_text:
        frame = pl.DataFrame([_typed(frame[name], str(path)) for name in frame.columns])
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines
    return frame.rename({name: name.strip() for name in frame.columns})


def analyse_points(
    frame: pl.DataFrame,
    metric: str | None = None,
    ranker: str | None = None,
    *,
    name: str = "points",
    is_simulated: bool = False,
    level: float = 0.95,
) -> Results:
    """Everything that a report says of a table of points; the module's docstring has its columns.

    Args:
        metric: the one whose exchange rate is asked for; by default the first.
        ranker: the CTR model of the headline, where the table has several; by default the first.
        name: where the points are from, as the report calls them.
        is_simulated: said wherever a number is printed.

    Raises:
        StudyError: a column that is missing or has values that it cannot have; by column, row and value.
    """
    points = _Points.of(frame, name)
    metrics, rankers = points.metrics, points.rankers
    if metric is not None and metric not in metrics:
        raise StudyError(f"{name} has no metric {metric!r}; it has {', '.join(metrics)}")
    if ranker is not None and ranker not in rankers:
        there = ", ".join(rankers) if points.has_rankers else "none is named there"
        raise StudyError(f"{name} has no ranker {ranker!r}; it has {there}")
    steering, own = metric or metrics[0], ranker or rankers[0]
    say(f"points: the exchange rate of {steering}" + ("" if metric else ", the first metric"))
    if ranker is None and len(rankers) > 1:
        say(
            f"points: {len(rankers)} rankers side by side, the headline is of {own}, the first; --ranker names another"
        )
    given = points.given_errors(own, level)
    return analyse(points.as_study(steering, is_simulated, level), own, given=given)


class _Points:
    """A checked table of points: `<metric>.low` and `<metric>.high` beside every metric that has an error; `ranker`, `path` and `is_trained` in every row."""

    def __init__(self, frame: pl.DataFrame, metrics: Sequence[str], name: str, has_rankers: bool):
        self.frame, self.metrics, self.name = frame, tuple(metrics), name
        self.has_rankers = has_rankers
        self.rankers: list[str] = frame["ranker"].unique(maintain_order=True).to_list()

    @classmethod
    def of(cls, frame: pl.DataFrame, name: str) -> "_Points":
        for wanted in ("encoder", "auc"):
            if wanted not in frame.columns:
                raise StudyError(
                    f"{name} has no column {wanted!r}; it has {', '.join(frame.columns)}: name it so"
                )
        frame = frame.with_columns(
            pl.Series(one, name_column(frame[one], one), pl.String)
            for one in NAMES
            if one in frame.columns
        )
        metrics, aside = _metrics(frame)
        if aside:
            say(f"points: left aside, no numbers: {', '.join(aside)}")
        if not metrics:
            raise StudyError(
                f"{name} has no metric: wanted a column of numbers beside encoder and auc, such as image_search_recall@10"
            )
        for one in ("auc", *metrics, *RUN_FIGURES):
            if one in frame.columns:
                frame = _with_interval(frame, one, name)
        has_rankers = "ranker" in frame.columns
        frame = _with_labels(frame, name)
        for one in metrics:
            _same_in_all_runs(frame, one, name)
        _no_run_twice(frame, name)
        return cls(frame, metrics, name, has_rankers)

    def as_study(self, steering: str, is_simulated: bool, level: float) -> Study:
        """The points as a study that somebody else has run."""
        frame = self.frame
        encoders = frame.unique("encoder", keep="first", maintain_order=True)
        cells, runs = [], {}
        for row in encoders.iter_rows(named=True):
            labels = {name: row[name] for name in ("encoder", "path", "is_trained")}
            cells.append(_cell("encoder", labels, len(cells), self.metrics))
            runs[cells[-1]["run"]] = _run(row, self._of_encoder)
        outcomes = [one for one in OUTCOMES if one in frame.columns]
        seeds = _seed_numbers(frame)
        for row, seed in zip(frame.iter_rows(named=True), seeds, strict=True):
            labels = {"ranker": row["ranker"], "encoder": row["encoder"], "seed": seed}
            cells.append(_cell("ranker", labels | {"role": CONTENT}, len(cells)))
            runs[cells[-1]["run"]] = _run(row, outcomes)
            if row.get(PERMUTED_AUC) is not None and np.isfinite(row[PERMUTED_AUC]):
                cells.append(_cell("ranker", labels | {"role": PERMUTED}, len(cells)))
                runs[cells[-1]["run"]] = _run({"auc": row[PERMUTED_AUC]}, ["auc"])
        counts = frame.group_by("ranker", "encoder").len()["len"]
        about = {
            "name": self.name,
            "key": digest_of(frame.to_dicts()),
            "steering_metric": steering,
            "num_seeds": int(counts.max() or 1),  # type: ignore[arg-type]
            "level": level,
            "shop": None,
            "is_simulated": is_simulated,
            "rankers": [
                RankerNames(one, one, "", f"{one} on permuted vectors").as_dict()
                for one in self.rankers
            ],
            "encoders": encoders["encoder"].to_list(),
            "chosen_encoder": None,
            "planned": None,
            "failed": [],
            "sheets": [],
            "cells": cells,
            "definitions": [f"as given in {self.name}"],
            **dict.fromkeys(("period", "label", "engagement", "seed", "width")),
        }
        return Study(self.name, about, runs, metrics=self.metrics)

    def given_errors(self, ranker: str, level: float) -> dict[str, Number]:
        """AUC of encoders of one run with the interval of the standard error that was given with it."""
        if "auc.low" not in self.frame.columns:
            return {}
        own = self.frame.filter(pl.col("ranker") == ranker)
        single = own.filter(pl.len().over("encoder") == 1)
        words = "AUC of one run; interval from the standard error given with it"
        found = {}
        for row in single.iter_rows(named=True):
            error = float(standard_error(row["auc.low"], row["auc.high"]))
            half, value = float(ndtri((1 + level) / 2)) * error, row["auc"]
            found[row["encoder"]] = number(value, value - half, value + half, words, "n = 1 ranker runs")  # fmt: skip
        return found

    @property
    def _of_encoder(self) -> list[str]:
        names = [f"{metric}{end}" for metric in self.metrics for end in ("", *ENDS)]
        return [one for one in names if one in self.frame.columns]


def _with_labels(frame: pl.DataFrame, name: str) -> pl.DataFrame:
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


def _typed(column: pl.Series, file: str) -> pl.Series:
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


def _metrics(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Names of the metrics, and of what is none."""
    metrics, aside = [], []
    for name, kind in frame.schema.items():
        base = name.removesuffix(ERROR)
        for end in ENDS:
            base = base.removesuffix(end)
        if name in (*NAMES, TRAINED, *RUN_FIGURES) or (base != name and base in frame.columns):
            continue
        is_number = kind.is_numeric() and frame[name].is_not_null().any()
        (metrics if is_number else aside).append(name)
    return metrics, aside


def _with_interval(frame: pl.DataFrame, metric: str, name: str) -> pl.DataFrame:
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


def _same_in_all_runs(frame: pl.DataFrame, metric: str, name: str) -> None:
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


def _no_run_twice(frame: pl.DataFrame, name: str) -> None:
    if "seed" not in frame.columns:
        return
    twice = frame.select(pl.struct("ranker", "encoder", "seed").is_duplicated()).to_series()
    if twice.any():
        row = frame.row(int(twice.arg_true()[1]), named=True)
        raise StudyError(
            f"{name}, row {int(twice.arg_true()[1])}: encoder {row['encoder']!r} has the seed {row['seed']!r} before; name the runs' seeds apart, or leave one out"
        )


def _seed_numbers(frame: pl.DataFrame) -> list[int]:
    """A number for each seed; runs without one share it with no other run."""
    if "seed" not in frame.columns:
        return list(range(len(frame)))
    labels = {one: place for place, one in enumerate(dict.fromkeys(frame["seed"]))}
    return [labels[one] for one in frame["seed"]]


def _cell(
    kind: str, labels: dict[str, Any], place: int, metrics: Sequence[str] = ()
) -> dict[str, Any]:
    """A cell of a study whose run is a row, or an encoder, of the table."""
    if kind == "encoder":
        labels = {"stages": "", "origin": "brought", **dict.fromkeys(_COUNTS, 0.0), **labels}
    cell = {"kind": kind, "name": f"{kind} {place}", "run": f"row-{place}", "labels": labels}
    return cell | {"definitions": dict.fromkeys(metrics, 0)}


_COUNTS = (
    "pretraining_tokens",
    "posttraining_tokens",
    "training_tokens",
    "posttraining_pairs",
    "negatives",
)


def _run(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    found = {name: float(row[name]) for name in names if row[name] is not None}
    return {"metrics": {name: value for name, value in found.items() if np.isfinite(value)}, "tags": {}}  # fmt: skip
