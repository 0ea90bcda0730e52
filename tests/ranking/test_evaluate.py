"""Scores and what is said of them, on tables made by hand."""

import dataclasses
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import RankingError
from ranking.evaluate import COLUMNS, evaluate, refuse_equal_periods, score, share_of_the_way
from ranking.evaluate import main as evaluate_main
from ranking.features import FeatureConfig, RankingTables
from ranking.judging.judgement import GAUC_NAMES
from ranking.judging.paired_scores import paired_scores, read_scores
from ranking.judging.side_by_side import main as compare_main
from ranking.judging.side_by_side import (
    multiplicity,
    noise_tables,
    power_tables,
    side_by_side,
    table_of,
)
from ranking.metrics import auc, gauc
from ranking.train import RankerConfig, TrainedRanker, train_ranker


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
        assert metric.low <= metric.value <= metric.high, name
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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": float("nan")}, "score nan in row 7"),
        ({"score": 1.5}, "probability 1.5 in row 7.*sigmoid"),
        ({"score": None}, "column score of the scores has no value in row 7"),
        ({"label": 2}, "label .*2.* in row 7: wanted 0 or 1"),
        ({"is_cold": None}, "column is_cold of the scores has no value in row 7"),
    ],
)
def test_a_bad_value_is_named_by_both_commands(change, words):
    scores, _ = table()
    ((name, value),) = change.items()
    at = pl.int_range(pl.len()) == 7
    bad = scores.with_columns(pl.when(at).then(pl.lit(value)).otherwise(pl.col(name)).alias(name))
    with pytest.raises(RankingError, match=words):
        evaluate(bad)
    with pytest.raises(RankingError, match=words):
        side_by_side([bad], [bad])


def test_gauc_says_who_was_counted_and_left_out():
    scores, _ = table()
    found = evaluate(scores, num_resamples=5)
    users = scores["user_id"].to_numpy()
    for weight, name in GAUC_NAMES.items():
        by_hand = gauc(scores["label"].to_numpy(), scores["score"].to_numpy(), users, weight)
        assert found[name].value == pytest.approx(by_hand.value, abs=1e-12)
        counts = f"{by_hand.num_groups} users counted, {by_hand.num_left_out} of one class left out"
        assert counts in found[name].definition


def test_all_metrics_of_a_comparison_are_differences_of_the_metrics():
    a, b = table(seed=3, noise=2.0)[0], table(seed=3, noise=0.5)[0]
    found = side_by_side([a], [b], 20, by=["is_cold"])
    left, right = (evaluate(one, num_resamples=1) for one in (a, b))
    for name in [one for one in found if "[" not in one]:
        difference = right[name].value - left[name].value
        assert found[name].value == pytest.approx(difference, abs=1e-12), name
    assert found["auc[is_cold=true]"].value == pytest.approx(found["auc_cold"].value, abs=1e-12)
    assert "gauc_users[is_cold=true]" not in found
    assert len(found) == 3 * 6 + 2 * 3


def test_the_number_of_intervals_is_told_with_what_chance_makes_of_them():
    a, b = table(seed=3, noise=2.0)[0], table(seed=3, noise=0.5)[0]
    found = side_by_side([a], [b], 100)
    said = multiplicity(found)
    assert "18 intervals were looked at" in said and "about 0.9 of them" in said
    same = side_by_side([a], [a], 20)
    assert "; 0 do, 0 also after Bonferroni" in multiplicity(same)


def lucky(jumps, seed=0):
    """Scores of A and B a seed, where B's gain is its seeds' luck."""
    a, _ = table(seed=3)
    random = np.random.default_rng(seed)
    b = [
        a.with_columns(score=(pl.col("score") * (1 - jump) + pl.col("label") * jump).clip(0, 1))
        for jump in jumps
    ]
    return [
        [
            one.with_columns(score=(pl.col("score") + random.normal(size=600) * 1e-3).clip(0, 1))
            for one in side
        ]
        for side in ([a] * len(jumps), b)
    ]


