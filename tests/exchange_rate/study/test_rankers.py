"""Rankers of a plan beside CUBE: trees, references without vectors, and settings that validation chooses once for each baseline."""

import ast

import polars as pl
import pytest

from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.evidence.records import read_study
from exchange_rate.report.summary import summary_table
from exchange_rate.report.write import write_report
from exchange_rate.study import cells
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan, StudyConfig
from exchange_rate.study.run import run_study
from moon_rec.config import make_config
from moon_rec.errors import ConfigError, RankingError
from moon_rec.shop import Shop
from ranking.config import RankerConfig
from ranking.features import FeatureConfig
from ranking.trees import train_trees
from tests.ranking.conftest import draw_frames, write_shop


def test_validation_chooses_once_for_each_baseline(shop, small, planted, tmp_path, memory, capsys):
    rankers = (
        RankerPlan(),
        RankerPlan(ranker=RankerConfig(content="simtier")),
        RankerPlan(name="long", features=FeatureConfig(history_length=90)),
        RankerPlan(trees=True),
    )
    plan = small.model_copy(update={"rankers": rankers, "follow_validation": True})
    run_study(shop, plan, tmp_path / "work", memory, workers=1)
    assert planted.calls["choice"] == 2
    for run in memory.runs("ranker"):
        config = ast.literal_eval(run["params"]["config"])
        if "trees" in run["name"]:
            assert config is None
            continue
        assert (config["unknown_rate"], config["epochs"], config["kept_epoch"]) == (0.3, 2, "last")
    said = capsys.readouterr().err
    assert "chosen by validation AUC, without content, once for each of 2 baselines" in said
    assert "unknown_rate = 0.3, epochs = 2, shared by all rankers over this baseline" in said


def test_what_validation_chooses_is_not_given_as_well(small):
    values = small.model_dump() | {"follow_validation": True}
    for ranker, words in (
        ({"unknown_rate": 0.2}, "unknown_rate = 0.2 changes nothing"),
        ({"epochs": 2}, "epochs = 2 beside baseline.epochs = 1"),
    ):
        one = {"ranker": {"content": "cube"} | ranker, "baseline": {"epochs": 1}}
        with pytest.raises(ConfigError, match=f"{words}.*follow_validation = false"):
            make_config(StudyConfig, values | {"rankers": [one]})
        make_config(StudyConfig, values | {"rankers": [one], "follow_validation": False})


def test_trees_are_a_ranker_with_baseline_and_control(tmp_path, tracker, undrawn):
    """Their scores are those of `train_trees`; similarities of true vectors are worth something, and the report names them."""
    frames, known = draw_frames()
    write_shop(frames, tmp_path / "shop")
    for name, key in (("items", "item_id"), ("queries", "search_id")):
        table = known[name]
        pl.DataFrame({key: table.ids, "vector": table.lookup(table.ids)[0]}).write_parquet(tmp_path / f"{name}.parquet")  # fmt: skip
    brought = EncoderRun(name="brought", items=str(tmp_path / "items.parquet"), searches=str(tmp_path / "queries.parquet"))  # fmt: skip
    features = FeatureConfig(history_length=8, query_history_length=3)
    plan = StudyConfig(
        encoders=(brought,), rankers=(RankerPlan(trees=True),), features=features, num_seeds=2, num_resamples=20, num_draws=20, num_splits=2,
        steering_metric="text_search_recall@10", references=("trees", "factorisation"),
    )  # fmt: skip
    shop = Shop.open(tmp_path / "shop")
    result = run_study(shop, plan, tmp_path / "work", tracker, workers=1)
    assert result.failed == ()
    means = dict(result.table.group_by("role").agg(pl.col("auc").mean()).iter_rows())
    assert means["content"] > max(means["baseline"], means["permuted"]) + 0.05
    runs = {run["name"]: run for run in tracker.runs("ranker")}
    assert sorted(runs) == [
        *(f"brought · trees on counters and similarities on permuted vectors · seed {seed}" for seed in (0, 1)),
        *(f"brought · trees on counters and similarities · seed {seed}" for seed in (0, 1)),
        *(f"reference · {name} · seed {seed}" for name in ("matrix factorisation of ids", "trees on counters") for seed in (0, 1)),
        *(f"trees on counters · seed {seed}" for seed in (0, 1)),
    ]  # fmt: skip
    from ranking.evaluate import evaluate, score
    from ranking.factorisation import train_factors
    from ranking.features import RankingTables

    tables = RankingTables.build(shop, features)
    plain = evaluate(score(train_trees(tables, 1), tables), num_resamples=2)["auc"].value
    assert runs["trees on counters · seed 1"]["metrics"]["auc"] == pytest.approx(plain, abs=1e-12)
    assert not tracker.runs("choice")
    factors = evaluate(score(train_factors(tables, 1), tables), num_resamples=2)["auc"].value
    alone = {name: runs[f"reference · {name} · seed 1"]["metrics"]["auc"] for name in ("trees on counters", "matrix factorisation of ids")}  # fmt: skip
    assert alone == pytest.approx({"trees on counters": plain, "matrix factorisation of ids": factors}, abs=1e-12)  # fmt: skip
    report = write_report(tracker, tmp_path / "report")
    assert "trees on counters and similarities" in report.page.read_text()
    assert report.results.ranker.baseline == "trees on counters"
    same, other = (
        report.results.references
    )  # trees against the same trees, and factors against them
    assert same.gain.all is not None and (same.gain.all.value, same.gain.all.low, same.gain.all.high) == (0, 0, 0)  # fmt: skip
    gain = means["baseline"] - other.auc.all.value
    assert other.gain.all.value == pytest.approx(-gain, abs=1e-9) and other.gain.all.low < -gain < other.gain.all.high  # fmt: skip


