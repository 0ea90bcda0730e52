"""The scripts of `examples/` run as they stand, stay short, and find what is planted in their data."""

import runpy
from pathlib import Path

import pytest

from exchange_rate.report import main as report
from moon_rec.__main__ import main as moon_rec

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def test_the_examples_are_those_of_the_docs_and_short():
    assert [script.stem for script in SCRIPTS] == [
        "own_ctr_model",
        "own_encoder",
        "own_log",
        "own_vectors",
        "runs_of_another_model",
        "three_encoders_and_a_log",
    ]
    for script in SCRIPTS:
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60, script.name


@pytest.fixture
def example(tmp_path):
    """A function that runs an example's `main` in an empty folder and gives what it returns."""
    return lambda name: runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](tmp_path)


def test_own_log(example, capsys, tmp_path):
    metrics = example("own_log")
    printed = capsys.readouterr().out
    assert f"{metrics['auc']:.4f}" in printed and "AUC by midranks" in printed
    assert metrics["auc"] > 0.5  # the clicks follow taste, quality and position
    assert (tmp_path / "ids" / "ranker.json").is_file()
    assert (tmp_path / "shop" / "ids" / "item.parquet").is_file(), "own ids are kept"


def test_own_vectors(example, capsys, tmp_path):
    gain = example("own_vectors")
    assert "simulated shop" in capsys.readouterr().out
    assert gain.num_seeds == 3 and gain.value > 0  # tastes are in the titles' words
    assert (tmp_path / "vectors" / "table.json").is_file()


def test_own_encoder(example, capsys):
    found = example("own_encoder")
    assert "simulated shop" in capsys.readouterr().out
    assert found["text_search_recall@10"].value > 0.3  # chance is below 10 of 299
    assert found["auc"].value > 0.55


def test_own_ctr_model(example, capsys):
    difference = example("own_ctr_model")
    assert "these two trainings differ" in capsys.readouterr().out
    assert difference.num_seeds == 1 and difference.count > 100


def test_runs_of_another_model(example, capsys):
    """Logged by MLflow's own calls, with tags; one slope of five encoders."""
    folder = example("runs_of_another_model")
    assert "Simulated points of ours, measured elsewhere: 5 encoders" in capsys.readouterr().out
    assert (folder / "report.html").is_file()


def test_three_encoders_and_a_log(tmp_path, monkeypatch, capsys):
    """The files of the docs' page: the log imports, and the points give their planted rate."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "three_encoders_and_a_log.py"))["main"](Path("mine"))
    moon_rec(
        [
            "shop",
            "import",
            "interactions",
            "mine/clicks.csv",
            "--items",
            "mine/products.csv",
            "--out",
            "shop",
        ]
    )
    report(["--points", "mine/points.csv", "--out", "report"])
    printed = capsys.readouterr().out
    assert "ok shop: 240 items, 0 searches, 9,000 impressions" in printed
    assert (
        "Among 7 trained encoders on 7 paths, ten more points of image-search recall@10 go with +1.96"
        in printed
    )
