"""Scores of any other model are judged as our own rankers' are, to the bit, in the user's own ids."""

import contextlib
import json
import shutil

import numpy as np
import polars as pl
import pytest

from moon_rec.shop import Shop
from ranking.compare import main as compare_main
from ranking.evaluate import main
from ranking.features import FeatureConfig, RankingTables
from ranking.train import RankerConfig, train_ranker
from tests.own_ids import keep_own_ids

KEYS = ["request_id", "item_id"]


@pytest.fixture(scope="module")
def ours(planted, tmp_path_factory):
    """A shop with own ids, and the folder of a ranker's scores as `evaluate` writes them."""
    folder = tmp_path_factory.mktemp("ours")
    shutil.copytree(planted.shop.path, folder / "shop")
    keep_own_ids(folder / "shop")
    shop = Shop.open(folder / "shop")
    config = RankerConfig(
        content="none", batch_size=512, tower=(8,), attention_dim=4, embedding_dim=4
    )
    ranker = train_ranker(RankingTables.build(shop, FeatureConfig()), config)
    ranker.save(folder / "ranker")
    main(
        [
            *map(str, (folder / "ranker", folder / "shop", "--out", folder / "a")),
            "--resamples",
            "30",
            "--by",
            "category",
        ]
    )
    return folder


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())["metrics"]


def write(frame, path):
    form = path.suffix
    if form == ".csv":
        frame.write_csv(path)
    elif form == ".jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_parquet(path)
    return path


def evaluated(out, *words):
    main([*map(str, words), "--out", str(out), "--resamples", "30"])
    return metrics(out)


@pytest.mark.parametrize("form", [".parquet", ".csv", ".jsonl"])
def test_the_same_scores_have_the_same_metrics(ours, tmp_path, form):
    """Cold items, categories and history lengths come from the shop; rows in any order."""
    scores = pl.read_parquet(ours / "a/scores.parquet")
    mine = scores.select("item_id", "score", "label", "user_id", "request_id")
    file = write(mine.sample(fraction=1, shuffle=True, seed=2), tmp_path / f"mine{form}")
    found = evaluated(tmp_path / "b", ours / "shop", "--scores", file, "--by", "category")
    assert found == metrics(ours / "a")
    assert pl.read_parquet(tmp_path / "b/scores.parquet").equals(scores)


def test_label_and_user_are_the_shops_where_they_are_left_out(ours, tmp_path):
    scores = pl.read_parquet(ours / "a/scores.parquet")
    file = write(scores.select(*KEYS, "score"), tmp_path / "mine.parquet")
    assert evaluated(tmp_path / "b", ours / "shop", "--scores", file) == {
        name: one for name, one in metrics(ours / "a").items() if not name.endswith("]")
    }


def test_impressions_are_found_by_user_and_item_where_these_were_shown_once(ours, tmp_path, capsys):
    scores = pl.read_parquet(ours / "a/scores.parquet")
    once = scores.filter(~scores.select("user_id", "item_id").is_duplicated())
    file = write(once.select("user_id", "item_id", "score", "label"), tmp_path / "mine.csv")
    evaluated(tmp_path / "b", ours / "shop", "--scores", file)
    assert pl.read_parquet(tmp_path / "b/scores.parquet").equals(once)
    missing = scores.height - once.height
    assert (
        f"{missing:,} of {scores.height:,} impressions of the test period of shop planted have no score"
        in capsys.readouterr().err
    )


def test_without_a_shop_what_is_not_known_is_said(ours, tmp_path, capsys):
    scores = pl.read_parquet(ours / "a/scores.parquet")
    file = write(
        scores.select(*KEYS, "user_id", "label", "score", group="category"), tmp_path / "mine.csv"
    )
    found = evaluated(tmp_path / "b", "--scores", file, "--by", "group")
    printed = capsys.readouterr()
    wanted = metrics(ours / "a")
    assert found["auc"]["value"] == wanted["auc"]["value"]
    assert found["auc[group=all]"]["value"] == wanted["auc[category=all]"]["value"]
    assert not [name for name in found if name.endswith(("_cold", "_warm"))]
    assert "without its shop cold and warm items, category" in printed.err
    assert "left out: cold and warm items" in printed.out and "no shop" in printed.out


def test_the_row_stands_for_a_request_that_is_not_named(ours, tmp_path, capsys):
    scores = pl.read_parquet(ours / "a/scores.parquet")
    file = write(scores.select("item_id", "user_id", "label", "score"), tmp_path / "mine.csv")
    found = evaluated(tmp_path / "b", "--scores", file)
    assert found["gauc"]["value"] == metrics(ours / "a")["gauc"]["value"]
    assert "no request_id, so the row's number stands for it" in capsys.readouterr().err