def test_a_verdict_about_rankers_comes_from_the_interval_over_users_and_seeds():
    found = side_by_side(*lucky([0.0, 0.0, 0.6]), 100)["auc"]
    assert found.is_significant and not found.is_significant_over_seeds
    assert (
        found.verdict == found.as_dict()["verdict"] == "no difference shown, of these seeds alone"
    )
    alike = side_by_side(*lucky([0.5, 0.5, 0.6]), 100)
    assert alike["auc"].verdict == "B better" and alike["log_loss"].verdict == "B better"
    back = side_by_side(*lucky([0.5, 0.5, 0.6])[::-1], 100)
    assert back["auc"].verdict == "A better" and back["log_loss"].verdict == "A better"


def test_one_training_a_side_is_no_ranker_and_the_verdict_says_so():
    found = side_by_side(*lucky([0.6]), 100)
    assert found["auc"].low > 0
    assert "better" not in table_of(found)
    for name in ("auc", "gauc", "log_loss"):
        assert found[name].verdict == "these two trainings differ (one seed a side tells no more)"
    same = side_by_side(*lucky([0.0])[:1] * 2, 50)
    assert {one.verdict for one in same.values()} == {"no difference shown"}


def users_only(scores, count):
    """The rows of the first users."""
    return scores.filter(pl.col("user_id") < count)


def test_too_few_users_have_values_and_no_interval_everywhere_and_the_number_is_said():
    a, b = (users_only(table(seed=3, noise=noise)[0], 7) for noise in (2.0, 0.5))
    found = side_by_side([a], [b], 50)
    for one in found.values():
        assert np.isnan([one.low, one.high]).all() and np.isfinite(one.value)
        assert one.verdict.startswith("no interval: ") and one.verdict.endswith("20 needed")
        assert not one.is_shown and not one.is_significant
    assert found["gauc"].verdict == "no interval: 7 counted users, 20 needed"
    assert "no interval was looked at" in multiplicity(found)
    assert power_tables(found) == []
    text = table_of(found)
    assert "none" in text and "better" not in text and "[" not in text
    for name, metric in evaluate(b, num_resamples=50, by=["is_cold"]).items():
        assert np.isnan([metric.low, metric.high]).all() and np.isfinite(metric.value), name
        assert re.search("no interval: [1-7] counted users?, 20 needed$", metric.definition)
    with pytest.raises(RankingError, match="no power table of AUC: no interval: 7 counted users"):
        noise_tables([a, b], 20)


def test_users_that_a_metric_does_not_count_do_not_help():
    """50 users, of whom 6 have a click: AUC and GAUC rest on those, log loss on all."""
    scores, _ = table(seed=3)
    scores = scores.with_columns(label=pl.col("label") * (pl.col("user_id") < 6))
    found = evaluate(scores, num_resamples=50)
    for name in ("auc", "gauc", "normalised_entropy", "calibration"):
        assert np.isnan(found[name].low), name
        assert "no interval: 6 counted users, 20 needed" in found[name].definition
    assert found["log_loss"].low < found["log_loss"].high
    assert found["calibration_error"].low < found["calibration_error"].high


def test_scores_carry_what_to_group_by(planted):
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=4))
    ranker = train_ranker(tables, RankerConfig(batch_size=512))
    scores = score(ranker, tables)
    assert tuple(scores.columns) == COLUMNS
    shop = planted.shop
    train = shop.in_period(shop.impressions, "train").collect()
    items = planted.frames["items"].select("item_id", path="category", cost="price")
    found = scores.join(items, on="item_id", maintain_order="left")
    seen = set(items.join(train, on="item_id", how="semi")["path"])
    expected = [path.split("/")[0] if path in seen else None for path in found["path"]]
    assert found["category"].to_list() == expected
    assert (found["price_bucket"].is_null() == found["cost"].is_null()).all()
    means = found.drop_nulls("cost").group_by("price_bucket").agg(pl.col("cost").mean())
    assert means.sort("price_bucket")["cost"].is_sorted()
    activity = dict(train["user_id"].value_counts().iter_rows())
    assert scores["user_activity"].to_list() == [activity.get(u, 0) for u in scores["user_id"]]
    clicked = shop.impressions.filter("clicked").select("user_id", "time").collect()
    starts = shop.impressions.group_by("request_id").agg(start=pl.col("time").min()).collect()
    for row in scores.join(starts, on="request_id").sample(20, seed=0).iter_rows(named=True):
        before = (clicked["user_id"] == row["user_id"]) & (clicked["time"] < row["start"])
        assert row["history_length"] == min(4, before.sum())


