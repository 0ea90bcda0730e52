"""The share of ids that is hidden follows validation, once for all rankers of a command."""

import json

import pytest

from moon_rec.errors import RankingError
from ranking.features import FeatureConfig, RankingTables
from ranking.hidden_ids import SHARES, choose_unknown_rate
from ranking.metrics import auc
from ranking.train import RankerConfig, train_ranker
from ranking.train import main as train_main

SMALL = {"batch_size": 256, "tower": (8,), "attention_dim": 4, "embedding_dim": 4}
SET = ["batch_size=256", "tower=[8]", "attention_dim=4", "embedding_dim=4", "epochs=1"]


def test_the_share_of_the_highest_validation_auc_is_taken(planted):
    """Chosen without content, whatever the ranker to come reads."""
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=4))
    labels = tables.periods["validation"].labels
    wanted = {}
    for share in SHARES:
        ranker = train_ranker(tables, RankerConfig(**SMALL, epochs=1, unknown_rate=share))
        wanted[share] = auc(labels, ranker.predict(tables, "validation"))
    found = choose_unknown_rate(tables, RankerConfig(content="cube", search="content", **SMALL))
    assert found.validation_auc == wanted
    assert wanted[found.unknown_rate] == max(wanted.values())
    assert f"unknown_rate = {found.unknown_rate:g}, chosen" in str(found)


def test_a_command_says_what_it_chose_and_saves_the_number(planted, tmp_path, capsys):
    words = [str(planted.shop.path), "--out", str(tmp_path / "ranker"), "--choose-unknown-rate"]
    words += ["--feature", "history_length=4", *(word for one in SET for word in ("--set", one))]
    train_main(words)
    said = capsys.readouterr().err
    saved = json.loads((tmp_path / "ranker" / "ranker.json").read_text())["config"]["unknown_rate"]
    assert f"unknown_rate = {saved:g}, chosen by the validation AUC" in said and saved in SHARES


def test_several_processes_choose_nothing(planted, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = [str(planted.shop.path), "--out", str(tmp_path / "ranker"), "--choose-unknown-rate"]
    with pytest.raises(RankingError, match="in one process, and 2 were started; choose it first"):
        train_main(words)
    assert not (tmp_path / "ranker").exists()
