"""Batches against the tables, row by row; presence of vectors; determinism."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from ranking.content import ContentStores
from ranking.features import ITEM_FEATURES, FeatureConfig, RankingTables
from ranking.loader import Loader, deal, hashed
from ranking.search_unit import SearchUnit


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


@pytest.mark.parametrize("kind", ["content", "category"])
def test_a_searched_batch_holds_what_was_found_for_each_row(tables, stores, kind):
    unit = SearchUnit(kind, 2, tables.items, stores.items)
    loader = Loader(tables, "test", 50, stores, search=unit, recent_length=3)
    plain = Loader(tables, "test", 50, stores)
    requests = tables.periods["test"]
    some = 0
    for batch, whole in zip(loader.epoch(), plain.epoch(), strict=True):
        recent = whole.ids["history_item"].to_padded_dense(6)[:, : batch.history_mask.shape[1]]
        assert batch.ids["history_item"].to_padded_dense(6)[:, :3].tolist() == recent.tolist()
        assert torch.equal(batch.history_mask, whole.history_mask[:, :3])
        assert torch.equal(batch.content.history, whole.content.history[:, :3])
        chosen = requests.row_requests()[batch.table_rows.numpy()]
        starts, ends = requests.history_starts[chosen], requests.history_ends[chosen]
        items = requests.items[batch.table_rows.numpy()]
        found = unit.find(items, np.ones_like(items), tables.history_events, starts, ends)
        some += int(found.sizes.sum())
        assert batch.searched_mask.sum(dim=1).tolist() == found.sizes.tolist()
        assert batch.ids["searched_item"].lengths().tolist() == [
            int(found.sizes[chosen == number].sum()) for number in np.unique(chosen)
        ]
        for name in ("item", "category", "brand"):
            wanted = tables.items.features[name][found.items]
            assert batch.ids[f"searched_{name}"].values().tolist() == wanted.tolist()
        vectors, present = stores.items.gather(found.items)
        assert torch.equal(batch.content.searched[batch.searched_mask], vectors)
        assert torch.equal(batch.content.has_searched[batch.searched_mask], present)
        assert not batch.content.has_searched[~batch.searched_mask].any()
    assert some > 100


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


def _shown(batches, requests):
    """Feature -> row of the tables (users: request) -> id as shown, of one epoch."""
    found = {"item": {}, "user": {}, "history_item": {}}
    for batch in batches:
        ids, rows = batch.ids.to_dict(), batch.table_rows.numpy()
        found["item"] |= zip(rows.tolist(), ids["item"].values().tolist(), strict=True)
        numbers = np.unique(requests.row_requests()[rows]).tolist()
        order = torch.unique_consecutive(torch.from_numpy(requests.row_requests()[rows])).tolist()
        assert sorted(order) == numbers
        found["user"] |= zip(order, ids["user"].values().tolist(), strict=True)
        history = ids["history_item"].to_dense()
        found["history_item"] |= {n: h.tolist() for n, h in zip(order, history, strict=True)}
    return found


@pytest.mark.parametrize(
    "change", [{"batch_size": 37}, {"batch_size": 5000}, {"world_size": 3}, {"start_batch": 4}]
)
def test_what_is_hidden_depends_on_the_event_alone(tables, change):
    requests = tables.periods["train"]
    options = {"batch_size": 200, "shuffle_seed": 3, "unknown_rate": 0.3}
    whole = _shown(Loader(tables, "train", **options).epoch(1), requests)
    start = change.pop("start_batch", 0)
    other: dict = {"item": {}, "user": {}, "history_item": {}}
    for rank in range(change.get("world_size", 1)):
        loader = Loader(tables, "train", **options | change | {"rank": rank})
        for name, shown in _shown(loader.epoch(1, start), requests).items():
            other[name] |= shown
    for name, shown in other.items():
        assert {key: whole[name][key] for key in shown} == shown
        assert start or len(shown) == len(whole[name])
    later = _shown(Loader(tables, "train", **options).epoch(2), requests)
    assert all(later[name] != shown for name, shown in whole.items())


def test_hashes_are_splitmix64_and_uniform():
    mask = 2**64 - 1

    def mix(value):
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            value = (value ^ (value >> shift)) * factor & mask
        return value ^ (value >> 31)

    golden, stream, keys, sizes = (
        0x9E3779B97F4A7C15,
        12345678901234567890,
        [7, 0, 7, 2**40],
        [2, 0, 3, 1],
    )
    found = hashed(np.array(keys, dtype=np.uint64), np.array(sizes), np.uint64(stream))
    wanted = [
        mix((mix((key * golden + stream) & mask) + place * golden) & mask)
        for key, size in zip(keys, sizes, strict=True)
        for place in range(1, size + 1)
    ]
    assert found.tolist() == wanted
    # the published first outputs of splitmix64 from state 1234567
    assert [mix((1234567 + n * golden) & mask) for n in (1, 2)] == [
        6457827717110365317,
        3203168211198807973,
    ]
    many = hashed(np.arange(2000, dtype=np.uint64), np.full(2000, 10), np.uint64(5)) / 2.0**64
    assert abs(np.histogram(many, 20, (0, 1))[0] - 1000).max() < 150


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=60), world_size=st.integers(1, 5))
def test_requests_are_dealt_out_balanced_by_rows(sizes, world_size):
    ranks = deal(np.array(sizes), world_size)
    rows = np.bincount(ranks, weights=sizes, minlength=world_size)
    assert rows.max() - rows.min() <= max(sizes)
    assert (ranks >= 0).all() and (ranks < world_size).all()


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_slices_together_are_the_global_batch(tables, stores, world_size):
    options = {"batch_size": 100, "content": stores, "shuffle_seed": 3}
    whole = Loader(tables, "train", **options)
    slices = [
        list(Loader(tables, "train", **options, rank=rank, world_size=world_size).epoch())
        for rank in range(world_size)
    ]
    for batch, *parts, rows in zip(whole.epoch(), *slices, whole.batch_rows(), strict=True):
        counted = [part.table_rows for part in parts if part.loss_weight > 0]
        assert torch.cat(counted).sort().values.tolist() == batch.table_rows.sort().values.tolist()
        assert batch.num_rows == rows
        shares = [float(part.loss_weight) / world_size for part in parts]
        assert sum(shares) == pytest.approx(1)
        mean = sum(s * part.labels.mean() for s, part in zip(shares, parts, strict=True))
        assert float(mean) == pytest.approx(float(batch.labels.mean()), abs=1e-6)


def test_a_rank_without_requests_repeats_one_that_does_not_count(tables):
    parts = [
        next(Loader(tables, "train", 1, shuffle_seed=3, rank=rank, world_size=2).epoch())
        for rank in (0, 1)
    ]
    assert [float(part.loss_weight) for part in parts] == [2, 0]
    assert parts[0].table_rows.tolist() == parts[1].table_rows.tolist()


def test_an_epoch_goes_on_where_it_was_left(tables, stores):
    loader = Loader(tables, "train", 100, stores, shuffle_seed=3, unknown_rate=0.2)
    whole = list(loader.epoch(2))
    rest = list(loader.epoch(2, start_batch=len(whole) - 2))
    assert len(rest) == 2
    for one, other in zip(whole[-2:], rest, strict=True):
        assert torch.equal(one.ids.values(), other.ids.values())
        assert torch.equal(one.table_rows, other.table_rows)
    assert list(loader.epoch(2, start_batch=len(whole))) == []


def test_tables_that_do_not_fit_are_refused(planted, tables):
    foreign = EmbeddingTable.from_arrays(np.array([1, 2]), np.ones((2, 8)))
    with pytest.raises(RankingError, match="none of the shop's 120 items"):
        ContentStores.of(tables, foreign, None)
    wide = EmbeddingTable.from_arrays(planted.queries.ids, np.ones((len(planted.queries), 9)))
    with pytest.raises(RankingError, match="items have dim 8 and queries 9"):
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
