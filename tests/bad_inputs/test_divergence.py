"""Trainings that diverge: each ends in one line that names the step and the figure, and keeps nothing of it."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop import Shop
from ranking.features import FeatureConfig, RankingTables
from ranking.train import RankerConfig, train_ranker
from representation.model.lora import LoraConfig
from representation.posttraining import PosttrainConfig, posttrain
from representation.pretraining import PretrainConfig
from representation.pretraining.train import pretrain
from tests.bad_inputs.harness import Case, check
from tests.representation.conftest import TINY

BACKBONE = TINY.model_copy(update={"vocabulary_size": 300})
SHARED = {"backbone": BACKBONE, "steps": 9, "precision": "float32", "num_threads": 1}
FAR = 1e30
"""Beyond what settings allow, so that any training diverges: what is looked at is how it ends."""
RANKER = {
    "epochs": 1,
    "batch_size": 64,
    "tower": (8,),
    "attention_dim": 4,
    "embedding_dim": 4,
    "num_threads": 1,
}


def _posttrain(**settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        rate = {"learning_rate": settings.pop("learning_rate", FAR)}
        mixture = {"text->title+image": 1.0}
        given = {"batch_size": 8, "mixture": mixture, **SHARED}
        config = PosttrainConfig(**given | settings).model_copy(update=rate)
        return posttrain(Shop.open(folder / "shop"), folder / "new", config)

    return act


def _pretrain(**settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = PretrainConfig(**{"batch_size": 8, **SHARED} | settings)
        config = config.model_copy(update={"learning_rate": FAR})
        return pretrain(Shop.open(folder / "shop"), folder / "new", config)

    return act


def _rank(*rates: str, rate: float = FAR, **settings: object) -> Callable[[Path], object]:
    def act(folder: Path) -> object:
        config = RankerConfig(**{"content": "none", **RANKER} | settings)
        config = config.model_copy(update=dict.fromkeys(rates, rate))
        features = FeatureConfig(history_length=4, query_history_length=2)
        tables = RankingTables.build(Shop.open(folder / "shop"), features)
        vectors = [EmbeddingTable.open(folder / "items")] if config.reads_vectors else []
        return train_ranker(tables, config, *vectors)

    return act


DENSE, TABLES = "learning_rate", "embedding_learning_rate"
AGAIN = "nothing was kept: begin again with a learning_rate below 1e+30"
CASES = [
    Case("divergence: posttrain, float32", _posttrain(), ("diverged at step 2: the", AGAIN)),
    Case(
        "divergence: posttrain, bfloat16",
        _posttrain(precision="bfloat16"),
        ("diverged at step 2: the", AGAIN),
    ),
    Case(
        "divergence: posttrain, in chunks",
        _posttrain(chunk_size=4),
        ("diverged at step 2: the", AGAIN),
    ),
    Case("divergence: posttrain, circle", _posttrain(loss="circle"), ("diverged at step 2", AGAIN)),
    Case(
        "divergence: posttrain, queue and momentum",
        _posttrain(num_negatives=12, momentum=0.9),
        ("diverged at step 2", AGAIN),
    ),
    Case(
        "divergence: posttrain, LoRA",
        _posttrain(lora=LoraConfig(rank=2)),
        ("training diverged at step", AGAIN),
    ),
    Case(
        "divergence: posttrain, in its last step",
        _posttrain(steps=1, learning_rate=math.inf),
        ("diverged at step 1", "weights are not finite", "nothing was kept"),
    ),
    Case("divergence: pretrain, float32", _pretrain(), ("diverged at step 2: the", "begin again")),
    Case(
        "divergence: pretrain, bfloat16",
        _pretrain(precision="bfloat16"),
        ("diverged at step 2: the", "begin again"),
    ),
    Case(
        "divergence: ranker, dense weights",
        _rank(DENSE),
        ("diverged at step 2: the loss is nan", "nothing is kept", "learning_rate = 1e+30"),
    ),
    Case(
        "divergence: ranker, tables",
        _rank(TABLES),
        ("diverged at step 2: the loss is nan", "embedding_learning_rate = 1e+30"),
    ),
    Case(
        "divergence: ranker, two epochs of CUBE",
        _rank(DENSE, TABLES, content="cube", epochs=2),
        ("diverged at step 2: the loss is nan", "lower rates than"),
    ),
    Case(
        "divergence: ranker, one step in all",
        _rank(DENSE, TABLES, rate=math.inf, batch_size=8192),
        ("diverged at step 1: weights are not finite", "lower rates than"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_divergence(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)
