"""Bad plans, tracking stores, demos, and bad columns for the fits of `exchange_rate`."""

import functools
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from exchange_rate import (
    compare_forms,
    fit_by_segment,
    fit_exchange_rate,
    fit_scaling_law,
    pairwise_ratios,
    rank_metrics,
)
from exchange_rate.demo import MARKER, _about
from exchange_rate.study.cell_files import CellResult
from moon_rec.tracking import Tracker
from tests.bad_inputs.harness import Case, check
from tests.exchange_rate.conftest import make_plan, make_shop, plant

NAN = float("nan")
TWO_ENCODERS = '[[encoders]]\nname = "one"\nrandom = true\n[[encoders]]\nname = "two"\nposttraining = { steps = 4 }\n'


def fit(name: str, says: tuple[str, ...], told: bool = False, **changes: Any) -> Case:
    """`fit_exchange_rate` on four encoders of two seeds with some columns replaced."""
    columns: dict[str, Any] = {
        "metric": [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4],
        "auc": [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67],
        "encoder": list("aabbccdd"),
        "seed": [0, 1] * 4,
    }
    columns |= changes
    return Case(f"points: {name}", lambda folder: fit_exchange_rate(**columns), says, told=told)


def changed(values: list[Any] | str, row: int, value: Any) -> list[Any]:
    """The values with another one in a row."""
    return [value if place == row else one for place, one in enumerate(values)]


def call(
    name: str, says: tuple[str, ...], action: Callable[[], object], told: bool = False
) -> Case:
    return Case(f"points: {name}", lambda folder: action(), says, told=told)


def rank(name: str, says: tuple[str, ...], change: Callable[[pl.DataFrame], pl.DataFrame], **options: Any) -> Case:  # fmt: skip
    frame = pl.DataFrame({"encoder": list("abcdef"), "auc": np.linspace(0.6, 0.7, 6), "recall": np.linspace(0.1, 0.5, 6)})  # fmt: skip
    return call(f"metrics ranked, {name}", says, lambda: rank_metrics(change(frame), **options))


METRIC, AUC = [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4], [0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66, 0.67]  # fmt: skip

