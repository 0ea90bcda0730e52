"""The comparison of ways: a planted taste is worth something in the true vectors only; finished runs are kept."""

import json

import polars as pl
import pytest

from moon_rec.code_version import differing
from moon_rec.errors import ConfigError, RankingError
from ranking.features import FeatureConfig
from ranking.ways import variations
from ranking.ways.comparison import against_factors, compare_ways, main, markdown
from ranking.ways.variations import Inputs, Variation, run_all

SETTINGS = ["batch_size=192", "tower=[32,16]", "attention_dim=8", "embedding_dim=8", "epochs=2"]


@pytest.fixture(scope="module")
def paths(planted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    planted.items.save(folder / "items")
    planted.queries.save(folder / "queries")
    return planted.shop.path, folder / "items", folder / "queries"


@pytest.fixture(scope="module")
def done(paths, tmp_path_factory):
    out = tmp_path_factory.mktemp("ways")
    shop, items, queries = paths
    words = [str(shop), "--items", str(items), "--queries", str(queries), "--out", str(out)]
    words += ["--way", "simtier", "--way", "cube,sequence=bst", "--seeds", "2", "--resamples", "60"]
    words += ["--way", "none,counters=none", "--way", "trees+similarity", "--way", "factorisation"]
    words += ["--feature", "history_length=10", "--no-cost"]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    main(words)
    return out, words


def test_true_vectors_gain_and_permuted_ones_lose_it(done):
    found = json.loads((done[0] / "ways.json").read_text())
    assert found["is_simulated"] and found["seeds"] == [0, 1]
    assert found["coverage"]["items"] == {"count": 117, "total": 120}
    ways = {one["name"]: one for one in found["ways"]}
    assert list(ways) == ["simtier", "cube,sequence=bst", "none,counters=none", "trees+similarity", "factorisation"]  # fmt: skip
    assert found["counters"] == "rolling" and 0 < found["baseline"]["auc"] < 1
    cube = ways["cube,sequence=bst"]
    assert cube["gains"]["auc_cold"]["value"] > 0.05
    assert cube["content"]["auc"]["low"] > 0
    assert abs(cube["permuted"]["auc_cold"]["value"]) < cube["gains"]["auc_cold"]["value"] / 2
    assert len(cube["gains"]["gauc"]["seed_values"]) == 2
    trees = ways["trees+similarity"]
    assert trees["content"]["auc"]["value"] > 0.05 and trees["cost"] is None
    assert ways["none,counters=none"]["permuted"] == {}


def test_hidden_ids_are_chosen_once_and_epochs_by_each_training(done):
    """What the table says is what the trainings did; of a network without content it is said how it does beside the factors."""
    found = json.loads((done[0] / "ways.json").read_text())
    share = found["chosen_settings"]["unknown_rate"]
    tried = {one: max(curve) for one, curve in found["chosen_settings"]["validation_auc"].items()}
    assert max(tried, key=lambda one: tried[one]) == f"{share:g}" and len(tried) == 3
    for run in (done[0] / "scores").glob("*/*/run.json"):
        about = json.loads(run.read_text())
        assert about["config"].get("unknown_rate", share) == share
        if about["config"]:
            curve = about["validation_auc"]
            assert about["chosen"] == f"epoch {curve.index(max(curve)) + 1}"
        assert (
            about["chosen"]
            in found["chosen"][run.parent.parent.name.replace(",permuted", ", permuted")]
        )


def test_a_network_that_loses_to_factors_is_said_so(done):
    scores = {
        name: [pl.read_parquet(file).sort("request_id", "item_id") for file in sorted((done[0] / "scores" / name).glob("*/*.parquet"))]
        for name in ("none", "none,counters=none", "factorisation")
    }  # fmt: skip
    lines = against_factors(scores, "ids and counters", 60)
    assert [line.partition(",")[0] for line in lines] == ["ids only", "ids and counters"]
    truth = [one.with_columns(score=pl.col("label").cast(pl.Float64)) for one in scores["none"]]
    lost = against_factors(scores | {"factorisation": truth}, "ids and counters", 60)
    assert all("IT LOSES TO IT, AUC **-" in line for line in lost)
    won = against_factors(scores | {"none": truth}, "ids and counters", 60)
    assert "it beats it, AUC **+" in won[1]
    assert against_factors({"none": truth}, "ids and counters") == []


def test_the_row_without_counters_is_what_the_baseline_was(done, paths):
    """The same scores as of tables without counters, which had no such setting."""
    inputs = Inputs(paths[0], FeatureConfig(history_length=10, counters="none"), paths[1], None)
    share = json.loads((done[0] / "ways.json").read_text())["chosen_settings"]["unknown_rate"]
    (scores,) = run_all(
        inputs, [Variation.parse("none")], [*SETTINGS, f"unknown_rate={share}"], [1], done[0] / "alone", 1
    )["none"]  # fmt: skip
    about = json.loads((done[0] / "scores/none,counters=none/seed-1/run.json").read_text())
    assert about["counters"] == "none"
    kept = pl.read_parquet(done[0] / "scores/none,counters=none/seed-1/scores.parquet")
    assert scores.equals(kept.sort("request_id", "item_id"))


def test_a_picture_and_the_scores_of_each_seed_are_left(done):
    assert (done[0] / "ways.png").read_bytes().startswith(b"\x89PNG")
    folders = sorted(path.name for path in (done[0] / "scores").iterdir())
    assert folders == [
        "cube,sequence=bst",
        "cube,sequence=bst,permuted",
        "factorisation",
        "none",
        "none,counters=none",
        "simtier",
        "simtier,permuted",
        "trees+similarity",
        "trees+similarity,permuted",
    ]
    for folder in (done[0] / "scores").iterdir():
        assert [seed.name for seed in sorted(folder.iterdir())] == ["seed-0", "seed-1"]


def test_a_finished_run_is_kept_and_another_setting_trained(done, capsys):
    out, words = done
    written = {path: path.stat().st_mtime_ns for path in out.rglob("scores.parquet")}
    main(words)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("scores.parquet")} == written
    shown = capsys.readouterr().out
    assert "baseline: ids and counters" in shown and "counters rolling (a row" in shown
    assert (
        "| ids only, no counters |" in shown and "| trees on counters and similarities |" in shown
    )
    assert "simulated shoppers" in shown and "| simtier |" in shown and "none corrected" in shown
    assert (
        "hidden ids, of all rows: unknown_rate = " in shown
        and "chosen by the validation AUC" in shown
    )
    assert "epochs: each training keeps that of its best validation AUC, of at most 2" in shown
    assert "against matrix factorisation of ids alone: " in shown
    assert "coverage: 117 of 120 (97.5%) items" in shown
    main([*words, "--set", "num_tiers=10", "--no-permuted", "--seeds", "1"])
    told = capsys.readouterr().err
    simtier, cube = (
        out / "scores" / name / "seed-0" / "scores.parquet"
        for name in ("simtier", "cube,sequence=bst")
    )
    assert simtier.stat().st_mtime_ns == written[simtier]  # it does not read num_tiers
    assert cube.stat().st_mtime_ns > written[cube]
    assert "cube,sequence=bst, seed 0: trained again" in told and "another settings" in told


