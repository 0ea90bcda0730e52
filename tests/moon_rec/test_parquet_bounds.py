"""What a Parquet file may decode to is told from its footer and the headers of its dictionaries, without reading columns that are harmless."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from moon_rec import parquet_bounds
from moon_rec.parquet_bounds import bomb

ENTRIES = ["a" * 100, "b" * 50]
BYTES = 100 + 50 + 2 * 4
"""Of their dictionary: each entry after its length (parquet-format, Plain encoding)."""


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "zstd"])
def test_the_bytes_of_a_dictionary_are_those_of_its_entries(tmp_path, codec):
    pq.write_table(pa.table({"text": ENTRIES * 1000}), tmp_path / "x.parquet", compression=codec)
    assert parquet_bounds._dictionary_bytes(tmp_path / "x.parquet", _chunk(tmp_path)) == BYTES


def test_so_are_those_that_polars_writes(tmp_path):
    pl.DataFrame({"text": ENTRIES * 1000}).write_parquet(tmp_path / "x.parquet")
    assert parquet_bounds._dictionary_bytes(tmp_path / "x.parquet", _chunk(tmp_path)) == BYTES


@pytest.mark.parametrize("header", [b"", b"\x15", b"\x15\x04\x15\xff\xff\xff", b"\x15\x00\x15\x02", b"\x16\x04\x15\x02"])  # fmt: skip
def test_a_header_that_is_none_counts_as_the_whole_chunk(tmp_path, header):
    """Cut off, endless, of a page of values, of another type: nothing is believed."""
    pq.write_table(pa.table({"text": ENTRIES * 1000}), tmp_path / "x.parquet")
    chunk = _chunk(tmp_path)
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    place = chunk.dictionary_page_offset
    data[place:] = header
    (tmp_path / "x.parquet").write_bytes(bytes(data))
    assert parquet_bounds._dictionary_bytes(tmp_path / "x.parquet", chunk) == chunk.total_uncompressed_size  # fmt: skip


@pytest.mark.parametrize("small", [1 << 10, 1 << 26])
def test_texts_are_counted_alike_in_both_ways(tmp_path, monkeypatch, small):
    """As dictionaries where the chunk is small, in small batches where it is not; nested texts always as dictionaries."""
    random = np.random.default_rng(0)
    texts = [random.bytes(int(size)) for size in random.integers(0, 3_000, 500)] * 3
    table = pa.table({"image": texts, "list": [[one, None, one] for one in texts], "gap": [None, *texts[1:]]})  # fmt: skip
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=700)
    monkeypatch.setattr(parquet_bounds, "_SMALL_BYTES", small)
    for name, times in {"image": 1, "list.list.element": 2, "gap": 1}.items():
        suspects = [
            parquet_bounds._Suspect(group, name, rows, 1 << 20, 1 << 20)
            for group, rows in enumerate((700, 700, 100))
        ]
        found = parquet_bounds._in_dictionaries(tmp_path / "x.parquet", suspects, 1 << 30)
        lost = len(texts[0]) if name == "gap" else 0
        assert found >= times * sum(map(len, texts)) - lost
        assert found <= times * sum(map(len, texts)) + 16 * 3 * len(texts)  # offsets and gaps


def test_pictures_are_counted_in_memory_of_a_few(tmp_path, monkeypatch):
    """600 pictures of 200 kB: as a dictionary they would all lie in memory at once, 120 MB."""
    random = np.random.default_rng(0)
    pictures = [random.bytes(200_000) for _ in range(600)]
    pq.write_table(pa.table({"image": pictures}), tmp_path / "x.parquet", compression="none", dictionary_pagesize_limit=1 << 20, write_batch_size=4)  # fmt: skip
    chunk = _chunk(tmp_path)
    assert parquet_bounds._dictionary_bytes(tmp_path / "x.parquet", chunk) < 3 << 20
    one = parquet_bounds._Suspect(0, "image", 600, chunk.total_uncompressed_size, 3 << 20)
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in parquet_bounds._batches(tmp_path / "x.parquet", one))  # fmt: skip
    assert most < 40 << 20


def test_one_long_text_in_every_row_is_found(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["a" * 10_000] * 10_000}), tmp_path / "x.parquet")
    monkeypatch.setattr(parquet_bounds, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_bounds, "MOST_TIMES", 10)
    assert "would be texts of more than" in bomb(tmp_path / "x.parquet")


def _chunk(folder: Path) -> pq.ColumnChunkMetaData:
    return pq.ParquetFile(folder / "x.parquet").metadata.row_group(0).column(0)
