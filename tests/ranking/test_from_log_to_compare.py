"""From the raw files of five layouts to `ranking.compare`, by documented commands alone; vectors and scores in the log's own ids."""

import re

import numpy as np
import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.shop import Shop
from moon_rec.shop.commands import main as shop
from moon_rec.shop.own_ids import own_names, with_own_ids
from ranking.compare import main as compare
from ranking.evaluate import main as evaluate
from ranking.score import main as score
from ranking.train import main as train
from representation.bring import main as bring
from tests.moon_rec.shop.readers.interactions import layouts

SMALL = (
    "--set epochs=1 --set batch_size=64 --set tower=[8] --set attention_dim=4 --set embedding_dim=4"
)
SLOW = [
    pytest.param(name, marks=pytest.mark.slow) for name in layouts.LAYOUTS if name != "furniture"
]


def command(main, words):
    assert run(main, words.split()) == 0, words


def ids_of_the_log(name):
    """An item's id as the log writes it: text or whole number."""
    return {
        "amazon": lambda item: item + 1,
        "recbole": lambda item: item,
        "eb_nerd": lambda item: 9_000_000 + item,
        "furniture": layouts.own_id,
        "mind": lambda item: f"N{item}",
    }[name]


@pytest.mark.parametrize("name", ["furniture", *SLOW])
def test_from_the_raw_files_to_compare(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = layouts.LAYOUTS[name](tmp_path)
    assert run(shop, ["import", "interactions", *words, "--out", "shop"]) == 0
    own = [ids_of_the_log(name)(item) for item in range(layouts.NUM_ITEMS)]
    vectors = np.random.default_rng(0).normal(size=(len(own), 4)).astype(np.float32)
    pl.DataFrame({"item_id": own, "vector": vectors.tolist()}).write_parquet("mine.parquet")
    command(bring, "mine.parquet --shop shop --out vectors")
    assert "items (100.0%)" in capsys.readouterr().out
    command(train, f"shop --out ours --items vectors {SMALL}")
    command(evaluate, "ours shop --items vectors --out ours_scores --resamples 20")

    # another model's scores of the same impressions: here, of our own ranker for the log's rows
    opened = Shop.open("shop")
    shown = opened.in_period(opened.impressions, "test").collect()
    with_own_ids(shown, opened.path).write_parquet("log.parquet")
    command(score, "ours shop --items vectors --impressions log.parquet --out theirs.parquet")
    theirs = pl.read_parquet("theirs.parquet")
    assert set(theirs["item_id"]) <= set(own)
    if name in ("furniture", "mind"):
        assert own_names(opened.path), "this log's ids are texts"
    theirs.drop("is_cold").with_columns(score=pl.col("score") ** 2).write_csv("theirs.csv")
    capsys.readouterr()
    command(evaluate, "shop --scores theirs.csv --out their_scores --resamples 20")
    command(compare, "ours_scores their_scores --resamples 20")
    printed = capsys.readouterr().out
    found = dict(re.findall(r"^(auc|log_loss) +.*?([+-][0-9.]+) ", printed, re.MULTILINE))
    assert float(found["auc"]) == pytest.approx(0, abs=1e-4), "the order is the same"
    assert float(found["log_loss"]) != 0