def test_scores_of_other_code_are_not_kept(paths, tmp_path, capsys, monkeypatch):
    """What has changed is said; so it is for scores that do not say what made them."""
    inputs = Inputs(paths[0], FeatureConfig(history_length=5), paths[1], None)
    ids = [Variation.parse("none")]
    few = ["batch_size=4096", "embedding_dim=2", "tower=[4]"]
    about = tmp_path / "scores" / "none" / "seed-0" / "run.json"

    def trained_at() -> int:
        run_all(inputs, ids, few, [0], tmp_path, 1)
        return about.stat().st_mtime_ns

    first = trained_at()
    assert trained_at() == first
    monkeypatch.setattr(variations, "made_by", lambda: {"code": "other", "torch": "9.9"})
    assert trained_at() > first
    told = capsys.readouterr().err
    assert "trained again, for the scores kept were made with another code, torch" in told
    monkeypatch.undo()
    about.write_text('{"key": "0123456789abcdef"}')
    trained_at()
    assert "made_of" in json.loads(about.read_text())
    assert "made with an older version" in capsys.readouterr().err


def test_what_has_changed_is_named():
    made = {"code": "a", "torch": "1"}
    assert differing(dict(made), made) == ""
    assert differing({**made, "torch": "0"}, made) == "another torch"
    assert differing({"code": "b"}, made) == "another code, torch"
    assert "older version" in differing(None, made) and "older version" in differing({}, made)


