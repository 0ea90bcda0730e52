"""A saved preparation reads any shop as the ranker's own; what is new joins without retraining."""

import dataclasses
import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.features import PERIODS, FeatureConfig, RankingTables
from ranking.features.preparation import FILES, Preparation
from ranking.train import RankerConfig, TrainedRanker, train_ranker

FEATURES = FeatureConfig(history_length=8, query_history_length=4, context=("dwell",))
SMALL = {"epochs": 1, "batch_size": 64, "tower": (16,), "attention_dim": 8, "embedding_dim": 8}


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def vectors(planted):
    """Tables that name their encoder."""
    return [named(planted.items), named(planted.queries)]


@pytest.fixture(scope="module")
def cube(tables, vectors):
    return train_ranker(tables, RankerConfig(content="cube", **SMALL), *vectors)


@pytest.fixture(scope="module")
def ids_only(tables):
    return train_ranker(tables, RankerConfig(content="none", **SMALL))


def named(table, encoder="abc", keep=slice(None)):
    return EmbeddingTable.from_arrays(
        table.ids[keep], table.take(np.arange(len(table))[keep]), encoder=encoder
    )


def assert_equal_tables(one, other):
    for period in PERIODS:
        for field in dataclasses.fields(one.periods[period]):
            first, second = (getattr(t.periods[period], field.name) for t in (one, other))
            assert np.array_equal(first, second), field.name
    for name in ("items", "queries"):
        for feature, rows in getattr(one, name).features.items():
            assert np.array_equal(rows, getattr(other, name).features[feature]), feature
    assert np.array_equal(one.history_events, other.history_events)
    assert one.digest == other.digest


def test_what_was_saved_reads_the_shop_to_the_same_bits(planted, tables, tmp_path):
    tables.preparation.save(tmp_path / "kept")
    again = Preparation.load(tmp_path / "kept")
    assert again.digest == tables.preparation.digest
    assert again.context == tables.preparation.context
    assert_equal_tables(tables, RankingTables.build(planted.shop, preparation=again))


def test_the_digest_tells_every_part(tables):
    prepared = tables.preparation
    changes = [
        {"max_candidates": prepared.max_candidates + 1},
        {"price_edges": prepared.price_edges + 1e-9},
        {"item_counts": prepared.item_counts + 1},
        {"user_counts": prepared.user_counts + 1},
        {"has_searches": False},
        {"config": prepared.config.model_copy(update={"cold_below": 5})},
        {"context": (dataclasses.replace(prepared.context[0], mean=0.5),)},
    ]
    for name in FILES:
        fewer = dataclasses.replace(
            prepared.vocabularies[name], values=prepared.vocabularies[name].values[1:]
        )
        changes.append({"vocabularies": {**prepared.vocabularies, name: fewer}})
    digests = {dataclasses.replace(prepared, **change).digest for change in changes}
    assert len(digests | {prepared.digest}) == len(changes) + 1


def test_a_shop_that_only_grew_has_the_same_preparation(planted, tables, make_shop, tmp_path):
    grown = grow(planted, make_shop, tmp_path / "shop")
    assert Preparation.fit(grown, FEATURES).digest == tables.preparation.digest


def grow(planted, make_shop, path):
    """The shop with two items listed late, alike but for their vectors, and a new user."""
    items, shown = planted.frames["items"], planted.frames["impressions"]
    last = shown["time"].max()
    new_items = items[[0, 0]].with_columns(
        item_id=pl.Series([5_000, 5_001]), listed_at=pl.lit(last), brand=pl.lit("unheard of")
    )
    base = shown.filter(pl.col("time") == last).head(1)
    rows = [
        base.with_columns(
            request_id=pl.lit(10**6 + number, pl.Int64),
            search_id=pl.lit(None, pl.Int64),
            item_id=pl.lit(item, pl.Int64),
            user_id=pl.lit(user, pl.Int64),
            time=pl.lit(last + timedelta(hours=1)),
        )
        for number, (user, item) in enumerate(
            [(1001, 5_000), (1001, 5_001), (1001, 7 * 7), (77_777, 5_000)]
        )
    ]
    frames = {
        **planted.frames,
        "items": pl.concat([items, new_items.select(items.columns)]),
        "impressions": pl.concat([shown, *rows], how="vertical_relaxed"),
    }
    return make_shop(frames, path)


def extended(table, ids=(5_000, 5_001), encoder="abc", factor=1.0):
    """The table with two more ids: the vectors of its first two rows."""
    old = table.take(np.arange(len(table)))
    return EmbeddingTable.from_arrays(
        np.append(table.ids, ids), np.concatenate([factor * old, old[:2]]), encoder=encoder
    )


