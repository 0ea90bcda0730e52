"""Embedding a shop: whole, resumable, with any encoder, and never mixing encoders."""

import hashlib
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from moon_rec import EmbeddingTable
from moon_rec.errors import EncoderError, ShopError, TableError
from moon_rec.shop import Shop, ShopWriter
from representation.embed import embed_shop, main
from representation.encoder import ProductEncoder, build_encoder
from representation.storage import shards


class StandIn:
    """An encoder that costs nothing: a row's vector is a hash of what is shown of it."""

    dim, widths = 4, (2, 4)

    def __init__(self, *modalities: str):
        self.modalities = frozenset(modalities or ("text", "image"))
        self.sizes: list[int] = []
        self.stop_after: int | None = None

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(sorted(self.modalities)).encode()).hexdigest()[:16]

    def encode_items(self, frame, modality="both", batch_size=256, progress=True):
        names = {"both": ["title", "image"], "text": ["title"], "image": ["image"]}[modality]
        return self._vectors(frame.select(names))

    def encode_queries(self, frame, batch_size=256, progress=True):
        names = {"text": "query_text", "image": "query_image"}
        return self._vectors(frame.select([names[name] for name in sorted(self.modalities)]))

    def _vectors(self, frame: pl.DataFrame) -> np.ndarray:
        if self.stop_after == len(self.sizes):
            self.stop_after = None
            raise KeyboardInterrupt
        self.sizes.append(frame.height)
        hashes = [hashlib.sha256(repr(row).encode()).digest()[:4] for row in frame.iter_rows()]
        vectors = np.array([list(each) for each in hashes], dtype=np.float32) + 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def shop_of(items: pl.DataFrame, like: Shop, out) -> Shop:
    """A shop of other items with the searches and impressions of `like`."""
    about = {"name": "other", "source": "made by a test", "is_simulated": True}
    times = {"cut_time": datetime(2025, 1, 10), "test_time": datetime(2025, 1, 15)}
    with ShopWriter(out, **about, **times) as writer:
        writer.write("items", items)
        writer.write("searches", like.searches)
        writer.write("impressions", like.impressions)
    return Shop.open(out)


def test_every_item_and_query_once(encoder, little_shop, tmp_path):
    items, queries = embed_shop(encoder, little_shop, tmp_path, shard_size=100)
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


@pytest.mark.parametrize("stop_after", range(6))
def test_a_stopped_run_goes_on(little_shop, tmp_path, stop_after):
    """Stopped anywhere, only the shards that do not stand are computed again, and the table is the same."""
    whole, _ = embed_shop(StandIn(), little_shop, tmp_path / "whole", shard_size=10)
    stopped = StandIn()
    stopped.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        embed_shop(stopped, little_shop, tmp_path / "out", shard_size=10)
    done = min(stop_after, 5)
    assert stopped.sizes[:done] == [10, 10, 10, 10, 8][:done]
    again = StandIn()
    items, _ = embed_shop(again, little_shop, tmp_path / "out", shard_size=10)
    assert again.sizes[: 5 - done] == [10, 10, 10, 10, 8][done:]
    assert sum(stopped.sizes + again.sizes) == 48 + 240
    assert items.digest == whole.digest
    assert not [path for path in (tmp_path / "out").iterdir() if "shards" in path.name]


def test_shards_of_other_code_are_not_taken_up(little_shop, tmp_path, monkeypatch, capsys):
    stopped = StandIn()
    stopped.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        embed_shop(stopped, little_shop, tmp_path / "out", shard_size=10)
    monkeypatch.setattr("representation.embed.made_by", lambda: {"code": "corrected"})
    again = StandIn()
    embed_shop(again, little_shop, tmp_path / "out", shard_size=10)
    assert again.sizes[:5] == [10, 10, 10, 10, 8]
    told = " ".join(capsys.readouterr().err.split())
    assert "are not taken up: made with another encoder, shop, size of shards, code" in told


def test_a_damaged_shard_is_made_again(little_shop, tmp_path):
    whole, _ = embed_shop(StandIn(), little_shop, tmp_path / "whole", shard_size=10)
    stopped = StandIn()
    stopped.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        embed_shop(stopped, little_shop, tmp_path / "out", shard_size=10)
    first, second, _ = sorted((tmp_path / "out").glob(".items-shards-*/*.safetensors"))
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(b"")
    again = StandIn()
    items, _ = embed_shop(again, little_shop, tmp_path / "out", shard_size=10)
    assert again.sizes[:4] == [10, 10, 10, 8]
    assert items.digest == whole.digest