def test_a_file_of_settings_is_read_and_a_shared_one_that_nothing_reads_refused(
    paths, tmp_path, capsys
):
    shop, items, _ = paths
    words = [str(shop), "--items", str(items), "--out", str(tmp_path / "out"), "--no-cost"]
    words += ["--way", "simtier", "--seeds", "1", "--no-permuted", "--resamples", "20"]
    (tmp_path / "ways.toml").write_text("num_tiers = 7\n")
    with pytest.raises(ConfigError, match="num_tiers = 7 changes nothing"):
        main([*words, "--config", str(tmp_path / "ways.toml")])
    with pytest.raises(ConfigError, match=r"temperature = 0\.3 changes nothing"):
        main([*words, "--way", "sata,temperature=0.3"])
    (tmp_path / "ways.toml").write_text(
        "embedding_dim = 3\nbatch_size = 4096\ntower = [4]\nunknown_rate = 0.2\nepochs = 2\n"
    )
    main([*words, "--config", str(tmp_path / "ways.toml"), "--set", "kept_epoch=last"])
    shown = capsys.readouterr().out
    assert "hidden ids, of all rows: unknown_rate=0.2, as set" in shown
    assert "epochs: 2, as set" in shown and not (tmp_path / "out" / "chosen.json").exists()
    about = json.loads((tmp_path / "out/scores/simtier/seed-0/run.json").read_text())
    assert about["config"]["embedding_dim"] == 3


@pytest.mark.slow
def test_processes_change_nothing(paths, done, tmp_path):
    shop, items, queries = paths
    features = json.loads((done[0] / "ways.json").read_text())["features"]
    inputs = Inputs(shop, FeatureConfig(**features), items, queries)
    one = [Variation.parse("none"), Variation.parse("simtier")]
    alone = run_all(inputs, one, SETTINGS, [0], tmp_path / "one", 1)
    beside = run_all(inputs, one, SETTINGS, [0], tmp_path / "two", 2)
    for name, (table,) in alone.items():
        assert table.equals(beside[name][0])
    assert markdown(compare_ways(alone, one, {}, 20)).count("| simtier |") == 1


def test_what_is_wrong_is_named_before_anything_is_trained(paths, tmp_path):
    shop, items, _ = paths
    words = [str(shop), "--items", str(items), "--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match="simtire"):
        main([*words, "--way", "simtire"])
    with pytest.raises(
        ConfigError, match=r"trees has no setting 'num_tiers=5', which is a network's"
    ):
        main([*words, "--way", "trees,num_tiers=5"])
    with pytest.raises(ConfigError, match="did you mean 'frozen'"):
        main([*words, "--way", "cube,counters=frosen"])
    with pytest.raises(ConfigError, match="depth"):
        main([*words, "--set", "depth=3"])
    assert not (tmp_path / "out").exists()
    with pytest.raises(RankingError, match="nothing to compare with"):
        compare_ways({}, [], {})
