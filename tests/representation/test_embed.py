"""Embedding a shop: whole, resumable, and never mixing encoders."""

import numpy as np
import polars as pl
import pytest

from moon_rec import EmbeddingTable
from moon_rec.errors import TableError
from representation.embed import embed_shop, main
from representation.encoder import ProductEncoder, build_encoder


def test_every_item_and_query_once(encoder, little_shop, tmp_path):
    items, queries = embed_shop(encoder, little_shop, tmp_path, shard_size=13)
    frame = little_shop.items.sort("item_id").collect()
    np.testing.assert_array_equal(items.ids, frame["item_id"].to_numpy())
    wanted = encoder.encode_items(frame, progress=False)
    np.testing.assert_allclose(items.vectors, wanted, atol=1e-5)
    searches = little_shop.searches.sort("search_id").collect()
    np.testing.assert_array_equal(queries.ids, searches["search_id"].to_numpy())
    np.testing.assert_allclose(
        queries.vectors, encoder.encode_queries(searches, progress=False), atol=1e-5
    )
    assert (items.encoder, items.shop, items.widths) == (
        encoder.digest,
        little_shop.digest,
        encoder.widths,
    )
    assert EmbeddingTable.open(tmp_path / "items").digest == items.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["items", "queries"]


def test_a_stopped_run_goes_on(encoder, little_shop, tmp_path, monkeypatch):
    """The third call fails: two shards stand, and only the others are computed again."""
    whole, _ = embed_shop(encoder, little_shop, tmp_path / "whole", shard_size=10)
    encode = ProductEncoder.encode_items
    sizes: list[int] = []

    def counted(self, frame, *rest, **options):
        if len(sizes) == 2 and not stopped:
            stopped.append(True)
            raise KeyboardInterrupt
        sizes.append(frame.height)
        return encode(self, frame, *rest, **options)

    stopped: list[bool] = []
    monkeypatch.setattr(ProductEncoder, "encode_items", counted)
    with pytest.raises(KeyboardInterrupt):
        embed_shop(encoder, little_shop, tmp_path / "out", shard_size=10)
    assert sizes == [10, 10] and not (tmp_path / "out" / "items").exists()
    items, _ = embed_shop(encoder, little_shop, tmp_path / "out", shard_size=10)
    assert sizes == [10, 10, 10, 10, 8]
    assert items.digest == whole.digest


def test_a_finished_table_is_kept_and_a_foreign_one_refused(
    encoder, little_shop, tiny_config, tmp_path
):
    out = tmp_path / "tables"
    embed_shop(encoder, little_shop, out)
    stamp = (out / "items" / "table.safetensors").stat().st_mtime_ns
    embed_shop(encoder, little_shop, out)
    assert (out / "items" / "table.safetensors").stat().st_mtime_ns == stamp
    other = ProductEncoder.from_pretrained(
        build_encoder(little_shop, tmp_path / "other", tiny_config, 9)
    )
    with pytest.raises(TableError, match="holds a table of encoder"):
        embed_shop(other, little_shop, out)


def test_pictures_only_leaves_out_what_has_none(encoder, little_shop, tmp_path):
    items, _ = embed_shop(encoder, little_shop, tmp_path, modality="image", precision="int8")
    assert 107 not in items.ids and len(items) == 47
    assert str(items.vectors.dtype) == "int8"


def test_the_command(encoder_path, little_shop, tmp_path, capsys):
    main([str(little_shop.path), "--encoder", str(encoder_path), "--out", str(tmp_path / "tables")])
    searches = little_shop.searches.select(pl.len()).collect().item()
    assert capsys.readouterr().out.startswith(f"48 items and {searches} queries, 32 wide")
