"""On a shop of sampled non-clicks the recipe stands beside every AUC, and two recipes are never compared in silence."""

import json
from dataclasses import replace

import pytest

from moon_rec.shop.non_click_recipe import NonClickRecipe, ProbeAuc
from moon_rec.tracking import Tracker
from ranking.compare.__main__ import main as compare_main
from ranking.evaluate import main as evaluate_main
from ranking.train import main as train_main
from ranking.trained import TrainedRanker
from ranking.ways.comparison import main as ways_main

RECIPE = NonClickRecipe("moon_rec", 3, "uniformly", 7, ProbeAuc(0.71, 0.7, 0.72))
SAID = "non-clicks sampled (3 a positive uniformly; seed 7; a model without content tells them with AUC 0.710 [0.700, 0.720])"
SMALL = ["batch_size=256", "tower=[8]", "attention_dim=4", "embedding_dim=4"]
SET = [word for setting in SMALL for word in ("--set", setting)]
FEW = ["--resamples", "20"]


@pytest.fixture(scope="module")
def folder(planted, make_shop, tmp_path_factory):
    """Shops of one log whose non-clicks came about in three ways, and a ranker of each with its scores."""
    folder = tmp_path_factory.mktemp("sampled")
    recipes = {"sampled": RECIPE, "other": replace(RECIPE, number=9), "observed": None}
    for name, recipe in recipes.items():
        shop = make_shop(planted.frames, folder / name)
        replace(shop.manifest, non_clicks=recipe).write(shop.path)
        out = folder / f"{name} ranker"
        train_main(
            [str(shop.path), "--out", str(out), "--content", "none", *SET, "--set", "epochs=2"]
        )
    return folder


def evaluated(folder, ranker, shop) -> str:
    out = folder / f"{ranker} on {shop}"
    if not out.exists():
        evaluate_main(
            [str(folder / f"{ranker} ranker"), str(folder / shop), "--out", str(out), *FEW]
        )
    return str(out)


def test_training_says_and_keeps_it(folder, tmp_path, capsys):
    words = [
        "--content",
        "none",
        *SET,
        "--set",
        "epochs=2",
        "--track",
        f"sqlite:///{tmp_path}/runs.db",
    ]
    train_main([str(folder / "sampled"), "--out", str(tmp_path / "ranker"), *words])
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if "validation AUC" in line]
    assert line.endswith(SAID)
    assert TrainedRanker.load(tmp_path / "ranker").non_clicks == RECIPE
    (run,) = Tracker(f"sqlite:///{tmp_path}/runs.db").runs("training")
    assert run["tags"]["moon_rec.non_clicks"] == SAID


def test_evaluation_says_and_keeps_it(folder, capsys):
    out = evaluated(folder, "sampled", "sampled")
    printed = capsys.readouterr()
    (line,) = [
        line for line in printed.out.splitlines() if " impressions; counters rolling" in line
    ]
    assert SAID in line and "warning" not in printed.err
    about = json.loads((folder / "sampled on sampled" / "metrics.json").read_text())
    assert about["non_clicks"] == about["trained_on_non_clicks"] == RECIPE.as_dict()
    compare_main([out, out, *FEW])
    printed = capsys.readouterr()
    assert SAID in printed.out.splitlines() and "warning" not in printed.err
    assert "test period; non-clicks sampled (3 a positive)" in printed.out


def test_rankers_of_two_recipes_are_warned_of(folder, capsys):
    sides = [evaluated(folder, ranker, "sampled") for ranker in ("sampled", "other")]
    assert (
        "warning: trained (A) and evaluated (B) on different non-clicks" in capsys.readouterr().err
    )
    compare_main([*sides, *FEW])
    said = capsys.readouterr().err
    assert (
        "warning: the two rankers were trained on different non-clicks: A has non-clicks sampled (3 a positive"
        in said
    )
    assert "were scored on" not in said
    compare_main([sides[0], evaluated(folder, "observed", "observed"), *FEW])
    said = capsys.readouterr().err
    assert "warning: the two rankers were scored on different non-clicks" in said
    assert "B has non-clicks observed" in said


def test_nothing_is_said_of_observed_ones(folder, capsys):
    out = evaluated(folder, "observed", "observed")
    compare_main([out, out, *FEW])
    printed = capsys.readouterr()
    assert "non-clicks" not in printed.out + printed.err
    assert "non_clicks" not in json.loads((folder / "observed ranker" / "ranker.json").read_text())


def test_ways_say_it(folder, planted, tmp_path, capsys):
    planted.items.save(tmp_path / "items")
    words = [
        str(folder / "sampled"),
        "--items",
        str(tmp_path / "items"),
        "--out",
        str(tmp_path / "ways"),
        "--way",
        "vector",
        "--seeds",
        "1",
    ]
    words += ["--set", "unknown_rate=0.1"]
    ways_main([*words, "--no-permuted", "--no-cost", "--feature", "history_length=4", *FEW, *SET])
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if "ids and counters: AUC" in line
    ]
    assert line.endswith(SAID)
    assert (
        json.loads((tmp_path / "ways" / "ways.json").read_text())["non_clicks"] == RECIPE.as_dict()
    )
