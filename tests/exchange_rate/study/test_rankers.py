"""Rankers of a plan beside CUBE: trees, and settings that validation chooses once for each baseline."""

import ast

import polars as pl
import pytest

from exchange_rate.report.write import write_report
from exchange_rate.study.encoder_plan import EncoderRun
from exchange_rate.study.plan import RankerPlan, StudyConfig
from exchange_rate.study.run import run_study
from moon_rec.config import make_config
from moon_rec.errors import ConfigError
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
        steering_metric="text_search_recall@10",
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
        *(f"trees on counters · seed {seed}" for seed in (0, 1)),
    ]  # fmt: skip
    from ranking.evaluate import evaluate, score
    from ranking.features import RankingTables

    tables = RankingTables.build(shop, features)
    plain = evaluate(score(train_trees(tables, 1), tables), num_resamples=2)["auc"].value
    assert runs["trees on counters · seed 1"]["metrics"]["auc"] == pytest.approx(plain, abs=1e-12)
    assert not tracker.runs("choice")
    report = write_report(tracker, tmp_path / "report")
    assert "trees on counters and similarities" in report.page.read_text()
    assert report.results.ranker.baseline == "trees on counters"
