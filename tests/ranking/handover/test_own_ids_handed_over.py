"""Hand-overs name items, users and requests as the user does; without own ids not a byte is another."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

from moon_rec.shop import Shop
from ranking.handover.__main__ import main
from tests.own_ids import keep_own_ids, own_item, own_request, own_user


@pytest.fixture
def two(planted, tmp_path):
    """The planted shop as it is, and with own ids, each handed over to both libraries."""
    shutil.copytree(planted.shop.path, tmp_path / "own")
    keep_own_ids(tmp_path / "own")
    planted.items.save(tmp_path / "items")
    for to in ("fuxictr", "torcheasyrec"):
        for name, path in (("plain", planted.shop.path), ("own", tmp_path / "own")):
            words = [str(path), "--to", to, "--items", str(tmp_path / "items")]
            main([*words, "--out", str(tmp_path / f"{name}-{to}")])
    return tmp_path


def test_vocabularies_have_own_ids_and_arrays_are_the_same(two, planted):
    plain, own = (
        json.loads((two / f"{name}-fuxictr/shop/feature_vocab.json").read_text())
        for name in ("plain", "own")
    )
    for name, of in (("item", own_item), ("user", own_user)):
        assert {
            of(int(key)) if key[0] != "_" else key: row for key, row in plain[name].items()
        } == own[name]
    assert {name: one for name, one in plain.items() if name not in ("item", "user")} == {
        name: one for name, one in own.items() if name not in ("item", "user")
    }
    for file in ("train.npz", "item_vectors.npz"):
        one, other = (
            np.load(two / f"{name}-fuxictr/shop/{file}", allow_pickle=False)
            for name in ("plain", "own")
        )
        assert all((one[name] == other[name]).all() for name in one.files)
    requests = dict(pl.read_parquet(two / "own-fuxictr/ids/request.parquet").iter_rows())
    shown = np.load(two / "own-fuxictr/shop/test.npz", allow_pickle=False)["request_id"]
    assert requests[shown[0]] == own_request(shown[0])
    assert not (two / "plain-fuxictr/ids").exists()


def test_columns_of_ids_are_own(two, planted):
    plain, own = (
        pl.read_parquet(two / f"{name}-torcheasyrec/test.parquet") for name in ("plain", "own")
    )
    assert own["request_id"].to_list() == [own_request(one) for one in plain["request_id"]]
    assert own["user_id"].to_list() == [own_user(one) for one in plain["user_id"]]
    shown = Shop.open(two / "own").impressions.select("item_id", "request_id").collect()
    pairs = {(own_request(request), own_item(item)) for item, request in shown.iter_rows()}
    assert set(own.select("request_id", "item_id").iter_rows()) <= pairs
    ids = ["request_id", "user_id", "item_id"]
    assert own.drop(ids).equals(plain.drop("request_id", "user_id"))