POINTS = [
    fit("an encoder called None", ("encoder, row 2: None is no name",), encoder=changed("aabbccdd", 2, None)),
    fit("an encoder called NaN", ("encoder, row 3: nan is no name",), encoder=changed("aabbccdd", 3, NAN)),
    fit("an encoder without letters", ("encoder, row 0: '' is no name",), encoder=changed("aabbccdd", 0, "")),
    fit("a number for a name", ("encoder, row 1: 1.5 is a float",), encoder=changed("aabbccdd", 1, 1.5)),
    fit("names of two types", ("encoder, row 7: 3 is a int where row 0 has 'a'",), encoder=changed("aabbccdd", 7, 3)),
    fit("one encoder with two metrics", ("encoder 'a' has metric 0.1 in row 0 and 0.15 in row 1",), metric=changed(METRIC, 1, 0.15)),
    fit("a run doubled", ("encoder 'a' with seed 0 stands in row 0 and again in row 1",), seed=[0, 0] + [0, 1] * 3),
    fit("a seed that is missing", ("seed, row 4: None is no name",), seed=changed([0, 1] * 4, 4, None)),
    fit("a seed of one half", ("seed, row 1: 0.5 is a float",), seed=changed([0, 1] * 4, 1, 0.5)),
    fit("a metric that is missing", ("metric, row 5: the value is missing (None)",), metric=changed(METRIC, 5, None)),
    fit("a metric that is NaN", ("metric, row 5: nan is missing",), metric=changed(METRIC, 5, NAN)),
    fit("a metric that is a text", ("metric, row 6: '0.4' is a text",), metric=changed(METRIC, 6, "0.4")),
    fit("metrics that are truth values", ("metric, row 0: True is a bool",), metric=[True] * 8),
    fit("AUC without an end", ("auc, row 2: inf is not finite",), auc=changed(AUC, 2, float("inf"))),
    fit("AUC of another length", ("wanted columns of one length", "8 metric, 7 auc, 8 encoder"), auc=AUC[:7]),
    fit("a metric in two columns", ("metric: wanted one column", "(8, 1)"), metric=np.array(METRIC)[:, None]),
    fit("nothing at all", ("0 metric",), metric=[], auc=[], encoder=[], seed=None),
    fit("a level of one", ("level = 1:", "such as 0.95"), level=1),
    fit("a level as a text", ("level = '0.95'",), level="0.95"),
    fit("a standard error of NaN", ("metric_error, row 0: nan",), metric_error=NAN),
    fit("a standard error below zero", ("metric_error, row 0: -0.1",), metric_error=-0.1),
    fit("one standard error of zero", ("metric_error, row 3: 0 is no standard error",), metric_error=changed([0.01] * 8, 3, 0.0)),
    fit("one encoder only", ("not identified", "1 distinct encoder;", "needs 4 or more"), told=True, encoder=["a"] * 8, metric=[0.1] * 8, seed=None),
    fit("two encoders", ("not identified", "2 distinct encoders"), told=True, metric=[0.1] * 4 + [0.2] * 4, encoder=list("aaaabbbb"), seed=[0, 1, 2, 3] * 2),
    fit("one metric for all", ("not identified", "every encoder has the same metric"), told=True, metric=[0.1] * 8),
    call("a segment called None", ("segment, row 1: None is no name",), lambda: fit_by_segment([0.1, 0.2], [0.6, 0.7], ["a", "b"], ["x", None])),
    call("a ratio of a level above one", ("level = 95",), lambda: pairwise_ratios(METRIC, AUC, list("aabbccdd"), level=95)),
    rank("no encoder column", ("no column 'encoder'", "recall"), lambda frame: frame.drop("encoder")),
    rank("an encoder is null", ("encoder, row 0: None is no name",), lambda frame: frame.with_columns(encoder=pl.when(pl.col("encoder") != "a").then("encoder"))),
    rank("an AUC is null", ("auc, row 0: nan is missing",), lambda frame: frame.with_columns(auc=pl.when(pl.col("encoder") != "a").then("auc"))),
    rank("a metric is infinite", ("recall, row 5: inf is not finite",), lambda frame: frame.with_columns(recall=pl.when(pl.col("encoder") == "f").then(float("inf")).otherwise("recall"))),
    rank("a metric is a text", ("recall: a column of String",), lambda frame: frame.with_columns(pl.col("recall").cast(pl.String)), metrics=["recall"]),
    rank("no row", ("row a run",), lambda frame: frame.head(0)),
    call("scaling from zero tokens", ("x, row 0: 0 is not positive",), lambda: fit_scaling_law([0, 1, 2, 3], [1, 2, 3, 4])),
    call("scaling, tokens as texts", ("x, row 0: '1e6' is a text",), lambda: fit_scaling_law(["1e6", "2e6"], [1, 2])),
    call("scaling, a value is missing", ("y, row 1: the value is missing",), lambda: fit_scaling_law([1, 2, 3], np.array([1, None, 3]))),
    call("scaling, lengths unlike", ("3 x, 2 y",), lambda: fit_scaling_law([1, 2, 3], [1, 2])),
    call("scaling, two columns for one", ("wants 1 column", "(2, 2)"), lambda: fit_scaling_law([[1, 2], [3, 4]], [1, 2])),
    call("scaling, exponents the wrong way round", ("exponents = (2, 1)",), lambda: fit_scaling_law([1, 2, 3], [1, 2, 3], exponents=(2, 1))),
    call("scaling, all points held out", ("3 points held out of 3",), lambda: compare_forms([1, 2, 3], [1, 2, 3], num_held_out=3)),
    call("scaling, all tokens alike", ("not identified",), lambda: fit_scaling_law([5, 5, 5], [1, 2, 3]), told=True),
]  # fmt: skip


@functools.cache
def tracked() -> Path:
    """A folder with the store of a small planted study."""
    folder = Path(tempfile.mkdtemp(prefix="moon_rec_store_"))
    small = make_plan().model_copy(update={"num_seeds": 1, "permuted_encoders": (), "encoders": make_plan().encoders[:2]})  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        from exchange_rate.study.run import run_study

        plant(patch)
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        run_study(make_shop(folder), small, folder / "work", tracker, workers=1)
    return folder


def with_store(change: Callable[[Path, sqlite3.Connection], object]) -> Callable[[Path], None]:
    """Put the study's store into the workspace as `mlflow.db` with `artifacts/`, and break it."""

    def damage(folder: Path) -> None:
        source = tracked()
        shutil.copy(source / "mlflow.db", folder)
        shutil.copytree(source / "artifacts", folder / "artifacts")
        with sqlite3.connect(folder / "mlflow.db") as base:
            for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
                base.execute(f"update {table} set {column} = replace({column}, ?, ?)", (str(source), str(folder)))  # fmt: skip
            change(folder, base)
        base.close()

    return damage


def edit_study(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, sqlite3.Connection], None]:  # fmt: skip
    def edit(folder: Path, base: sqlite3.Connection) -> None:
        (file,) = folder.glob("artifacts/**/study.json")
        about = json.loads(file.read_text())
        change(about)
        file.write_text(json.dumps(about))

    return edit


def report(name: str, says: tuple[str, ...], damage: Callable[[Path], Any], store: str = "mlflow.db", options: str = "--out new") -> Case:  # fmt: skip
    words = f"exchange_rate.report --tracking sqlite:///{store} {options}"
    return Case(f"store: {name}", words, says, damage)


def sql(text: str) -> Callable[[Path], None]:
    return with_store(lambda folder, base: base.execute(text))


