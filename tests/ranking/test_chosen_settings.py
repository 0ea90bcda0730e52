"""The share of hidden ids and the number of epochs follow validation, once for all rankers of a command."""

import json

import pytest

from moon_rec.errors import RankingError
from ranking.chosen_settings import SHARES, ChosenSettings, choose_settings
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc
from ranking.train import RankerConfig, train_ranker
from ranking.train import main as train_main

SMALL = {"batch_size": 256, "tower": (8,), "attention_dim": 4, "embedding_dim": 4}
SET = ["batch_size=256", "tower=[8]", "attention_dim=4", "embedding_dim=4", "epochs=1"]


def test_share_and_epoch_of_the_highest_validation_auc_are_taken(planted):
    """Chosen without content, whatever the ranker to come reads."""
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=4))
    labels = tables.periods["validation"].labels
    wanted = {}
    for share in SHARES:
        for epochs in (1, 2):
            config = RankerConfig.reading(
                **SMALL, epochs=epochs, kept_epoch="last", unknown_rate=share
            )
            ranker = train_ranker(tables, config)
            wanted[share, epochs] = auc(labels, ranker.predict(tables, "validation"))
    cube = RankerConfig(content="cube", search="content", epochs=2, **SMALL)
    found = choose_settings(tables, cube)
    for share in SHARES:
        assert found.validation_auc[share] == tuple(wanted[share, one] for one in (1, 2))
    assert wanted[found.unknown_rate, found.epochs] == max(wanted.values())
    assert f"unknown_rate = {found.unknown_rate:g}, chosen" in str(found)
    assert ChosenSettings.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    fixed = choose_settings(tables, RankerConfig(epochs=2, kept_epoch="last", **SMALL))
    assert fixed.epochs == 2 and fixed.validation_auc[0.3] == (wanted[0.3, 2],)


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
