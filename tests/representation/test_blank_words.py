"""A log that writes "" or " " for "no words" has the searches by picture, the recall and the training pairs of one that writes null."""

import json

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.shop import Shop
from representation.posttraining.pairs import logged_pairs
from representation.sets.search_cases import gallery_of, search_cases


@pytest.fixture(params=["", " ", "\u00a0"])
def blank_shop(request, little_shop, tmp_path) -> Shop:
    """The little shop's folder, made elsewhere, with blanks for null."""
    folder = tmp_path / "shop"
    folder.mkdir()
    said = json.loads((little_shop.path / "manifest.json").read_text())
    for name in ("rows", "sizes", "fingerprints"):
        del said[name]
    (folder / "manifest.json").write_text(json.dumps(said))
    for name in ("items", "searches", "impressions"):
        frame = pl.read_parquet(little_shop.path / f"{name}.parquet")
        if name == "searches":
            frame = frame.with_columns(pl.col("query_text").fill_null(request.param))
        frame.write_parquet(folder / f"{name}.parquet")
    return Shop.open(folder)


def test_the_same_searches_are_measured(little_shop, blank_shop):
    random = np.random.default_rng(0)
    ids = little_shop.items.select("item_id").collect()["item_id"].to_numpy()
    asked = little_shop.searches.select("search_id").collect()["search_id"].to_numpy()
    items = EmbeddingTable.from_arrays(ids, random.normal(size=(ids.size, 4)))
    queries = EmbeddingTable.from_arrays(asked, random.normal(size=(asked.size, 4)))
    for period in ("train", "test"):
        wanted, found = (
            search_cases(shop, gallery_of(shop, items, period), queries, period)
            for shop in (little_shop, blank_shop)
        )
        assert len(wanted["image"]) > 0
        for kind in wanted:
            assert found[kind].search_ids.tolist() == wanted[kind].search_ids.tolist()
            assert found[kind].relevant == wanted[kind].relevant


def test_the_same_pairs_are_trained_on(little_shop, blank_shop):
    for split in (True, False):
        wanted, found = (logged_pairs(s, split_mixed=split) for s in (little_shop, blank_shop))
        assert wanted["image"].height > 0
        assert all(found[kind].equals(wanted[kind]) for kind in wanted)
