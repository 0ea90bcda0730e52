"""Learning, determinism, invariance: a planted signal is found, a shuffled one is not."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ConfigError, RankingError
from ranking.evaluate import score
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc
from ranking.train import RankerConfig, TrainedRanker, train_ranker
from ranking.train import main as train_main
from tests.ranking.conftest import plant_part

FEATURES = FeatureConfig(history_length=10, query_history_length=5)
SMALL = {"batch_size": 64, "tower": (32, 16), "attention_dim": 8, "embedding_dim": 8}
IDS = RankerConfig(content="none", epochs=1, **SMALL)  # one epoch: no validation
CUBE = RankerConfig(content="cube", epochs=3, **SMALL)


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def cube(planted, tables):
    return train_ranker(tables, CUBE, planted.items, planted.queries)


@pytest.fixture(scope="module")
def ids_only(tables):
    return train_ranker(tables, IDS)


def test_a_planted_taste_is_found_and_carries_over_to_cold_items(planted, tables, cube):
    scores = score(cube, tables)
    labels, found = scores["label"].to_numpy(), scores["score"].to_numpy()
    cold = scores["is_cold"].to_numpy()
    assert auc(labels, found) > 0.65
    assert auc(labels[cold], found[cold]) > 0.62
    permuted = train_ranker(
        tables, CUBE, planted.items.permuted(1), planted.queries.permuted(2)
    ).predict(tables, "test")
    assert auc(labels[cold], permuted[cold]) < auc(labels[cold], found[cold]) - 0.05


def test_ids_learn_which_items_are_liked(tables, ids_only):
    train = tables.periods["train"]
    assert auc(train.labels, ids_only.predict(tables, "train")) > 0.55


def test_shuffled_clicks_cannot_be_learnt(shuffled):
    tables = RankingTables.build(shuffled.shop, FEATURES)
    labels = tables.periods["test"].labels
    clicks, others = labels.sum(), (labels == 0).sum()
    error = math.sqrt((clicks + others + 1) / (12 * clicks * others))
    for config, vectors in ((IDS, ()), (CUBE, (shuffled.items, shuffled.queries))):
        found = auc(labels, train_ranker(tables, config, *vectors).predict(tables, "test"))
        assert abs(found - 0.5) < 3 * error


def test_the_same_seed_gives_the_same_bits(tmp_path):
    few = plant_part(tmp_path, pl.col("request_id") % 3 == 1)
    tables = RankingTables.build(few.shop, FEATURES)

    def trained(seed):
        config = CUBE.model_copy(update={"seed": seed, "epochs": 2})
        return train_ranker(tables, config, few.items, few.queries)

    first = trained(0)
    torch.manual_seed(99)  # what was drawn before is of no matter
    again = trained(0)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert not np.array_equal(first.predict(tables, "test"), trained(1).predict(tables, "test"))


@settings(max_examples=12)
@given(batch_size=st.integers(1, 500))
def test_scores_do_not_depend_on_the_batch(tables, cube, batch_size):
    whole = cube.predict(tables, "validation")
    assert np.abs(cube.predict(tables, "validation", batch_size) - whole).max() < 1e-6


def test_the_best_epoch_on_validation_is_kept(tables, cube):
    assert len(cube.validation_auc) == CUBE.epochs
    labels = tables.periods["validation"].labels
    assert auc(labels, cube.predict(tables, "validation")) == pytest.approx(
        max(cube.validation_auc), abs=1e-6
    )


def test_a_saved_ranker_gives_the_same_scores(planted, tables, cube, ids_only, tmp_path):
    cube.save(tmp_path / "cube")
    again = TrainedRanker.load(tmp_path / "cube", planted.items, planted.queries)
    assert np.array_equal(again.predict(tables, "test"), cube.predict(tables, "test"))
    assert (again.config, again.features) == (cube.config, cube.features)
    ids_only.save(tmp_path / "ids")
    again = TrainedRanker.load(tmp_path / "ids")
    assert np.array_equal(again.predict(tables, "test"), ids_only.predict(tables, "test"))
    assert sorted(p.name for p in (tmp_path / "ids").iterdir()) == [
        "preparation",
        "ranker.json",
        "weights.safetensors",
    ]


def test_vectors_must_be_those_of_training(planted, cube, tmp_path):
    cube.save(tmp_path / "cube")
    with pytest.raises(RankingError, match="trained with items vectors"):
        TrainedRanker.load(tmp_path / "cube")
    with pytest.raises(RankingError, match="trained with queries vectors"):
        TrainedRanker.load(tmp_path / "cube", planted.items, planted.queries.permuted(0))
    with pytest.raises(RankingError, match="no ranker at"):
        TrainedRanker.load(tmp_path)


def test_tables_must_be_those_of_training(planted, ids_only):
    other = RankingTables.build(planted.shop, FeatureConfig(history_length=9))
    with pytest.raises(RankingError, match="ranker reads tables of preparation"):
        ids_only.predict(other, "test")


def test_vectors_are_asked_for_exactly_when_read(planted, tables):
    with pytest.raises(RankingError, match="pass the embedding table"):
        train_ranker(tables, CUBE)
    with pytest.raises(RankingError, match="reads no vectors"):
        train_ranker(tables, IDS, planted.items)


def test_cube_runs_without_query_vectors_and_without_searches(planted, tables, make_shop, tmp_path):
    one = CUBE.model_copy(update={"epochs": 1})
    assert np.isfinite(train_ranker(tables, one, planted.items).predict(tables, "test")).all()
    frames = {name: frame for name, frame in planted.frames.items() if name != "searches"}
    frames["impressions"] = frames["impressions"].with_columns(search_id=None)
    silent = RankingTables.build(make_shop(frames, tmp_path / "silent"), FEATURES)
    nothing = EmbeddingTable.from_arrays(np.array([1]), np.ones((1, 8)))
    for queries in (None, nothing):
        found = train_ranker(silent, one, planted.items, queries).predict(silent, "test")
        assert np.isfinite(found).all()


def test_rates_too_large_are_named(tables):
    config = IDS.model_copy(update={"learning_rate": 1e30, "embedding_learning_rate": 1e30})
    with pytest.raises(RankingError, match="training diverged"):
        train_ranker(tables, config)


def test_the_command_trains_and_names_wrong_settings(planted, tmp_path):
    out = tmp_path / "ranker"
    train_main([str(planted.shop.path), "--out", str(out), "--set", "tower=[16]"])
    assert TrainedRanker.load(out).config.tower == (16,)
    with pytest.raises(RankingError, match="exists already"):
        train_main([str(planted.shop.path), "--out", str(out)])
    with pytest.raises(ConfigError, match="depth"):
        train_main([str(planted.shop.path), "--out", str(out), "--set", "depth=3"])
