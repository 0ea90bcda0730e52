"""Trees on counters and plain features: what they read, that they find what is planted, and nothing where nothing is."""

import numpy as np
import polars as pl
import pytest

from moon_rec.errors import RankingError
from ranking import trees
from ranking.evaluate import evaluate, score
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import auc
from ranking.train import RankerConfig, train_ranker
from ranking.trees import train_trees, trees_on_counters

FEATURES = FeatureConfig(history_length=8, query_history_length=3)


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def found(planted):
    return trees_on_counters(planted.shop, FEATURES, seeds=(0, 1))


def test_their_scores_are_a_table_as_any_rankers(planted, tables, found):
    small = RankerConfig(batch_size=512, tower=(4,), embedding_dim=2, attention_dim=4)
    wanted = score(train_ranker(tables, small), tables)
    for scores in found.values():
        assert scores.columns == wanted.columns and scores.dtypes == wanted.dtypes
        assert scores.drop("score").equals(wanted.drop("score"))
        assert evaluate(scores, num_resamples=20)["auc"].value > 0.5


def test_a_seed_gives_its_trees_again_and_another_others(planted, tables, found):
    again = score(train_trees(tables, 0), tables)
    assert again.equals(found[0])
    assert not again.equals(found[1])


def test_similarities_find_the_planted_taste(planted, tables):
    labels = tables.periods["test"].labels
    plain = auc(labels, train_trees(tables).predict(tables, "test"))
    content = train_trees(tables, 0, planted.items, planted.queries).predict(tables, "test")
    assert auc(labels, content) > plain + 0.05


def test_shuffled_clicks_cannot_be_learnt(shuffled):
    tables = RankingTables.build(shuffled.shop, FEATURES)
    labels = tables.periods["test"].labels
    error = np.sqrt(1 / (12 * min(labels.sum(), (1 - labels).sum())))
    assert abs(auc(labels, train_trees(tables).predict(tables, "test")) - 0.5) < 4 * error


def test_similarities_are_those_of_a_literal_loop(planted, tables):
    items, queries = planted.items, planted.queries
    columns = trees._columns(tables, "test", items, queries)[:, -7:]
    requests, row = tables.periods["test"], 0

    def vector(table, catalogue, number):
        found, present = table.lookup(catalogue.ids[number : number + 1])
        return found[0] / np.linalg.norm(found[0]) if present.size and present[0] else None

    def summary(target, past):
        known = [None if one is None or target is None else float(one @ target) for one in past]
        newest = [one for one in known[: trees.NEWEST] if one is not None]
        known = [one for one in known if one is not None]
        return [
            np.mean(newest) if newest else np.nan,
            *([np.mean(known), max(known)] if known else [np.nan] * 2),
        ]

    for number in range(0, requests.request_ids.size):
        bounds = (requests.history_starts, requests.history_ends)
        past = tables.history_events[slice(*(each[number] for each in bounds))][::-1]
        bounds = (requests.query_starts, requests.query_ends)
        asked = tables.query_events[slice(*(each[number] for each in bounds))][::-1]
        past = [vector(items, tables.items, one) for one in past]
        asked = [vector(queries, tables.queries, one) for one in asked]
        query = vector(queries, tables.queries, requests.queries[number])
        for item in requests.items[requests.offsets[number] : requests.offsets[number + 1]]:
            target = vector(items, tables.items, item)
            both = np.nan if target is None or query is None else query @ target
            wanted = [both, *summary(target, past), *summary(target, asked)]
            assert np.allclose(columns[row], wanted, atol=1e-6, equal_nan=True)
            row += 1
    assert np.isnan(columns).any(axis=0).all() and (~np.isnan(columns)).any(axis=0).all()


def test_a_column_without_a_value_in_train_is_no_obstacle(planted, make_shop, tmp_path):
    """A shop without prices and brands, whose test period has none or has some."""
    items = planted.frames["items"].with_columns(
        price=pl.lit(None, pl.Float64), brand=pl.lit(None, pl.String)
    )
    shop = make_shop(planted.frames | {"items": items}, tmp_path / "shop")
    tables = RankingTables.build(shop, FEATURES)
    assert np.isnan(trees._columns(tables, "train", None, None)).all(axis=0).sum() == 2
    labels = tables.periods["test"].labels
    assert auc(labels, train_trees(tables).predict(tables, "test")) > 0.5


def test_tables_of_another_preparation_are_refused(planted, tables):
    other = RankingTables.build(planted.shop, FeatureConfig(counters="none"))
    with pytest.raises(RankingError, match="with the same shop and features") as caught:
        train_trees(tables).predict(other, "test")
    assert "\n" not in str(caught.value)