def test_an_outside_model_of_several_seeds_beside_ours(ours, tmp_path, capsys):
    """A column of seeds, or a file each, makes the folders that are paired with a ranker's."""
    scores = pl.read_parquet(ours / "a/scores.parquet")
    random = np.random.default_rng(0)
    noisy = [scores.with_columns(score=pl.Series(random.random(scores.height))) for _ in range(2)]
    for seed in range(2):
        (tmp_path / f"ours/seed-{seed}").mkdir(parents=True)
        scores.write_parquet(tmp_path / f"ours/seed-{seed}/scores.parquet")
    columned = pl.concat(
        one.select(*KEYS, "score", seed=pl.lit(seed)) for seed, one in enumerate(noisy)
    )
    write(columned, tmp_path / "all.parquet")
    files = [
        write(one.select(*KEYS, "score"), tmp_path / f"{seed}.csv")
        for seed, one in enumerate(noisy)
    ]
    both = ["--scores", tmp_path / "all.parquet"], ["--scores", files[0], "--scores", files[1]]
    for name, words in zip(("one", "two"), both, strict=True):
        main([*map(str, (ours / "shop", *words, "--out", tmp_path / name)), "--resamples", "20"])
        assert sorted(one.name for one in (tmp_path / name).iterdir()) == ["seed-0", "seed-1"]
    assert "over 2 seeds" in capsys.readouterr().out
    for seed in range(2):
        one, two = (
            pl.read_parquet(tmp_path / name / f"seed-{seed}/scores.parquet")
            for name in ("one", "two")
        )
        assert one.equals(two)
    compare_main([str(tmp_path / "one"), str(tmp_path / "ours"), "--resamples", "50"])
    printed = capsys.readouterr().out
    assert "seeds: 2" in printed and "B better" in printed


def test_of_logits_only_the_order_is_measured(ours, tmp_path, capsys):
    scores = pl.read_parquet(ours / "a/scores.parquet")
    logits = scores.select(*KEYS, score=(pl.col("score") / (1 - pl.col("score"))).log())
    file = write(logits, tmp_path / "mine.parquet")
    found = evaluated(tmp_path / "b", ours / "shop", "--scores", file)
    assert "outside [0, 1], so they are no probabilities" in capsys.readouterr().err
    assert {name.removesuffix("_cold").removesuffix("_warm") for name in found} == {
        "auc",
        "gauc",
        "gauc_users",
        "gauc_positives",
    }
    assert found["auc"]["value"] == pytest.approx(metrics(ours / "a")["auc"]["value"], abs=1e-9)
    compare_main(
        [str(ours / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c"), "--resamples", "20"]
    )
    printed = capsys.readouterr().out
    assert "not compared: log_loss, normalised_entropy and calibration" in printed
    assert not (tmp_path / "c/calibration.png").exists()
    assert not [
        name for name in json.loads((tmp_path / "c/comparison.json").read_text()) if "log" in name
    ]


class Recorded:
    """Stands for the tracking store, whose own tests are in tests/moon_rec."""

    def __init__(self, uri):
        self.runs = Recorded.runs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @contextlib.contextmanager
    def run(self, name, kind, params, reads, tags=None):
        self.runs.append({"name": name, "kind": kind, "reads": reads, "files": []})
        yield self

    def log(self, figures):
        self.runs[-1]["metrics"] = figures

    def artifact(self, path):
        assert path.is_file()
        self.runs[-1]["files"].append(path.name)


def test_both_kinds_of_scores_are_tracked(ours, tmp_path, monkeypatch):
    monkeypatch.setattr("ranking.evaluate.Tracker", Recorded)
    scores = pl.read_parquet(ours / "a/scores.parquet")
    file = write(scores.select(*KEYS, "score"), tmp_path / "mine.parquet")
    told = []
    for words in ((ours / "shop", "--scores", file), (ours / "ranker", ours / "shop")):
        evaluated(tmp_path / f"out{len(told)}", *words, "--track", "sqlite:///store.db")
        told += Recorded.runs
    assert [(run["name"], run["kind"]) for run in told] == [
        ("out0", "evaluation"),
        ("out1", "evaluation"),
    ]
    assert told[0]["metrics"] == told[1]["metrics"]
    assert told[0]["metrics"]["auc"] == metrics(ours / "a")["auc"]["value"]
    assert all(run["files"] == ["metrics.json", "evaluation.png"] for run in told)
    assert set(told[0]["reads"]) == {"scores 0", "shop"}