def test_a_piece_of_a_shop_has_the_segments_of_the_whole(planted, make_shop, tmp_path):
    """Half the train requests are gone from the scored shop; users are as active as the ranker knew them."""
    ranker = train_ranker(
        RankingTables.build(planted.shop, FeatureConfig()), RankerConfig(batch_size=512)
    )
    shown, cut = planted.frames["impressions"], planted.shop.cut_time
    kept = shown.filter((pl.col("time") >= cut) | (pl.col("request_id") % 2 == 0))
    piece = make_shop({**planted.frames, "impressions": kept}, tmp_path / "piece")
    columns = ["request_id", "item_id", "is_cold", "category", "price_bucket", "user_activity"]
    whole, part = (
        score(ranker, RankingTables.build(shop, preparation=ranker.preparation)).select(columns)
        for shop in (planted.shop, piece)
    )
    assert whole["user_activity"].max() > 60
    assert part.equals(whole)
    ranker.save(tmp_path / "ranker")
    again = TrainedRanker.load(tmp_path / "ranker").preparation
    assert np.array_equal(again.user_counts, ranker.preparation.user_counts)


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
    train_ranker(tables, RankerConfig(batch_size=256)).save(folder / "ids")
    cube = train_ranker(
        tables, RankerConfig(content="cube", batch_size=256, epochs=2), items, queries
    )
    cube.save(folder / "cube")
    scores = score(cube, tables)
    return folder, scores