def write_text(folder: Path) -> None:
    (folder / "mlflow.db").write_text("no database at all " * 50)


def write_other(folder: Path) -> None:
    with sqlite3.connect(folder / "mlflow.db") as base:
        base.execute("create table invoices (number integer)")
    base.close()


def occupied(folder: Path) -> None:
    (folder / "new").mkdir()
    (folder / "new" / "thesis.txt").write_text("years of work")


STORES = [
    report("a text file", ("mlflow.db is no SQLite database", "name another file"), write_text),
    report("not there", ("mlflow.db is not there",), lambda folder: None),
    report("a folder", ("mlflow.db is a folder",), lambda folder: (folder / "mlflow.db").mkdir()),
    report("an empty file", ("mlflow.db is empty",), lambda folder: (folder / "mlflow.db").touch()),
    report("a database of something else", ("mlflow.db holds invoices", "no runs of MLflow"), write_other),
    report("no name", ("'sqlite:///' names no file",), lambda folder: None, store=""),
    report("no such experiment", ("no experiment 'mine'", "it has", "moon_rec"), with_store(lambda *_: None), options="--experiment mine --out new"),
    report("no such study", ("no finished study 'abc'", "there are"), with_store(lambda *_: None), options="--study abc --out new"),
    report("no finished study", ("no finished study", "python -m exchange_rate.study"), sql("update runs set status = 'RUNNING'")),
    report("artifacts gone", ("study.json cannot be read", "put the store's artifacts back"), with_store(lambda folder, base: shutil.rmtree(folder / "artifacts"))),
    report("a study of an earlier version", ("tracked by another version (format 1, wanted 3)", "run the study again"), with_store(edit_study(lambda about: about.pop("format")))),
    report("no AUC tracked", ("no ranker on vectors that counts", "has no AUC", "run it again"), sql("delete from latest_metrics where key = 'auc'")),
    report("no ranker on vectors", ("no ranker on vectors",), with_store(edit_study(lambda about: about.update(cells=[one for one in about["cells"] if one["labels"].get("role") != "content"])))),
    report("a study that is no JSON", ("study.json is not valid JSON",), with_store(lambda folder, base: next(folder.glob("artifacts/**/study.json")).write_text("{"))),
    report("a study that is a list", ("tracked by another version",), with_store(lambda folder, base: next(folder.glob("artifacts/**/study.json")).write_text("[]"))),
    report("a report where other things lie", ("new exists already and is not replaced: it has no report.json",), lambda folder: (with_store(lambda *_: None)(folder), occupied(folder))),
    report("a report in place of a file", ("new exists already and is not replaced: it is a file",), lambda folder: (with_store(lambda *_: None)(folder), (folder / "new").touch())),
]  # fmt: skip


def demo(name: str, says: tuple[str, ...], marker: Callable[[], Any], options: str = "--resume") -> Case:  # fmt: skip
    def damage(folder: Path) -> None:
        (folder / "demo").mkdir()
        (folder / "demo" / MARKER).write_text(json.dumps(marker()))

    return Case(f"demo: {name}", f"moon_rec demo --out demo {options}", says, damage)


DEMOS = [
    demo("resumed with another seed", ("demo holds the demo of seed 0, not 1", "--seed 0"), lambda: _about(0), "--resume --seed 1"),
    demo("resumed after its shop's settings changed", ("settings of the demo's shop have changed",), lambda: _about(0) | {"shop": "0" * 16}),
    demo("resumed after its shop's code changed", ("code that simulates it have changed",), lambda: _about(0) | {"code": "0" * 16}),
    demo("resumed from an earlier version", ("have changed since (None",), lambda: {"seed": 0}),
    demo("its marker is a list", ("no marker of a demo", "name another --out"), lambda: [0]),
    Case("demo: a folder of something else", "moon_rec demo --out shop", ("shop exists already and is not replaced: it has no demo.json",)),
    Case("demo: the output is a file", "moon_rec demo --out notes.txt", ("notes.txt exists already and is not replaced: it is a file",), lambda folder: (folder / "notes.txt").touch()),
    Case("demo: a seed that is a word", "moon_rec demo --out demo --seed one", ("--seed", "'one'")),
]  # fmt: skip


def result(text: str) -> Callable[[Path], None]:
    return lambda folder: write(folder / "result.json", text)


def write(path: Path, text: str) -> None:
    path.write_text(text)


CELLS = [
    Case("study: a cell's result cut short", CellResult.load, ("result.json is not valid JSON",), result("{")),
    Case("study: a cell's result of nothing", CellResult.load, ("no cell's result", "the cell runs again"), result("{}")),
    Case("study: a cell's result with estimates of nothing", CellResult.load, ("no cell's result",), result('{"estimates": {"auc": {"value": 1}}}')),
]  # fmt: skip

CASES = [*POINTS, *STORES, *DEMOS, *CELLS]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_studies_and_points(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