def test_a_reference_is_compared_with_every_baseline_once(shop, small, planted, tmp_path, memory):
    rankers = (RankerPlan(), RankerPlan(ranker=RankerConfig(content="simtier")), RankerPlan(trees=True))  # fmt: skip
    plan = small.model_copy(update={"rankers": rankers, "references": ("trees",)})
    first = run_study(shop, plan, tmp_path / "work", memory, workers=1)
    references = [run for run in memory.runs("comparison") if run["params"]["role"] == "reference"]
    assert sorted(run["name"] for run in references) == [
        "reference · trees on counters against DIN on ids and counters, for CUBE",
        "reference · trees on counters against trees on counters, for trees on counters and similarities",
    ]  # fmt: skip
    assert first.table.filter(role="reference")["seed"].sort().to_list() == [0, 1]
    assert run_study(shop, plan, tmp_path / "work", memory, workers=1).num_run == 0
    study = read_study(memory)
    assert not study.left_out
    for ranker, baseline in (("CUBE", "DIN on ids and counters"), ("SimTier", "DIN on ids and counters"), ("trees on counters and similarities", "trees on counters")):  # fmt: skip
        results = analyse(study, ranker)
        (one,) = results.references
        assert (one.name, one.against, one.encoder) == ("trees on counters", baseline, "")


def test_a_reference_stands_in_every_form_of_the_report(shop, small, planted, tmp_path, memory, undrawn):  # fmt: skip
    plan = small.model_copy(update={"references": ("trees",)})
    run_study(shop, plan, tmp_path / "work", memory, workers=1)
    report = write_report(memory, tmp_path / "report")
    row = next(line for line in (report.folder / "report.md").read_text().splitlines() if line.startswith("| trees on counters |"))  # fmt: skip
    (one,) = report.results.references
    assert f"{one.auc.all.value:.4f}" in row and f"{100 * one.gain.all.value:+.2f}" in row
    assert "trees on counters</th>" in report.page.read_text()
    assert "trees on counters" in [cell.plain if hasattr(cell, "plain") else cell for cell in summary_table(report).columns[0].cells]  # fmt: skip


def test_a_reference_that_fails_is_counted_and_stops_nothing(shop, small, planted, tmp_path, memory, monkeypatch):  # fmt: skip
    plan = small.model_copy(update={"references": ("trees",)})
    ranker = cells.KINDS["ranker"]

    def failing(spec, *folders):
        if spec.settings["reference"]:
            raise RankingError("no trees today")
        return ranker(spec, *folders)

    monkeypatch.setitem(cells.KINDS, "ranker", failing)
    result = run_study(shop, plan, tmp_path / "work", memory, workers=1)
    assert [one.name for one in result.failed] == [
        "ranker reference · trees on counters · seed 0",
        "ranker reference · trees on counters · seed 1",
        "comparison reference · trees on counters against DIN on ids and counters",
    ]
    assert not analyse(read_study(memory)).references