def test_commands_from_ranker_to_picture(planted, two_rankers, capsys):
    folder, scores = two_rankers
    shop = str(planted.shop.path)
    vectors = ["--items", str(folder / "items"), "--queries", str(folder / "queries")]
    small = ["--resamples", "30", "--by", "category", "--min-users", "10"]
    evaluate_main([str(folder / "ids"), shop, "--out", str(folder / "ids_scores"), *small])
    evaluate_main(
        [str(folder / "cube"), shop, "--out", str(folder / "cube_scores"), *vectors, *small]
    )
    said = capsys.readouterr().out
    assert "(simulated), test" in said and "auc_cold" in said
    assert "category = all" in said and "3 segments" not in said and "4 segments" in said
    assert (folder / "cube_scores" / "evaluation.png").read_bytes().startswith(b"\x89PNG")
    about = json.loads((folder / "cube_scores" / "metrics.json").read_text())
    assert about["segments"]["judged"][0]["name"] == "all"
    assert about["coverage"]["items"] == {"count": 117, "total": 120}
    assert "coverage: 117 of 120 (97.5%) items" in said
    written = pl.read_parquet(folder / "cube_scores" / "scores.parquet")
    assert written.equals(scores)
    out = folder / "comparison"
    compare_main(
        [str(folder / "ids_scores"), str(folder / "cube_scores"), "--out", str(out), *small]
    )
    said = capsys.readouterr().out
    assert "gauc_cold" in said and "B - A" in said
    assert "intervals were looked at" in said and "80% power" in said
    assert "planted (simulated), test period" in said
    assert "cube_scores: coverage: 117 of 120 (97.5%) items" in said
    for name in ("comparison", "segments", "calibration", "power"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "gauc[category=all]" in json.loads((out / "comparison.json").read_text())
    assert json.loads((out / "power.json").read_text())[0]["noise"]["num_seeds"] == 1
    with pytest.raises(RankingError, match=r"no scores\.parquet"):
        read_scores(folder / "items")


def test_seeds_are_subfolders(tmp_path, capsys):
    for seed in (0, 1):
        for side, noise in (("a", 2.0), ("b", 0.5)):
            scores, _ = table(seed=5, noise=noise)
            jitter = np.random.default_rng(seed).normal(size=scores.height) * 0.001
            scores = scores.with_columns(score=(pl.col("score") + jitter).clip(0, 1))
            (tmp_path / side / f"seed{seed}").mkdir(parents=True)
            scores.sample(fraction=1, shuffle=True, seed=seed).write_parquet(
                tmp_path / side / f"seed{seed}" / "scores.parquet"
            )
    found = side_by_side(*paired_scores(tmp_path / "a", tmp_path / "b"), 50)
    assert len(found["auc"].seed_values) == 2
    assert found["auc"].low > 0
    compare_main([str(tmp_path / "a"), "--resamples", "20", "--out", str(tmp_path / "noise")])
    assert "one ranker against itself" in capsys.readouterr().out
    assert (tmp_path / "noise" / "power.png").is_file()
    with pytest.raises(RankingError, match="2 seeds of A and 1 of B"):
        side_by_side(*[list(read_scores(tmp_path / "a").values())] * 1, [table()[0]])
    (tmp_path / "b" / "seed1").rename(tmp_path / "b" / "seed7")
    with pytest.raises(RankingError, match=r"no partner: seed1 only in .*a; seed7 only in .*b; "):
        paired_scores(tmp_path / "a", tmp_path / "b")
    shutil.copy(tmp_path / "b" / "seed0" / "scores.parquet", tmp_path / "b")
    with pytest.raises(RankingError, match=r"holds scores\.parquet and seed folders"):
        read_scores(tmp_path / "b")


def test_seed_folders_are_paired_by_name_whatever_their_place(tmp_path):
    """Seeds 10 and 9 of A, 9 and 10 of B: sorted by place they would be crossed where a third is new."""
    for side, noise in (("a", 2.0), ("b", 0.5)):
        for seed in (9, 10):
            scores, _ = table(seed=5, noise=noise)
            jitter = np.random.default_rng(seed).normal(size=scores.height) * 0.05
            (tmp_path / side / f"seed-{seed}").mkdir(parents=True)
            scores.with_columns(score=(pl.col("score") + jitter).clip(0, 1)).write_parquet(
                tmp_path / side / f"seed-{seed}" / "scores.parquet"
            )
    a, b = paired_scores(tmp_path / "a", tmp_path / "b")
    for side, tables in (("a", a), ("b", b)):
        for seed, one in zip((10, 9), tables, strict=True):
            file = tmp_path / side / f"seed-{seed}" / "scores.parquet"
            assert one.equals(pl.read_parquet(file).sort("request_id", "item_id"))
    (tmp_path / "a" / "seed-9").rename(tmp_path / "a" / "seed-8")
    with pytest.raises(RankingError, match=r"seed-8 only in .*; seed-9 only in"):
        compare_main([str(tmp_path / "a"), str(tmp_path / "b")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "category"], "name the second one"),
        (["--resamples", "1"], "--resamples 1: wanted at least 2"),
        (["--target", "0"], "--target: '0' is no number above 0"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path, capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        compare_main([str(tmp_path), *words])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "colour"], "--by colour: wanted one of request_id.*user_activity"),
        (["--min-users", "0"], "--min-users: .0. is no whole number"),
    ],
)
def test_a_segment_that_cannot_be_is_named_before_anything_is_scored(
    tmp_path, capsys, words, message
):
    with pytest.raises(SystemExit, match="2"):
        evaluate_main(["none", "none", "--out", str(tmp_path), *words])
    assert re.search(message, capsys.readouterr().err)
