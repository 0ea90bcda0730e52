"""What MLflow's page of a study shows: the shop as its dataset, runs by names."""

from mlflow import MlflowClient


def test_the_shop_is_a_dataset(tracker):
    with tracker.run("study", "study", {}, {"shop": "0123"}) as run:
        run.dataset("drawn shop", "0123456789abcdef", "simulated")
    client = MlflowClient(tracker.uri)
    (experiment,) = client.search_experiments(filter_string="name = 'moon_rec'")
    (found,) = client.search_runs([experiment.experiment_id])
    (dataset,) = [one.dataset for one in found.inputs.dataset_inputs]
    assert (dataset.name, dataset.digest) == ("drawn shop", "0123456789abcdef")
    assert dataset.source == "simulated"


def test_runs_are_called_by_what_they_are_of(shop, small, planted, tmp_path, memory):
    from exchange_rate.study.run import run_study

    run_study(shop, small, tmp_path / "w", memory, workers=1)
    names = {kind: [one["name"] for one in memory.runs(kind)] for kind in ("pretraining", "encoder", "ranker", "comparison")}  # fmt: skip
    (study,) = memory.runs("study")
    assert "'pretrained': {'pretraining': {'steps': 10}}" in study["params"]["study"]
    assert study["metrics"] == {"cells_finished": 16.0, "cells_failed": 0}
    assert names["pretraining"] == ["pretrained · pretraining"]
    assert sorted(names["encoder"]) == ["pretrained", "random"]
    assert "random · CUBE on permuted vectors · seed 1" in names["ranker"]
    assert "pretrained · CUBE against DIN on ids and counters" in names["comparison"]
