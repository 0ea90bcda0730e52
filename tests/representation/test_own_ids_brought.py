"""Vectors under the user's own ids: the very table that the shop's numbers make, and one line where an id is none of them."""

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.shop import Shop
from representation.bring import bring_vectors
from tests.own_ids import keep_own_ids, own_item, own_request
from tests.ranking.conftest import draw_frames, write_shop


@pytest.fixture(scope="module")
def own_shop(tmp_path_factory):
    """A shop with own ids of items, users and requests; its searches have the ids of their requests."""
    folder = tmp_path_factory.mktemp("own") / "shop"
    write_shop(draw_frames()[0], folder)
    keep_own_ids(folder)
    return Shop.open(folder)


def vectors_of(ids, dim=4):
    return np.random.default_rng(0).normal(size=(len(ids), dim)).astype(np.float32)


def in_parquet(folder, name, own, vectors):
    columns = {name: own, "vector": vectors.tolist()}
    pl.DataFrame(columns).write_parquet(folder / "mine.parquet")
    return folder / "mine.parquet", {}


def in_npy(folder, name, own, vectors):
    np.save(folder / "mine.npy", vectors)
    np.save(folder / "ids.npy", np.array(own))
    return folder / "mine.npy", {"ids": folder / "ids.npy"}


def in_npy_with_ids_in_parquet(folder, name, own, vectors):
    np.save(folder / "mine.npy", vectors)
    pl.DataFrame({name: own}).write_parquet(folder / "ids.parquet")
    return folder / "mine.npy", {"ids": folder / "ids.parquet"}


def in_safetensors_with_ids_in_parquet(folder, name, own, vectors):
    save_file({"vectors": vectors}, folder / "mine.safetensors")
    pl.DataFrame({name: own}).write_parquet(folder / "ids.parquet")
    return folder / "mine.safetensors", {"ids": folder / "ids.parquet"}


FORMS = [in_parquet, in_npy, in_npy_with_ids_in_parquet, in_safetensors_with_ids_in_parquet]


@pytest.mark.parametrize("write", FORMS, ids=lambda one: one.__name__)
def test_own_item_ids_make_the_table_of_the_shops_numbers(own_shop, tmp_path, write):
    ids = np.random.default_rng(1).permutation(own_shop.items.collect()["item_id"].to_numpy())
    vectors = vectors_of(ids)
    path, options = write(tmp_path, "item_id", [own_item(one) for one in ids], vectors)
    brought = bring_vectors(path, tmp_path / "table", shop=own_shop, **options)
    wanted = EmbeddingTable.from_arrays(ids, vectors, shop=own_shop.digest, kind="items")
    assert brought.table.digest == wanted.digest
    assert (brought.num_wanted, brought.num_covered, brought.num_unknown) == (len(ids), len(ids), 0)


def test_own_search_ids_are_those_of_their_requests(own_shop, tmp_path):
    """As an imported log numbers them; hashes beyond 63 bits in a column of whole numbers."""
    asked = own_shop.searches.collect()["search_id"].to_numpy()
    requests = own_shop.impressions.select("request_id").collect()["request_id"].unique()
    ids = np.intersect1d(asked, requests.to_numpy())[:20]
    own = pl.Series("search_id", [int(own_request(one)) for one in ids], dtype=pl.UInt64)
    vectors = vectors_of(ids)
    pl.DataFrame([own, pl.Series("vector", vectors.tolist())]).write_parquet(tmp_path / "q.parquet")
    brought = bring_vectors(tmp_path / "q.parquet", tmp_path / "table", shop=own_shop)
    assert brought.table.kind == "queries"
    assert (
        brought.table.digest
        == EmbeddingTable.from_arrays(ids, vectors, shop=own_shop.digest).digest
    )


def test_safetensors_of_hashes_are_own_ids(own_shop, tmp_path):
    requests = own_shop.impressions.select("request_id").collect()["request_id"].unique().to_numpy()
    asked = own_shop.searches.collect()["search_id"].to_numpy()
    ids = np.intersect1d(asked, requests)[:9]
    hashes = np.array([int(own_request(one)) for one in ids], dtype=np.uint64)
    vectors = vectors_of(ids)
    save_file({"ids": hashes, "vectors": vectors}, tmp_path / "q.safetensors")
    brought = bring_vectors(
        tmp_path / "q.safetensors", tmp_path / "t", shop=own_shop, kind="queries"
    )
    assert brought.table.ids.tolist() == sorted(ids.tolist())


def test_an_own_id_that_the_shop_does_not_know_is_counted_and_left_out(own_shop, tmp_path, capsys):
    ids = own_shop.items.collect()["item_id"].to_numpy()
    own = [own_item(one) for one in ids]
    own[3], own[5] = "802.0003.9", "new"
    vectors = vectors_of(ids)
    vectors[3] = np.nan  # of what is left out nothing counts
    path, _ = in_parquet(tmp_path, "item_id", own, vectors)
    brought = bring_vectors(path, tmp_path / "table", shop=own_shop)
    said = capsys.readouterr().err
    assert f"2 of {len(ids)} ids are not among the items" in said
    assert "such as '802.0003.9', 'new': their vectors are left out" in said
    assert f"such as '{own_item(ids[3])}', '{own_item(ids[5])}'" in said, (
        "what has no vector is told by its own id"
    )
    assert (brought.num_unknown, brought.num_left_out, len(brought.table)) == (2, 0, len(ids) - 2)


def test_zeros_in_front_are_part_of_an_own_id(own_shop, tmp_path):
    """`802` is none of them, and no number of ours is taken for one."""
    ids = own_shop.items.collect()["item_id"].to_numpy()
    path, _ = in_parquet(tmp_path, "item_id", ids, vectors_of(ids))
    with pytest.raises(
        TableError, match=r"ids are not among the items of shop .*the shop has such as '802"
    ):
        bring_vectors(path, tmp_path / "table", shop=own_shop)
