"""Bad runs of other code's: `exchange_rate.log`, and `exchange_rate.report --joined` on a store of them."""

import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from exchange_rate.log import main as log
from tests.bad_inputs.harness import Case, check

STORE = "--tracking sqlite:///mlflow.db"
GOOD = "--study ours --encoder e9 --ranker din --seed 0 --metric recall=.4 --auc .7"


@functools.cache
def logged() -> Path:
    """A store of four runs of four encoders."""
    folder = Path(tempfile.mkdtemp())
    for place in range(4):
        words = f"--tracking sqlite:///{folder}/mlflow.db --study ours --encoder e{place} --ranker din --seed 0"
        log([*words.split(), "--metric", f"recall=.{place + 1}", "--auc", f".6{place}"])
    return folder


def edit(*lines: str) -> Callable[[Path], None]:
    """The store in the workspace, changed as a stranger would."""

    def damage(folder: Path) -> None:
        shutil.copy(logged() / "mlflow.db", folder)
        with sqlite3.connect(folder / "mlflow.db") as base:
            for line in lines:
                base.execute(line)
        base.close()

    return damage


def option(name: str, says: tuple[str, ...], words: str) -> Case:
    return Case(f"logged run: {name}", f"exchange_rate.log {STORE} {words}", says)


def joined(name: str, says: tuple[str, ...], *lines: str, options: str = "--joined ours", told: bool = False) -> Case:  # fmt: skip
    words = f"exchange_rate.report {STORE} {options} --out new"
    return Case(f"logged run: {name}", words, says, edit(*lines), told)


FIRST = "run_uuid = (select run_uuid from tags where key = 'moon_rec.encoder' and value = 'e0')"
CASES = [
    option("no study named", ("--study",), GOOD.removeprefix("--study ours ")),
    option("no encoder named", ("--encoder",), GOOD.replace("--encoder e9 ", "")),
    option("no AUC given", ("--auc",), GOOD.removesuffix("--auc .7")),
    option("no metric given", ("no --metric", "image_search_recall@10=.41"), GOOD.replace("--metric recall=.4 ", "")),
    option("AUC in percent", ("--auc is 70.3", "a share from 0 to 1"), GOOD.replace("--auc .7", "--auc 70.3")),
    option("permuted AUC in percent", ("--auc-permuted is 60",), f"{GOOD} --auc-permuted 60"),
    option("recall in percent", ("--metric recall is 41", "0.41 for 41 %"), GOOD.replace("recall=.4", "recall=41")),
    option("AUC that is NaN", ("'nan' is no finite number",), GOOD.replace("--auc .7", "--auc nan")),
    option("metric that is infinite", ("'inf' is no finite number",), GOOD.replace("=.4", "=inf")),
    option("metric without a value", ("'recall': wanted NAME=VALUE",), GOOD.replace("=.4", "")),
    option("metric twice", ("--metric recall is given twice, 0.4 and 0.5",), f"{GOOD} --metric recall=.5"),
    option("AUC as a metric", ("--metric auc is no metric of an encoder", "--auc"), f"{GOOD} --metric auc=.7"),
    option("error of another metric", ("--error recal: wanted once, beside a --metric", "there are recall"), f"{GOOD} --error recal=.01"),
    option("error of nothing", ("--error recall is 0, no standard error",), f"{GOOD} --error recall=0"),
    option("error of the AUC negative", ("--auc-error is -1",), f"{GOOD} --auc-error=-1"),
    option("trained and not", ("not allowed with",), f"{GOOD} --trained --untrained"),
    option("name of white space", ("is no name",), GOOD.replace("--encoder e9", "--encoder=\u00a0")),
    Case("logged run: encoder, ranker and seed a second time", f"exchange_rate.log {STORE} {GOOD.replace('e9', 'e0').replace('=.4', '=.1')}", ("is encoder 'e0', ranker 'din', seed '0' again, as run", "name their seeds apart"), edit()),
    Case("logged run: another recall of an encoder", f"exchange_rate.log {STORE} {GOOD.replace('e9', 'e0').replace('seed 0', 'seed 1')}", ("encoder 'e0' has recall 0.1 in run", "0.4 in run", "mend one"), edit()),
    Case("logged run: no seed where others have one", f"exchange_rate.log {STORE} {GOOD.replace('--seed 0 ', '')}", ("has no tag moon_rec.seed where run",), edit()),
    joined("no such study", ("no finished run has the tag moon_rec.study = 'mine'", "there are ours"), options="--joined mine"),
    joined("of no experiment", ("no experiment 'mine'",), options="--joined ours --experiment mine"),
    joined("a study's id named too", ("--study is of a study", "beside --joined"), options="--joined ours --study 1"),
    joined("points named too", ("--tracking is of a study", "beside --points"), options="--joined ours --points x.csv"),
    joined("encoder tag missing", ("run 'e0 · din · seed 0'", "has no tag moon_rec.encoder"), f"delete from tags where key = 'moon_rec.encoder' and {FIRST}"),
    joined("AUC not logged", ("has no metric auc; it has recall",), f"delete from latest_metrics where key = 'auc' and {FIRST}"),
    joined("AUC logged in percent", ("auc of encoder 'e0': 60 lies outside 0 to 1", "not percent"), f"update latest_metrics set value = 60 where key = 'auc' and {FIRST}"),
    joined("recall logged in percent", ("recall of encoder 'e0': 10 lies outside",), f"update latest_metrics set value = 10 where key = 'recall' and {FIRST}"),
    joined("AUC logged as NaN", ("auc: nan is no figure",), f"update latest_metrics set is_nan = 1, value = 0 where key = 'auc' and {FIRST}"),
    joined("a run twice", ("is encoder 'e1', ranker 'din', seed '0' again",), f"update tags set value = 'e1' where key = 'moon_rec.encoder' and {FIRST}"),
    joined("still running", ("No exchange rate can be given", "3 distinct encoders"), f"update runs set status = 'RUNNING' where {FIRST}", told=True),
    joined("a metric under another name", ("reccal is of 1 of 4 encoders, not of e1, e2, e3",), f"update latest_metrics set key = 'reccal' where key = 'recall' and {FIRST}", f"update tags set value = 'reccal' where key = 'moon_rec.metrics' and {FIRST}", told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_logged_runs(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
