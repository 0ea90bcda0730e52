"""Runs that other code logged join a study by their tags: the same report as of a table of points, and of our own study with a further ranker."""

import mlflow
import numpy as np
import polars as pl
import pytest

from exchange_rate.analysis.points_file import analyse_points
from exchange_rate.evidence.joined import read_joined
from exchange_rate.log import main as log
from exchange_rate.report.command import main as report
from exchange_rate.study.run import run_study
from moon_rec.errors import StudyError
from moon_rec.tracking import Tracker
from tests.exchange_rate.conftest import RECALL

RECALLS = {"CLIP": 0.2, "SigLIP": 0.3, "ours v1": 0.4, "ours v2": 0.5, "random": 0.02}


def run(name, encoder, auc, seed="0", metrics=None, **tags):
    """A finished run as plain MLflow calls leave it."""
    tags = {"study": "theirs", "encoder": encoder, "ranker": "DeepFM", "seed": seed} | tags
    figures = {RECALL: RECALLS.get(encoder, 0.1), "auc": auc} if metrics is None else metrics
    named = {f"moon_rec.{tag}": value for tag, value in tags.items() if value is not None}
    return {"id": f"id of {name}", "name": name, "kind": None, "key": None, "tags": named, "metrics": figures, "params": {}}  # fmt: skip


@pytest.fixture
def theirs(memory):
    """Five encoders, two seeds: AUC rises by .2 a unit of recall."""
    for encoder, recall in RECALLS.items():
        for seed in "01":
            auc = 0.6 + 0.2 * recall + 0.001 * int(seed)
            memory.all.append(run(f"{encoder} {seed}", encoder, auc, seed))
    memory.all.append(run("someone else's", "CLIP", 0.9, study="another"))
    return memory


def test_joined_runs_are_the_table_of_points(theirs):
    joined = read_joined(theirs, "theirs")
    rows = [(one, one, "DeepFM", seed, True, recall, 0.6 + 0.2 * recall + 0.001 * int(seed)) for one, recall in RECALLS.items() for seed in "01"]  # fmt: skip
    names = ["encoder", "path", "ranker", "seed", "trained", RECALL, "auc"]
    expected = pl.DataFrame(rows, schema=names, orient="row")
    assert joined.points.select(names).equals(expected) and len(joined.points.columns) == 7
    assert not joined.is_simulated
    assert analyse_points(joined.points, name="x") == analyse_points(expected, name="x")


def test_a_foreign_model_is_a_further_ranker_of_our_own_study(shop, plan, planted, tmp_path, memory):  # fmt: skip
    """What our study measured of an encoder need not be logged again; standard errors become intervals."""
    run_study(shop, plan.model_copy(update={"num_seeds": 2}), tmp_path / "w", memory, workers=1)
    recalls = {name: planted.recall[name] for name in plan.encoder_names()}
    auc = {name: 0.65 + 0.1 * recall for name, recall in recalls.items()}
    for name, value in auc.items():
        memory.all.append(run(name, name, value, metrics={"auc": value, "auc_error": 0.002}, study="planted"))  # fmt: skip
    memory.all.append(run("new", "brought", 0.7, metrics={"auc": 0.7, "auc_error": 0.002, RECALL: 0.5, f"{RECALL}_error": 0.01}, study="planted"))  # fmt: skip
    joined = read_joined(memory, "planted")
    theirs = joined.points.filter(joined.points["ranker"] == "DeepFM")
    assert dict(zip(theirs["encoder"], theirs[RECALL], strict=True)) == {**recalls, "brought": 0.5}  # fmt: skip
    for ranker, slope in (("DeepFM", 0.1), (memory_ranker(joined), planted.slope)):
        known = joined.points.filter((pl.col("ranker") == ranker) & (pl.col("encoder") != "brought"))  # fmt: skip
        assert np.polyfit(known[RECALL], known["auc"], 1)[0] == pytest.approx(slope, rel=0.05)
        assert known[f"{RECALL}.low"].null_count() == known["auc.high"].null_count() == 0
        found = analyse_points(joined.points, RECALL, ranker, name="both")
        assert {one.name for one in found.rankers} == {*joined.points["ranker"]}


def memory_ranker(joined):
    (ours,) = {*joined.points["ranker"]} - {"DeepFM"}
    return ours


