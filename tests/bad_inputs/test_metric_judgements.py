"""Bad tables of runs for `judge_metrics` and `plan_study`: one line, whatever is wrong with them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from exchange_rate import judge_metrics, plan_study
from exchange_rate.estimation.draws import Draws
from tests.bad_inputs.harness import Case, check

FRAME = pl.DataFrame(
    {
        "encoder": list("abcdef"),
        "path": list("abcdef"),
        "auc": np.linspace(0.6, 0.7, 6) ** 2,
        "recall": np.linspace(0.1, 0.5, 6),
        "is_trained": [True] * 6,
    }
)


def judged(name: str, says: tuple[str, ...], change: Callable[[pl.DataFrame], Any] = lambda frame: frame, **options: Any) -> Case:  # fmt: skip
    return Case(f"metrics judged: {name}", lambda folder: judge_metrics(change(FRAME), **options), says)  # fmt: skip


def planned(name: str, says: tuple[str, ...], change: Callable[[pl.DataFrame], Any] = lambda frame: frame, **options: Any) -> Case:  # fmt: skip
    options = {"metric": "recall"} | options
    return Case(f"study planned: {name}", lambda folder: plan_study(change(FRAME), **options), says)  # fmt: skip


def text(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(pl.col(column).cast(pl.String))


def gap(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) != 2).then(column).alias(column)
    )


FEW = Draws(("a", "b"), np.zeros((20, 2)), np.zeros((20, 2)))
CASES = [
    judged("no table", ("wanted a polars DataFrame",), lambda frame: None),
    judged("no row", ("row a run",), lambda frame: frame.head(0)),
    judged("no encoder column", ("no column 'encoder'", "recall"), lambda frame: frame.drop("encoder")),
    judged("an encoder is null", ("encoder, row 2: None is no name",), gap("encoder")),
    judged("a path is null", ("path, row 2: None is no name",), gap("path")),
    judged("one encoder on two paths", ("encoder 'a'", "path"), lambda frame: frame.with_columns(encoder=pl.Series(list("aabcde")))),
    judged("an AUC is null", ("auc, row 2: nan is missing",), gap("auc")),
    judged("AUC as texts", ("auc: a column of String; wanted numbers",), text("auc")),
    judged("a metric as texts", ("recall: a column of String; wanted numbers",), text("recall"), metrics=["recall"]),
    judged("a metric is infinite", ("recall, row 5: inf is not finite",), lambda frame: frame.with_columns(recall=pl.when(pl.col("encoder") == "f").then(float("inf")).otherwise("recall"))),
    judged("trained or not as texts", ("is_trained, row 0: 'true'",), text("is_trained")),
    judged("nothing trained", ("is_trained: no row of True",), lambda frame: frame.with_columns(is_trained=pl.lit(False))),
    judged("a metric to steer by that is not there", ("no column 'clicks'",), steering="clicks"),
    judged("a segment that is not there", ("no column 'auc_cold'",), segments={"cold": "auc_cold"}),
    judged("a segment as texts", ("path: a column of String",), segments={"cold": "path"}),
    judged("draws without an encoder", ("draws: no encoder 'c'",), draws={"recall": FEW}),
    judged("a level in percent", ("level = 95",), level=95),
    planned("a metric that is not there", ("no column 'clicks'",), metric="clicks"),
    planned("a metric as texts", ("recall: a column of String; wanted numbers",), text("recall")),
    planned("nothing measured", ("no run of a trained encoder has both recall and auc",), lambda frame: frame.with_columns(auc=pl.lit(None, pl.Float64))),
    planned("a target of nothing", ("target = 0", "such as 0.2"), target=0),
    planned("a target that is a word", ("target = 'twenty'",), target="twenty"),
    planned("a level in percent", ("level = 95",), level=95),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_metric_judgements(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