def test_new_items_join_without_retraining(
    planted, tables, cube, vectors, make_shop, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("grown")
    cube.save(folder / "ranker")
    grown = grow(planted, make_shop, folder / "shop")
    items = extended(vectors[0])
    ranker = TrainedRanker.load(folder / "ranker", items, vectors[1])
    bigger = RankingTables.build(grown, preparation=ranker.preparation)
    for period in ("train", "validation"):
        assert np.array_equal(ranker.predict(bigger, period), cube.predict(tables, period))
    before = dict(zip(*keyed(tables, cube), strict=True))
    after = dict(zip(*keyed(bigger, ranker), strict=True))
    assert len(after) == len(before) + 4
    assert all(abs(after[key] - score) < 1e-6 for key, score in before.items())
    # unknown ids, known vectors: the two differ by their vectors alone, and without one by nothing
    row = bigger.items.rows(np.array([5_000, 5_001]))
    assert not bigger.items.features["item"][row].any()
    assert after[10**6, 5_000] != after[10**6 + 1, 5_001]
    blind = TrainedRanker.load(folder / "ranker", *vectors)
    unseen = dict(zip(*keyed(bigger, blind), strict=True))
    assert unseen[10**6, 5_000] != after[10**6, 5_000]
    assert unseen[10**6, 5_000] == pytest.approx(unseen[10**6 + 1, 5_001], abs=1e-6)
    # the same ranker in memory
    again = cube.with_vectors(items, vectors[1]).predict(bigger, "test")
    assert np.array_equal(again, ranker.predict(bigger, "test"))


def keyed(tables, ranker):
    requests = tables.periods["test"]
    ids = requests.request_ids[requests.row_requests()].tolist()
    keys = list(zip(ids, tables.items.ids[requests.items].tolist(), strict=True))
    return keys, ranker.predict(tables, "test").tolist()


def test_a_table_of_another_encoder_is_refused_in_one_line(cube, vectors, planted, tmp_path):
    cube.save(tmp_path / "ranker")
    one_changed = vectors[0].take(np.arange(len(vectors[0])))
    one_changed[40] = one_changed[41]
    others = {
        f"vector of id {vectors[0].ids[40]} differs": EmbeddingTable.from_arrays(
            vectors[0].ids, one_changed, encoder="abc"
        ),
        "encoder other is not abc": extended(vectors[0], encoder="other"),
        "encoder unknown is not abc": extended(vectors[0], encoder=""),
        "differs": vectors[0].permuted(3),
        "vector of id 21 differs": extended(vectors[0], factor=0.5),
        "dim 4 is not 8": EmbeddingTable.from_arrays(
            planted.items.ids,
            planted.items.take(np.arange(len(planted.items)))[:, :4],
            encoder="abc",
        ),
    }
    for reason, table in others.items():
        with pytest.raises(RankingError, match=reason) as caught:
            TrainedRanker.load(tmp_path / "ranker", table, vectors[1])
        assert "\n" not in str(caught.value)
        with pytest.raises(RankingError, match=reason):
            cube.with_vectors(table, vectors[1])
    later = EmbeddingTable.from_arrays(np.array([10**7]), np.ones((1, 8)), encoder="abc")
    assert TrainedRanker.load(tmp_path / "ranker", vectors[0], later).queries is later


def test_without_a_named_encoder_a_common_id_is_wanted(tables, planted):
    ranker = train_ranker(
        tables, RankerConfig(content="cube", **SMALL), planted.items, planted.queries
    )
    half = named(planted.items, encoder="", keep=slice(0, None, 2))
    assert ranker.with_vectors(half, planted.queries).items is half
    strange = EmbeddingTable.from_arrays(np.array([10**7]), np.ones((1, 8)))
    with pytest.raises(RankingError, match="no id in common"):
        ranker.with_vectors(strange, planted.queries)


def test_another_shop_may_have_empty_periods(planted, ids_only, make_shop, times, tmp_path):
    late = planted.frames["impressions"].filter(pl.col("time") >= times[2])
    shop = make_shop({**planted.frames, "impressions": late}, tmp_path / "late")
    tables = RankingTables.build(shop, preparation=ids_only.preparation)
    assert np.isfinite(ids_only.predict(tables, "test")).all()
    with pytest.raises(RankingError, match="no impression of the train period"):
        ids_only.predict(tables, "train")
    with pytest.raises(RankingError, match="config differs"):
        RankingTables.build(shop, FeatureConfig(), ids_only.preparation)


def test_a_shop_without_searches_is_read_by_a_ranker_that_knows_them(
    planted, cube, make_shop, tmp_path
):
    frames = {name: frame for name, frame in planted.frames.items() if name != "searches"}
    frames["impressions"] = frames["impressions"].with_columns(search_id=None)
    silent = make_shop(frames, tmp_path / "silent")
    tables = RankingTables.build(silent, preparation=cube.preparation)
    assert np.isfinite(cube.predict(tables, "test")).all()


def test_semantic_ids_are_kept(planted, tables, tmp_path):
    config = RankerConfig(content="semantic_ids", num_codes=5, tower=(8,))
    ranker = train_ranker(tables, config, planted.items)
    ranker.save(tmp_path / "ranker")
    again = TrainedRanker.load(tmp_path / "ranker", planted.items)
    assert np.array_equal(again.predict(tables, "test"), ranker.predict(tables, "test"))
    (tmp_path / "ranker" / "semantic_ids.safetensors").unlink()
    with pytest.raises(RankingError, match=r"semantic_ids\.safetensors is gone"):
        TrainedRanker.load(tmp_path / "ranker", planted.items)


def test_old_damaged_and_foreign_folders_are_named(ids_only, tmp_path):
    ids_only.save(tmp_path / "ranker")
    about = tmp_path / "ranker" / "ranker.json"
    kept = json.loads(about.read_text())
    for version, reason in (
        (1, "did not save vocabularies; train the ranker again"),
        (9, "wanted 2"),
    ):
        about.write_text(json.dumps(kept | {"format_version": version}))
        with pytest.raises(RankingError, match=reason):
            TrainedRanker.load(tmp_path / "ranker")
    about.write_text(json.dumps(kept))
    users = tmp_path / "ranker" / "preparation" / "users.parquet"
    pl.read_parquet(users).head(3).write_parquet(users)
    with pytest.raises(RankingError, match="it was changed after it was saved"):
        TrainedRanker.load(tmp_path / "ranker")
    kept.pop("files")  # a ranker saved before its files were recorded
    about.write_text(json.dumps(kept))
    with pytest.raises(RankingError, match="was changed after it was written"):
        TrainedRanker.load(tmp_path / "ranker")
    users.unlink()
    with pytest.raises(RankingError, match="no preparation at"):
        TrainedRanker.load(tmp_path / "ranker")