BAD = {
    "no encoder": ({"encoder": None}, "has no tag moon_rec.encoder: say whose vectors"),
    "blank encoder": ({"encoder": " "}, "has no tag moon_rec.encoder"),
    "trained or not": ({"trained": "perhaps"}, "the tag moon_rec.trained is 'perhaps'; wanted true or false"),
    "no AUC": ({"metrics": {RECALL: 0.2, "AUC": 0.7}}, "has no metric auc; it has AUC"),
    "NaN": ({"metrics": {RECALL: float("nan"), "auc": 0.7}}, f"{RECALL}: nan is no figure"),
    "NaN that was kept as a tag": ({"not_finite.auc": "nan at step 0"}, "auc: nan at step 0 is no figure"),
    "a ranker that others have": ({"ranker": None, "seed": "7"}, "has no tag moon_rec.ranker where run 'CLIP 0'"),
    "a seed that others have": ({"seed": None}, "has no tag moon_rec.seed"),
    "twice": ({"seed": "1"}, "is encoder 'CLIP', ranker 'DeepFM', seed '1' again, as run 'CLIP 1'"),
    "another recall": ({"seed": "7", "metrics": {RECALL: 0.21, "auc": 0.7}}, f"encoder 'CLIP' has {RECALL} 0.2 in run 'CLIP 0'"),
    "another path": ({"seed": "7", "path": "v2"}, "encoder 'CLIP' has path 'CLIP' in run 'CLIP 0'"),
    "a metric that is not there": ({"seed": "7", "metrics_": "recall"}, "names 'recall', which it has not logged"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD)
def test_a_run_that_cannot_count_is_refused_by_name(theirs, change, words):
    change = dict(change)
    figures, named = change.pop("metrics", None), change.pop("metrics_", None)
    added = run("added", **{"encoder": "CLIP", "auc": 0.7, "metrics": figures, **change})
    if named:
        added["tags"]["moon_rec.metrics"] = named
    theirs.all.append(added)
    with pytest.raises(StudyError) as refused:
        read_joined(theirs, "theirs")
    assert words in str(refused.value) and "added" in str(refused.value)


def test_losses_are_no_metrics_where_the_tag_names_those(memory):
    """A foreign training logs what it likes; two metrics whose names differ by a slip are told."""
    for place, (encoder, recall) in enumerate(RECALLS.items()):
        for seed in "01":
            name = RECALL if place else "image_search_recall_10"
            figures = {name: recall, "auc": 0.6 + recall / 5, "loss": 0.3 + place + int(seed), "system/gpu": 0.1}  # fmt: skip
            one = run(f"{encoder} {seed}", encoder, 0, seed, figures)
            one["tags"]["moon_rec.metrics"] = name.replace("@", "_at_")
            memory.all.append(one)
    joined = read_joined(memory, "theirs")
    assert not {"loss", "system/gpu"} & {*joined.points.columns}
    for one in memory.all:
        del one["tags"]["moon_rec.metrics"]
    with pytest.raises(StudyError, match=r"has loss .* name the encoder's metrics in the tag moon_rec.metrics"):  # fmt: skip
        read_joined(memory, "theirs")


def test_metrics_that_some_encoders_lack_are_told(theirs, capsys):
    for one in theirs.all[:2]:
        one["metrics"]["recal"] = one["metrics"].pop(RECALL)
    read_joined(theirs, "theirs")
    said = capsys.readouterr().err
    assert f"{RECALL} is of 4 of 5 encoders, not of CLIP" in said and "recal is of 1 of 5" in said


def test_the_command_and_plain_mlflow_join_one_report(tmp_path, empty_store, tracker, capsys):
    """Through a real store: two runs by the command, two by MLflow's own calls."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    words = ["--tracking", uri, "--study", "theirs", "--ranker", "trees", "--seed", "0"]
    for place, encoder in enumerate(("a", "b")):
        recall = 0.2 + place / 10
        log([*words, "--encoder", encoder, "--metric", f"{RECALL}={recall}", "--error", f"{RECALL}=.01", "--auc", f"{0.6 + recall / 5}", "--auc-permuted", ".6", "--path", "one"])  # fmt: skip
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        mlflow.set_experiment("moon_rec")
        for place, encoder in enumerate(("c", "d", "e")):
            recall = 0.4 + place / 10
            with mlflow.start_run(run_name=encoder):
                mlflow.set_tags({"moon_rec.study": "theirs", "moon_rec.encoder": encoder, "moon_rec.ranker": "trees", "moon_rec.seed": 0})  # fmt: skip
                mlflow.log_metrics({"image_search_recall_at_10": recall, "image_search_recall_at_10_error": 0.01, "auc": 0.6 + recall / 5})  # fmt: skip
    finally:
        mlflow.set_tracking_uri(before)
    points = read_joined(Tracker(uri, must_exist=True), "theirs").points
    assert points["encoder"].to_list() == list("abcde") and points["path"].to_list() == ["one", "one", *"cde"]  # fmt: skip
    assert points["auc_permuted"].to_list() == [0.6, 0.6, None, None, None]
    report(["--tracking", uri, "--joined", "theirs", "--out", str(tmp_path / "new")])
    assert (tmp_path / "new" / "report.json").is_file()
    assert "5 encoders" in capsys.readouterr().out
