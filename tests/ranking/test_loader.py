"""Batches against the tables, row by row; presence of vectors; determinism."""

import numpy as np
import pytest
import torch

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.content import ContentStore, ContentStores
from ranking.features import ITEM_FEATURES, FeatureConfig, RankingTables
from ranking.loader import Loader


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FeatureConfig(history_length=6))


@pytest.fixture(scope="module")
def stores(planted, tables):
    return ContentStores.of(tables, planted.items, planted.queries)


def test_a_batch_holds_what_the_tables_say(planted, tables, stores):
    loader = Loader(tables, "test", 50, stores)
    requests = tables.periods["test"]
    seen = []
    for batch in loader.epoch():
        ids, rows = batch.ids.to_dict(), batch.table_rows.numpy()
        seen += rows.tolist()
        assert batch.labels.numpy() == pytest.approx(requests.labels[rows])
        chosen = requests.row_requests()[rows]
        first = np.unique(chosen)
        assert ids["user"].values().tolist() == requests.users[first].tolist()
        for name in ITEM_FEATURES:
            wanted = tables.items.features[name][requests.items[rows]]
            assert ids[name].values().tolist() == wanted.tolist()
        for place, number in enumerate(first):
            start, end = requests.history_starts[number], requests.history_ends[number]
            newest_first = tables.history_events[start:end][::-1]
            found = ids["history_item"].to_dense()[place]
            assert found.tolist() == tables.items.features["item"][newest_first].tolist()
            assert int(batch.history_mask[place].sum()) == end - start
            vectors, present = planted.items.lookup(tables.items.ids[newest_first])
            assert batch.content.has_history[place, : end - start].tolist() == present.tolist()
            assert batch.content.history[place, : end - start].numpy() == pytest.approx(
                vectors, abs=1e-6
            )
            assert not batch.content.has_history[place, end - start :].any()
        flat = batch.content.targets.flatten(0, 1)[batch.candidate_rows].numpy()
        vectors, present = planted.items.lookup(tables.items.ids[requests.items[rows]])
        assert flat == pytest.approx(vectors, abs=1e-6)
        flat = batch.content.has_target.flatten()[batch.candidate_rows]
        assert flat.tolist() == present.tolist()
    assert seen == list(range(requests.num_rows))


def test_an_epoch_has_every_row_once_in_an_order_of_its_own(tables):
    loader = Loader(tables, "train", 100, shuffle_seed=3)
    orders = [torch.cat([b.table_rows for b in loader.epoch(e)]).tolist() for e in (0, 1, 0)]
    assert sorted(orders[0]) == list(range(tables.periods["train"].num_rows))
    assert orders[0] == orders[2] != orders[1]


def test_hidden_ids_are_of_the_rate_asked_and_only_items_and_users(tables):
    def epoch(rate):
        loader = Loader(tables, "train", 500, shuffle_seed=3, unknown_rate=rate)
        return [batch.ids.to_dict() for batch in loader.epoch()]

    plain, hidden = epoch(0.0), epoch(0.2)
    for name in ("item", "user", "history_item"):
        before = torch.cat([ids[name].values() for ids in plain])
        after = torch.cat([ids[name].values() for ids in hidden])
        changed = before != after
        assert (after[changed] == 0).all()
        assert changed.float().mean() == pytest.approx(0.2, abs=0.06)
    for name in ("category", "brand", "price", "query", "history_category"):
        assert all(
            torch.equal(a[name].values(), b[name].values())
            for a, b in zip(plain, hidden, strict=True)
        )


def test_a_table_too_large_to_hold_gives_the_same_bits(planted, tables, tmp_path):
    planted.items.save(tmp_path / "items")
    mapped = EmbeddingTable.open(tmp_path / "items")
    held = ContentStore(planted.items, tables.items)
    read = ContentStore(mapped, tables.items, preload_bytes=0)
    rows = np.array([[0, 5, 119, tables.items.nothing], [5, 5, 1, 2]])
    for one, other in zip(held.gather(rows), read.gather(rows), strict=True):
        assert torch.equal(one, other)


def test_vectors_are_of_unit_length_and_zero_ones_are_missing(tables):
    ids = tables.items.ids
    vectors = np.full((ids.size, 4), 3.0)
    vectors[1] = 0
    gathered, present = ContentStore(EmbeddingTable.from_arrays(ids, vectors), tables.items).gather(
        np.array([0, 1])
    )
    assert gathered[0].norm() == pytest.approx(1, abs=1e-6)
    assert present.tolist() == [True, False]


def test_tables_that_do_not_fit_are_refused(planted, tables):
    foreign = EmbeddingTable.from_arrays(np.array([1, 2]), np.ones((2, 8)))
    with pytest.raises(RankingError, match="none of the shop's 120 items"):
        ContentStores.of(tables, foreign, None)
    wide = EmbeddingTable.from_arrays(planted.queries.ids, np.ones((len(planted.queries), 9)))
    with pytest.raises(RankingError, match="item vectors have dim 8, query vectors 9"):
        ContentStores.of(tables, planted.items, wide)


def test_a_batch_moves_as_one(tables, stores):
    batch = next(iter(Loader(tables, "test", 20, stores).epoch()))
    moved = batch.to("meta")
    assert moved.content.targets.device.type == moved.ids.values().device.type == "meta"
    assert moved.labels.device.type == "meta"
    assert batch.labels.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_batch_is_pinned_as_one(tables, stores):
    batch = next(iter(Loader(tables, "test", 20, stores).epoch())).pin_memory()
    assert batch.labels.is_pinned() and batch.content.history.is_pinned()
