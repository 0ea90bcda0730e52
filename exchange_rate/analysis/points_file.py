"""Recalls and AUCs measured anywhere -> what a report prints: a table of points is enough, without a study.

One row a run of a CTR model on an encoder's vectors. Columns:

    encoder                     which encoder; required
    auc                         the run's AUC, from 0 to 1; required. `gauc`, `auc_warm` and `auc_cold` are read beside it
    path                        the training that the encoder is a checkpoint of
    trained                     true or false: whether the encoder was trained; true where the column is not there. The headline is among trained encoders
    ranker, seed                which CTR model, and which of its trainings
    auc_permuted                the run's AUC on the same vectors permuted among items: what is left of the gain is no content
    posttraining_tokens, pretraining_tokens, negatives, width
                                what the encoder's training saw, and numbers in its vectors; a law is asked along each that has enough points
    history_length              the behaviours that the ranker reads: a law of AUC along it
    <metric>                    every other column of numbers is a metric of the encoder, the same in all of its runs; empty where it was not measured
    <metric>_error              its standard error; or <metric>.low and <metric>.high, a 95 % interval, and <metric>.count, what it was measured on
    auc_error                   the standard error of the run's AUC over users

Several rankers stand side by side; one of them is the headline's. The fits are those of a study's report (`exchange_rate.analysis.study_analysis`). What only a study
measures (a baseline) is not there, and the report says so.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from exchange_rate.analysis.axes import HISTORY_SETTING
from exchange_rate.analysis.points_columns import (
    AXIS_COLUMNS,
    NAMES,
    OF_RANKER,
    PERMUTED_AUC,
    RUN_FIGURES,
    metrics_of,
    refuse_run_twice,
    refuse_unlike_runs,
    typed,
    with_axes,
    with_interval,
    with_labels,
)
from exchange_rate.analysis.quantities import number
from exchange_rate.analysis.rates import OUTCOMES
from exchange_rate.analysis.results import Number, Results
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.estimation.columns import name_column
from exchange_rate.evidence.joined import ENDS
from exchange_rate.evidence.records import Study
from exchange_rate.names import CONTENT, PERMUTED, RankerNames
from moon_rec.errors import ShopError, StudyError
from moon_rec.estimate import standard_error
from moon_rec.files import digest_of
from moon_rec.progress import say
from moon_rec.shop.readers.interactions.files import open_source

MOST_ROWS = 1_000_000


def read_points(path: str | Path) -> pl.DataFrame:
    """A file of points (CSV, TSV, JSON lines, Parquet, Arrow; packed or not) -> names as texts, all else as numbers.

    Raises:
        StudyError: no such file, no rows, too many, or a column with numbers and something else in it; by file, row (from 0, without the header) and value.
    """
    try:
        source = open_source(
            [path], header_mend="begin with the header, such as encoder,auc,recall"
        )
        frame = source.collect(source.frame.head(MOST_ROWS + 1))
    except ShopError as error:
        raise StudyError(str(error)) from None
    if frame.is_empty() or len(frame) > MOST_ROWS:
        rows = f"more than {MOST_ROWS:,} rows" if len(frame) else "no rows"
        raise StudyError(f"{path} has {rows}: wanted one row a run, and the header encoder,auc,...")
    if source.is_text:
        frame = pl.DataFrame([typed(frame[name], str(path)) for name in frame.columns])
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
        metrics, aside = metrics_of(frame)
        if aside:
            say(f"points: left aside, no numbers: {', '.join(aside)}")
        if not metrics:
            raise StudyError(
                f"{name} has no metric: wanted a column of numbers beside encoder and auc, such as image_search_recall@10"
            )
        for one in ("auc", *metrics, *RUN_FIGURES):
            if one in frame.columns:
                frame = with_interval(frame, one, name)
        has_rankers = "ranker" in frame.columns
        frame = with_axes(with_labels(frame, name), name)
        for one in metrics:
            refuse_unlike_runs(frame, one, name)
        refuse_run_twice(frame, name)
        return cls(frame, metrics, name, has_rankers)

    def as_study(self, steering: str, is_simulated: bool, level: float) -> Study:
        """The points as a study that somebody else has run."""
        frame = self.frame
        encoders = frame.unique("encoder", keep="first", maintain_order=True)
        cells, runs = [], {}
        for row in encoders.iter_rows(named=True):
            labels = {name: row[name] for name in ("encoder", "path", "is_trained")}
            cells.append(_cell("encoder", labels | _counts(row), len(cells), self.metrics))
            runs[cells[-1]["run"]] = _run(
                row | {"dim": row.get("width")}, (*self._of_encoder, "dim")
            )
        outcomes = [one for one in OUTCOMES if one in frame.columns]
        seeds = _seed_numbers(frame)
        for row, seed in zip(frame.iter_rows(named=True), seeds, strict=True):
            labels = {"ranker": row["ranker"], "encoder": row["encoder"], "seed": seed}
            cells.append(_cell("ranker", labels | {"role": CONTENT}, len(cells)))
            read = {} if row.get(OF_RANKER) is None else {HISTORY_SETTING: str(row[OF_RANKER])}
            runs[cells[-1]["run"]] = _run(row, outcomes) | {"params": read}
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
        labels = {"stages": "", "origin": "brought", **labels}
    cell = {"kind": kind, "name": f"{kind} {place}", "run": f"row-{place}", "labels": labels}
    return cell | {"definitions": dict.fromkeys(metrics, 0)}


_COUNTS = (
    "pretraining_tokens",
    "posttraining_tokens",
    "training_tokens",
    "posttraining_pairs",
    "negatives",
)


def _counts(row: dict[str, Any]) -> dict[str, float]:
    """What the table says of an encoder's training; 0 of what it does not."""
    counts = dict.fromkeys(_COUNTS, 0.0) | {one: float(row.get(one) or 0.0) for one in AXIS_COLUMNS if one in _COUNTS}  # fmt: skip
    return counts | {"training_tokens": counts["pretraining_tokens"] + counts["posttraining_tokens"]}  # fmt: skip


def _run(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    found = {name: float(row[name]) for name in names if row[name] is not None}
    return {"metrics": {name: value for name, value in found.items() if np.isfinite(value)}, "tags": {}}  # fmt: skip
