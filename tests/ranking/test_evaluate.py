"""Scores and what is said of them, on tables made by hand."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import RankingError
from ranking.evaluate import evaluate, refuse_equal_periods, score, share_of_the_way
from ranking.evaluate import main as evaluate_main
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc, gauc
from ranking.side_by_side import main as compare_main
from ranking.side_by_side import read_scores, side_by_side
from ranking.train import RankerConfig, train_ranker


def table(seed=0, rows=600, noise=1.0):
    """Scores, their truth, and ids-only scores worth nothing."""
    random = np.random.default_rng(seed)
    true = 1 / (1 + np.exp(1 - 2 * random.normal(size=rows)))
    found = np.clip(true + noise * 0.2 * random.normal(size=rows), 0.01, 0.99)
    scores = pl.DataFrame(
        {
            "request_id": np.arange(rows) // 6,
            "item_id": np.arange(rows) % 6,
            "user_id": np.arange(rows) // 12,
            "label": (random.random(rows) < true).astype(np.int8),
            "score": found,
            "is_cold": random.random(rows) < 0.3,
        }
    )
    truth = scores.select("request_id", "item_id", click_probability=pl.Series(true))
    return scores, truth.sample(fraction=1, shuffle=True, seed=1)


def test_every_metric_is_that_of_its_segment():
    scores, truth = table()
    found = evaluate(scores, truth, num_resamples=50)
    for segment, rows in (
        ("", scores),
        ("_cold", scores.filter("is_cold")),
        ("_warm", scores.filter(~pl.col("is_cold"))),
    ):
        labels, given = rows["label"].to_numpy(), rows["score"].to_numpy()
        assert found[f"auc{segment}"].value == pytest.approx(auc(labels, given), abs=1e-12)
        by_user = gauc(labels, given, rows["user_id"].to_numpy()).value
        assert found[f"gauc{segment}"].value == pytest.approx(by_user, abs=1e-12)
        assert found[f"calibration{segment}"].value == pytest.approx(given.sum() / labels.sum())
        best = rows.join(truth, on=["request_id", "item_id"], maintain_order="left")
        best = auc(labels, best["click_probability"].to_numpy())
        assert found[f"auc_best{segment}"].value == pytest.approx(best, abs=1e-12)
        assert found[f"auc{segment}"].count == rows.height
    for name, metric in found.items():
        assert metric.low <= metric.value <= metric.high or name.startswith("calibration_error")
        assert metric.definition


def test_a_segment_without_both_classes_is_left_out():
    scores, _ = table()
    scores = scores.with_columns(is_cold=pl.col("label") == 1)
    assert "auc_cold" not in evaluate(scores, num_resamples=5)
    assert "auc" in evaluate(scores, num_resamples=5)


def test_the_share_of_the_way():
    scores, truth = table()
    true = scores.join(truth, on=["request_id", "item_id"], maintain_order="left")
    best = scores.with_columns(score=true["click_probability"])
    worst = scores.with_columns(score=pl.lit(0.1))
    assert share_of_the_way(worst, best, truth, 20).value == pytest.approx(1)
    assert share_of_the_way(worst, worst, truth, 20).value == pytest.approx(0)
    half = share_of_the_way(worst, scores.sample(fraction=1, shuffle=True, seed=2), truth, 100)
    labels = scores["label"].to_numpy()
    by_hand = (auc(labels, scores["score"].to_numpy()) - 0.5) / (
        auc(labels, best["score"].to_numpy()) - 0.5
    )
    assert half.value == pytest.approx(by_hand, abs=1e-12)
    assert half.low < half.value < half.high


def test_errors_of_scores():
    scores, truth = table()
    with pytest.raises(RankingError, match="misses is_cold"):
        evaluate(scores.drop("is_cold"))
    with pytest.raises(RankingError, match="no true click probability"):
        evaluate(scores, truth.head(10))
    with pytest.raises(RankingError, match="all 600 labels are 0"):
        evaluate(scores.with_columns(label=pl.lit(0)))
    with pytest.raises(RankingError, match="7 in common"):
        share_of_the_way(scores, scores.head(7), truth)
    with pytest.raises(RankingError, match="different impressions"):
        side_by_side([scores], [scores.head(7)])


def test_equal_validation_and_test_are_refused(planted):
    tables = RankingTables.build(planted.shop, FeatureConfig())
    refuse_equal_periods(tables)
    same = {**tables.periods, "test": tables.periods["validation"]}
    with pytest.raises(RankingError, match="what chooses must not judge"):
        refuse_equal_periods(dataclasses.replace(tables, periods=same))


@pytest.fixture(scope="module")
def two_rankers(planted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rankers")
    tables = RankingTables.build(planted.shop, FeatureConfig())
    items, queries = planted.items, planted.queries
    items.save(folder / "items")
    queries.save(folder / "queries")
    train_ranker(tables, RankerConfig(batch_size=64)).save(folder / "ids")
    cube = train_ranker(
        tables, RankerConfig(content="cube", batch_size=64, epochs=2), items, queries
    )
    cube.save(folder / "cube")
    scores = score(cube, tables)
    return folder, scores


def test_commands_from_ranker_to_picture(planted, two_rankers, capsys):
    folder, scores = two_rankers
    shop = str(planted.shop.path)
    vectors = ["--items", str(folder / "items"), "--queries", str(folder / "queries")]
    small = ["--resamples", "30"]
    evaluate_main([str(folder / "ids"), shop, "--out", str(folder / "ids_scores"), *small])
    evaluate_main(
        [str(folder / "cube"), shop, "--out", str(folder / "cube_scores"), *vectors, *small]
    )
    said = capsys.readouterr().out
    assert "(simulated), test" in said and "auc_cold" in said
    written = pl.read_parquet(folder / "cube_scores" / "scores.parquet")
    assert written.equals(scores)
    out = folder / "comparison"
    compare_main(
        [str(folder / "ids_scores"), str(folder / "cube_scores"), "--out", str(out), *small]
    )
    said = capsys.readouterr().out
    assert "gauc_cold" in said and "B - A" in said
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "comparison.json").is_file()
    with pytest.raises(RankingError, match=r"no scores\.parquet"):
        read_scores(folder / "items")


def test_seeds_are_subfolders(tmp_path):
    for seed in (0, 1):
        for side, noise in (("a", 2.0), ("b", 0.5)):
            scores, _ = table(seed=5, noise=noise)
            jitter = np.random.default_rng(seed).normal(size=scores.height) * 0.001
            scores = scores.with_columns(score=(pl.col("score") + jitter).clip(0, 1))
            (tmp_path / side / f"seed{seed}").mkdir(parents=True)
            scores.sample(fraction=1, shuffle=True, seed=seed).write_parquet(
                tmp_path / side / f"seed{seed}" / "scores.parquet"
            )
    found = side_by_side(read_scores(tmp_path / "a"), read_scores(tmp_path / "b"), 50)
    assert len(found["auc"].seed_values) == 2
    assert found["auc"].low > 0