@pytest.mark.parametrize("row_group", [7, 48])
@pytest.mark.parametrize("shard_size", [5, 16, 100])
def test_the_file_is_read_once_front_to_back(
    little_shop, tmp_path, monkeypatch, row_group, shard_size
):
    """Whatever the row groups, pieces and shards; rows in any order come out by id."""
    monkeypatch.setattr(shards, "PIECE", 6)
    monkeypatch.setattr(shards, "CHUNK", 10)
    frame = little_shop.items.collect().sample(fraction=1, shuffle=True, seed=1)
    shop = shop_of(frame, little_shop, tmp_path / "shop")
    pq.write_table(frame.to_arrow(), shop.path / "items.parquet", row_group_size=row_group)
    shop.manifest.renewed(shop.path).write(shop.path)
    shop = Shop.open(shop.path)
    reads = []
    iter_batches = pq.ParquetFile.iter_batches

    def counted(self, *options):
        reads.append(options)
        return iter_batches(self, *options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    encoder = StandIn()
    items, _ = embed_shop(encoder, shop, tmp_path / "out", shard_size=shard_size)
    groups = [options[1] for options in reads if "title" in options[2]]
    assert groups == [[number] for number in range(-(-48 // row_group))]
    frame = frame.sort("item_id")
    np.testing.assert_array_equal(items.ids, frame["item_id"].to_numpy())
    np.testing.assert_array_equal(items.vectors, encoder.encode_items(frame))


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


def test_pictures_only_leaves_out_what_has_none_and_says_so(little_shop, tmp_path, capsys):
    items, _ = embed_shop(StandIn(), little_shop, tmp_path, modality="image", precision="int8")
    assert 107 not in items.ids and len(items) == 47
    assert str(items.vectors.dtype) == "int8"
    assert "items by image: 1 left out (products without a picture)" in capsys.readouterr().err


def test_an_encoder_of_words_gets_words_alone(little_shop, tmp_path, capsys):
    """Pictures are not even read from the file, and searches by picture alone are left out and counted."""
    encoder = StandIn("text")
    items, queries = embed_shop(encoder, little_shop, tmp_path)
    by_picture = pl.col("query_text").is_null()
    searches = little_shop.searches.filter(~by_picture).sort("search_id").collect()
    np.testing.assert_array_equal(queries.ids, searches["search_id"].to_numpy())
    np.testing.assert_array_equal(queries.vectors, encoder.encode_queries(searches))
    frame = little_shop.items.sort("item_id").collect()
    np.testing.assert_array_equal(items.vectors, encoder.encode_items(frame, "text"))
    assert "queries: 80 left out (searches with nothing in them" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda vectors: vectors * 2, "vector of item_id 100 has length 2, wanted 1"),
        (lambda vectors: vectors * np.nan, "vector of item_id 100 has length nan"),
        (lambda vectors: vectors[1:], r"vectors \(47, 4\) for 48 rows"),
        (lambda vectors: vectors[:, 1:], r"vectors \(48, 3\) for 48 rows"),
    ],
)
def test_an_encoders_fault_is_named(little_shop, tmp_path, change, message):
    class Faulty(StandIn):
        def encode_items(self, *given, **options):
            return change(super().encode_items(*given, **options))

    with pytest.raises(EncoderError, match=message):
        embed_shop(Faulty(), little_shop, tmp_path)
    assert not (tmp_path / "items").exists()


def test_a_broken_picture_stops_the_run_or_is_named_and_left_out(
    encoder, little_shop, tmp_path, capsys
):
    """By a real encoder, which decodes; the other rows of the piece have the vectors they have anyway."""
    frame = little_shop.items.collect()
    broken = pl.when(pl.col("item_id").is_in([103, 120])).then(pl.lit(b"not a picture"))
    shop = shop_of(
        frame.with_columns(image=broken.otherwise("image")), little_shop, tmp_path / "shop"
    )
    with pytest.raises(ShopError, match=r"image of item (103|120): 13 bytes do not decode"):
        embed_shop(encoder, shop, tmp_path / "out")
    items, queries = embed_shop(encoder, shop, tmp_path / "out", leave_out=True)
    assert len(queries) == 240
    sound = frame.filter(~pl.col("item_id").is_in([103, 120])).sort("item_id")
    np.testing.assert_array_equal(items.ids, sound["item_id"].to_numpy())
    wanted = encoder.encode_items(sound, progress=False)
    np.testing.assert_allclose(items.vectors, wanted, atol=1e-5)
    said = capsys.readouterr().err
    assert "left out: image of item_id 103: 13 bytes do not decode" in said
    assert "image of item_id 120" in said
    assert "items: 2 left out (products with a broken picture)" in said


def test_an_id_twice_is_named(little_shop, tmp_path):
    frame = little_shop.items.collect()
    shop = shop_of(pl.concat([frame, frame[5:6]]), little_shop, tmp_path / "shop")
    with pytest.raises(EncoderError, match="item_id 105 is in two rows"):
        embed_shop(StandIn(), shop, tmp_path / "out")


def test_sizes_below_one_are_refused(little_shop, tmp_path):
    with pytest.raises(EncoderError, match="must be at least 1"):
        embed_shop(StandIn(), little_shop, tmp_path, shard_size=0)


def test_the_command(encoder_path, little_shop, tmp_path, capsys):
    main([str(little_shop.path), "--encoder", str(encoder_path), "--out", str(tmp_path / "tables")])
    searches = little_shop.searches.select(pl.len()).collect().item()
    assert capsys.readouterr().out.startswith(f"48 items and {searches} queries, 32 wide")
