"""Opening a table: random damage is found, large files are read once and whatever changes is read again."""

import json
import os

import numpy as np
import pytest

from moon_rec import EmbeddingTable, vector_checks
from moon_rec.errors import TableError
from moon_rec.table_writer import write_table

IDS = np.arange(60) * 3 - 20
VECTORS = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)


def saved(folder, precision="float32", **options):
    table = EmbeddingTable.from_arrays(IDS, VECTORS, precision=precision, **options)
    table.save(folder / "table")
    return table


def same(one, other) -> bool:
    """Whether two tables give the same vectors for the same ids."""
    return np.array_equal(one.ids, other.ids) and np.array_equal(
        one.lookup(IDS)[0], other.lookup(IDS)[0]
    )


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_no_byte_of_the_file_changes_unseen(tmp_path, precision):
    """120 random bytes, in the header or in the data: refused in a line, or (a blank of the padding) nothing is changed by it."""
    table, random = saved(tmp_path, precision), np.random.default_rng(1)
    file = tmp_path / "table" / "table.safetensors"
    good, num_refused = file.read_bytes(), 0
    places = np.concatenate([random.integers(0, 250, 40), random.integers(0, len(good), 80)])
    for place in places:
        bad = bytearray(good)
        bad[place] = (bad[place] + random.integers(1, 256)) % 256
        file.write_bytes(bad)
        try:
            assert same(EmbeddingTable.open(tmp_path / "table"), table)
        except TableError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
            num_refused += 1
    assert num_refused >= 115


def test_no_byte_of_table_json_ends_in_a_traceback(tmp_path):
    """What is not refused says the same of the vectors; names of encoder and shop are only what they are."""
    table, random = saved(tmp_path, encoder="e", shop="s", widths=(2, 5)), np.random.default_rng(2)
    file = tmp_path / "table" / "table.json"
    good = file.read_bytes()
    for place in random.integers(0, len(good), 150):
        bad = bytearray(good)
        bad[place] = random.integers(0, 256)
        file.write_bytes(bad)
        try:
            opened = EmbeddingTable.open(tmp_path / "table")
        except TableError as error:
            assert "\n" not in str(error)
        else:
            assert same(opened, table) and opened.digest == table.digest


@pytest.mark.parametrize("piece", [1, 64, 1 << 23])
@pytest.mark.parametrize("row", [0, 17, 59])
def test_rows_are_named_whatever_the_piece(tmp_path, monkeypatch, piece, row):
    monkeypatch.setattr(vector_checks, "PIECE_BYTES", piece)
    table = saved(tmp_path)
    assert same(EmbeddingTable.open(tmp_path / "table"), table)
    file = tmp_path / "table" / "table.safetensors"
    content = file.read_bytes()
    nan = np.full(5, np.nan, np.float32).tobytes()
    file.write_bytes(content.replace(VECTORS[row].tobytes(), nan))
    with pytest.raises(TableError, match=rf"vectors row {row} \(id {IDS[row]}\) holds nan"):
        EmbeddingTable.open(tmp_path / "table")
    file.write_bytes(content.replace(IDS[row : row + 1].tobytes(), IDS[:1].tobytes()))
    message = f"id {IDS[0]} follows" if row > 1 else "id"
    if row:
        with pytest.raises(TableError, match=rf"ids row {row}: {message}"):
            EmbeddingTable.open(tmp_path / "table")


def test_a_large_file_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_checks, "KEPT_FROM", 0)
    reads, check = [], vector_checks._check_data
    monkeypatch.setattr(
        vector_checks, "_check_data", lambda *given: (reads.append(given), check(*given))
    )
    write_table(tmp_path / "written", IDS, [VECTORS], 5, precision="float32")
    saved(tmp_path)
    EmbeddingTable.open(tmp_path / "table")
    assert reads == []  # just written by us
    vector_checks._SEEN.clear()
    for _ in range(3):
        EmbeddingTable.open(tmp_path / "table")
    assert len(reads) == 1
    file = tmp_path / "table" / "table.safetensors"
    times, content = os.stat(file), file.read_bytes()
    with open(file, "r+b") as opened:  # the same inode, size and time of change
        opened.write(content[:-4] + bytes(4))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(TableError, match=r"table\.json says"):
        EmbeddingTable.open(tmp_path / "table")


def test_another_digest_is_not_what_was_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_checks, "KEPT_FROM", 0)
    saved(tmp_path)
    EmbeddingTable.open(tmp_path / "table")
    about = tmp_path / "table" / "table.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"digest": "0" * 16}))
    with pytest.raises(TableError, match=r"table\.json says 0000000000000000"):
        EmbeddingTable.open(tmp_path / "table")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_what_would_not_open_is_not_written(tmp_path, precision):
    vectors = VECTORS.copy()
    vectors[7] = 0
    message = rf"vectors row 7 \(id {IDS[7]}\) is all zeros"
    with pytest.raises(TableError, match=message):
        EmbeddingTable.from_arrays(IDS, vectors, precision=precision).save(tmp_path / "table")
    with pytest.raises(TableError, match=message):
        write_table(tmp_path / "table", IDS, [vectors[:5], vectors[5:]], 5, precision=precision)
    assert list(tmp_path.iterdir()) == []


def test_numbers_beyond_a_precision_are_refused():
    for value, precision in ((-70_000, "float16"), (1e39, "float32")):
        with pytest.raises(TableError, match=f"the most of {precision}"):
            EmbeddingTable.from_arrays(np.array([1]), np.array([[1.0, value]]), precision=precision)


def test_tables_of_before_say_no_kind(tmp_path):
    saved(tmp_path, kind="items")
    assert EmbeddingTable.open(tmp_path / "table").kind == "items"
    about = tmp_path / "table" / "table.json"
    values = json.loads(about.read_text())
    del values["kind"], values["grown_from"]
    about.write_text(json.dumps(values))
    assert EmbeddingTable.open(tmp_path / "table").kind == ""
