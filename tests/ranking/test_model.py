"""The whole model in every way of using content: requests against rows, batches, search units, MAKE's places."""

import numpy as np
import polars as pl
import pytest
import torch

from ranking.config import WAYS, RankerConfig
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc
from ranking.model import InputSizes, Ranker
from ranking.tower import Tower
from ranking.train import train_ranker
from tests.ranking.conftest import plant_part

SMALL = {
    "epochs": 1,
    "batch_size": 64,
    "tower": (16, 8),
    "attention_dim": 8,
    "embedding_dim": 4,
    "make_epochs": 1,
    "make_hidden": (8, 6),
    "num_codes": 8,
    "search_length": 4,
    "recent_length": 3,
}
EVERYTHING = "+".join(WAYS)
KINDS = [
    *({"content": way} for way in ("none", *WAYS, EVERYTHING)),
    *({"content": "simtier", "sequence": sequence} for sequence in ("dien", "bst")),
    *({"content": EVERYTHING, "search": search} for search in ("content", "category")),
    {"content": "none", "search": "category"},
    {"content": "none", "search": "content"},
]


def named(kind):
    return ", ".join(f"{value}" for value in kind.values()).replace(EVERYTHING, "everything")


FEATURES = FeatureConfig(history_length=12, query_history_length=5)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A third of the requests: batches and rows of a ranker are compared, whatever it has learnt."""
    return plant_part(tmp_path_factory.mktemp("few"), pl.col("request_id") % 3 == 1)


@pytest.fixture(scope="module")
def tables(few):
    return RankingTables.build(few.shop, FEATURES)


@pytest.fixture(scope="module", params=KINDS, ids=named)
def ranker(request, few, tables):
    config = RankerConfig.reading(**SMALL, **request.param)
    vectors = (few.items, few.queries) if config.reads_vectors else ()
    return train_ranker(tables, config, *vectors)


def test_scores_do_not_depend_on_the_batch(tables, ranker):
    whole = ranker.predict(tables, "validation")
    assert np.isfinite(whole).all()
    for batch_size in (7, 150):
        assert np.abs(ranker.predict(tables, "validation", batch_size) - whole).max() < 1e-5


def test_requests_equal_rows(few, tables, ranker):
    """What a request shares is looked up, projected and stored once; row by row it gives the same."""
    cut = FeatureConfig(**{**tables.config.model_dump(), "max_candidates": 1})
    alone = RankingTables.build(few.shop, cut)
    logits = []
    for each in (tables, alone):
        found = np.empty(each.periods["test"].num_rows)
        with torch.no_grad():
            for batch in ranker.loader(each, "test", 300).epoch():
                found[batch.table_rows.numpy()] = ranker.model(batch).numpy()
        logits.append(found)
    assert np.diff(tables.periods["test"].offsets).max() > 1
    assert np.diff(alone.periods["test"].offsets).max() == 1
    assert np.abs(logits[0] - logits[1]).max() < 1e-5


def test_everything_learns_the_planted_taste(planted):
    tables = RankingTables.build(planted.shop, FEATURES)
    config = RankerConfig.reading(
        **{**SMALL, "batch_size": 128, "embedding_dim": 8, "tower": (32, 16), "epochs": 3},
        content=EVERYTHING,
    )
    ranker = train_ranker(tables, config, planted.items, planted.queries)
    labels = tables.periods["test"].labels
    assert auc(labels, ranker.predict(tables, "test")) > 0.65


def test_the_tower_joins_hidden_layers_and_logit_in_their_places():
    torch.manual_seed(0)
    tower = Tower((5, 4), hidden_dims=(3, 2), has_logit=True)
    sums, first, second, logit = (
        torch.randn(7, 5),
        torch.randn(7, 3),
        torch.randn(7, 2),
        torch.randn(7),
    )
    one, two = tower.layers
    first_input = torch.cat([torch.relu(sums), first], dim=1)
    output = torch.relu(first_input @ one.weight.T + one.bias)
    wanted = torch.cat([output, second, logit[:, None]], dim=1) @ two.weight.T + two.bias
    assert torch.allclose(tower(sums, [first, second], logit), wanted[:, 0], atol=1e-6)


def test_an_unknown_way_is_named():
    for wrong in ("cubes", "cube+cube", "cube+none", ""):
        with pytest.raises(ValueError, match="wanted none, or different ones of vector"):
            RankerConfig(content=wrong)
    assert RankerConfig(content="cube+simtier").content == "simtier+cube"


def test_a_category_that_training_never_saw_is_no_feature():
    rows = {"user": 5, "item": 9, "category": 1, "brand": 4, "price": 3, "query": 2}
    sizes = InputSizes(rows, 0, 5, 5, has_searches=True, content_dim=0, has_query_content=False)
    model = Ranker(sizes, RankerConfig(embedding_dim=8))
    assert set(model.tables.embeddings) == {"user", "item", "brand", "price", "query"}
    assert model.behaviour.parts[0].activations[0].of_product.in_features == 2 * 8
