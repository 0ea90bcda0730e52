"""Vectors of any file become the table that EmbeddingTable itself would make of them, or one line says why not."""

import gzip

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from moon_rec import EmbeddingTable
from moon_rec.command import run
from moon_rec.errors import TableError
from representation import bring
from representation.bring import bring_vectors, main
from representation.storage import vector_files


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(vector_files, "CHUNK", 4)


def arrays(seed=0, rows=11, dim=3):
    random = np.random.default_rng(seed)
    return random.permutation(100)[:rows], random.normal(size=(rows, dim)).astype(np.float32)


def as_lists(path, ids, vectors, kind=None):
    kind = kind or pa.list_(pa.float32())
    values = [None if row is None else list(map(float, row)) for row in vectors]
    pq.write_table(pa.table({"item_id": ids, "vector": pa.array(values, kind)}), path)
    return {}


def as_columns(path, ids, vectors):
    columns = {f"v{number}": vectors[:, number] for number in range(vectors.shape[1])}
    pl.DataFrame({"id": ids, **columns}).write_parquet(path)
    return {}


def as_npy(path, ids, vectors):
    np.save(path, vectors)
    np.save(path.with_name("ids.npy"), ids)
    return {"ids": path.with_name("ids.npy")}


def as_npy_with_parquet_ids(path, ids, vectors):
    np.save(path, vectors)
    pl.DataFrame({"item_id": ids}).write_parquet(path.with_name("ids.parquet"))
    return {"ids": path.with_name("ids.parquet")}


def as_safetensors(path, ids, vectors):
    save_file({"ids": ids, "vectors": vectors}, path)
    return {}


def as_csv(path, ids, vectors):
    columns = {f"v{place}": vectors[:, place].astype(float) for place in range(vectors.shape[1])}
    pl.DataFrame({"price": ids * 0.5, "id": ids, **columns}).write_csv(path)
    return {}


def as_texts(path, ids, vectors, separator=",", brackets="[]", between=", "):
    """A column of lists as text, in quotes where the delimiter stands in it; packed where the name says so."""
    rows = [
        brackets[:1] + between.join(map(str, map(float, row))) + brackets[1:] for row in vectors
    ]
    text = pl.DataFrame({"item_id": ids, "vector": rows}).write_csv(separator=separator)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return {}


def as_csv_with_ids_beside(path, ids, vectors):
    as_csv(path, ids, vectors)
    pl.read_csv(path).drop("id").write_csv(path)
    pl.DataFrame({"item_id": ids}).write_csv(path.with_name("ids.csv"))
    return {"ids": path.with_name("ids.csv")}


WRITERS = {
    "CSV of columns": (as_csv, ".csv"),
    "CSV of lists": (as_texts, ".csv"),
    "CSV, ids beside": (as_csv_with_ids_beside, ".csv"),
    "TSV of numbers, packed": (lambda *file: as_texts(*file, "\t", "", " "), ".tsv.gz"),
    "semicolons": (lambda *file: as_texts(*file, ",", "", ";"), ".txt"),
    "lists": (as_lists, ".parquet"),
    "arrays": (
        lambda path, ids, rows: as_lists(path, ids, rows, pa.list_(pa.float32(), 3)),
        ".parquet",
    ),
    "large lists": (
        lambda path, ids, rows: as_lists(path, ids, rows, pa.large_list(pa.float64())),
        ".parquet",
    ),
    "columns": (as_columns, ".parquet"),
    "npy": (as_npy, ".npy"),
    "npy, ids in Parquet": (as_npy_with_parquet_ids, ".npy"),
    "safetensors": (as_safetensors, ".safetensors"),
}


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_file_makes_the_same_table(tmp_path, name, precision, in_order):
    ids, vectors = arrays()
    ids = np.sort(ids) if in_order else ids
    write, ending = WRITERS[name]
    path = tmp_path / f"mine{ending}"
    options = write(path, ids, vectors)
    brought = bring_vectors(path, tmp_path / "table", precision=precision, widths=(2, 3), **options)
    wanted = EmbeddingTable.from_arrays(ids, vectors, precision=precision)
    opened = EmbeddingTable.open(tmp_path / "table")
    assert brought.table.digest == opened.digest == wanted.digest
    assert opened.widths == (2, 3) and brought.num_left_out == 0
    lengths = np.linalg.norm(vectors, axis=1)
    assert (brought.shortest, brought.longest) == pytest.approx((lengths.min(), lengths.max()))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(-30, 18))
def test_normalised_vectors_have_length_one(tmp_path_factory, seed, power):
    path = tmp_path_factory.mktemp("normal") / "mine.npy"
    ids, vectors = arrays(seed)
    scaled = vectors.astype(np.float64) * 10.0**power
    options = as_npy(path, ids, scaled)
    table = bring_vectors(path, path.with_name("table"), normalise=True, **options).table
    kept, present = table.lookup(ids)
    assert present.all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(kept, unit, atol=1e-6)


def test_whole_numbers_in_csv_take_their_scale(tmp_path):
    (tmp_path / "mine.csv").write_text("item_id,v0,v1\n1,3,-4\n2,0,1\n")
    with pytest.raises(TableError, match="holds whole numbers; give the --scale"):
        bring_vectors(tmp_path / "mine.csv", tmp_path / "table")
    table = bring_vectors(tmp_path / "mine.csv", tmp_path / "table", scale=0.5).table
    assert table.lookup(np.array([1, 2]))[0].tolist() == [[1.5, -2.0], [0.0, 0.5]]


def test_ids_in_csv_are_the_shops_own_texts(tmp_path):
    """ "007" is not "7", and a shop that keeps its user's own ids knows both."""
    (tmp_path / "mine.csv").write_text("item_id,v0,v1\n007,.5,1\n7,1,.25\nx,1,1\n")
    source = vector_files.open_vectors(tmp_path / "mine.csv")
    assert source.written_ids().to_list() == ["007", "7", "x"] and source.ids_are_text


def test_a_missing_number_in_csv_is_left_out_by_row_and_counted(tmp_path, capsys):
    (tmp_path / "mine.csv").write_text("item_id,v0,v1\n1,.5,1\n2,NA,1\n3,,1\n\n4,1,.5\n")
    with pytest.raises(TableError, match=r"row 1 \(id 2\) holds NaN, null .* 2 of 4 vectors"):
        bring_vectors(tmp_path / "mine.csv", tmp_path / "table")
    brought = bring_vectors(tmp_path / "mine.csv", tmp_path / "table", leave_out=True)
    assert brought.num_left_out == 2 and brought.table.ids.tolist() == [1, 4]
    assert "2 vectors left out" in capsys.readouterr().err


def test_whole_numbers_take_their_scale(tmp_path):
    ids, _ = arrays()
    codes = np.random.default_rng(1).integers(-127, 128, (11, 3)).astype(np.int8)
    path = tmp_path / "mine.npy"
    options = as_npy(path, ids, codes)
    with pytest.raises(TableError, match="holds whole numbers; give the --scale"):
        bring_vectors(path, tmp_path / "table", **options)
    table = bring_vectors(path, tmp_path / "table", scale=0.5, **options).table
    np.testing.assert_array_equal(table.lookup(ids)[0], codes * np.float32(0.5))


def test_bfloat16_and_a_tensor_by_name(tmp_path):
    ids, vectors = arrays()
    path = tmp_path / "mine.safetensors"
    tensors = {"ids": torch.from_numpy(ids), "rows": torch.from_numpy(vectors).bfloat16()}
    save_torch(tensors, path)
    with pytest.raises(TableError, match="no tensor 'vectors'; it has ids, rows"):
        bring_vectors(path, tmp_path / "table")
    table = bring_vectors(path, tmp_path / "table", tensor="rows").table
    np.testing.assert_array_equal(table.lookup(ids)[0], tensors["rows"].float().numpy())


@pytest.mark.parametrize("name", ["lists", "columns", "npy", "safetensors"])
@pytest.mark.parametrize(
    "value, told",
    [
        (np.nan, "holds NaN, null or a number beyond float32"),
        (-np.inf, "holds NaN, null or a number beyond float32"),
        (0.0, "is all zeros"),
    ],
)
def test_a_faulty_vector_is_named_or_left_out_on_request(tmp_path, capsys, name, value, told):
    ids, vectors = arrays()
    vectors[6] = value if value == 0 else [1, value, 1]
    vectors[9] = 0
    write, ending = WRITERS[name]
    path = tmp_path / f"mine{ending}"
    options = write(path, ids, vectors)
    with pytest.raises(TableError) as error:
        bring_vectors(path, tmp_path / "table", **options)
    assert f"row 6 (id {ids[6]}) {told}" in str(error.value)
    assert "2 of 11 vectors are faulty" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "table").exists()
    brought = bring_vectors(path, tmp_path / "table", leave_out=True, **options)
    good = np.delete(np.arange(11), [6, 9])
    assert brought.num_left_out == 2
    assert brought.table.digest == EmbeddingTable.from_arrays(ids[good], vectors[good]).digest
    assert "2 vectors left out" in capsys.readouterr().err


def test_what_float16_cannot_hold_is_named(tmp_path):
    ids, vectors = arrays()
    vectors[2, 1], vectors[4] = 70_000, 1e-9
    options = as_npy(tmp_path / "mine.npy", ids, vectors)
    give = (tmp_path / "mine.npy", tmp_path / "table")
    with pytest.raises(TableError, match=rf"row 2 \(id {ids[2]}\) holds a value over 65,504"):
        bring_vectors(*give, precision="float16", **options)
    brought = bring_vectors(*give, precision="float16", leave_out=True, **options)
    assert brought.num_left_out == 2
    assert np.isfinite(brought.table.take(np.arange(9))).all()


def test_null_vectors_and_nulls_within_are_named(tmp_path):
    ids, vectors = arrays()
    rows = vectors.tolist()
    rows[5] = None
    as_lists(tmp_path / "mine.parquet", ids, rows)
    with pytest.raises(TableError, match=rf"row 5 \(id {ids[5]}\) holds NaN, null"):
        bring_vectors(tmp_path / "mine.parquet", tmp_path / "table")
    frame = pl.DataFrame({"id": ids, "a": [None, *vectors[1:, 0]], "b": vectors[:, 1]})
    frame.write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(TableError, match=rf"row 0 \(id {ids[0]}\) holds NaN, null"):
        bring_vectors(tmp_path / "mine.parquet", tmp_path / "table", vector_columns=["a", "b"])


def test_lists_of_two_lengths_are_named(tmp_path):
    ids, vectors = arrays()
    rows = [*vectors.tolist()[:7], [1.0], *vectors.tolist()[8:]]
    as_lists(tmp_path / "mine.parquet", ids, rows)
    with pytest.raises(TableError, match="row 7: a vector of 1 numbers, the others have 3"):
        bring_vectors(tmp_path / "mine.parquet", tmp_path / "table")


def frame(**columns):
    ids, vectors = arrays(rows=4)
    return pl.DataFrame({"item_id": ids, "vector": vectors.tolist(), **columns})


@pytest.mark.parametrize(
    "made, options, message",
    [
        (frame(item_id=[1, 2, 1, 3]), {}, r"id 1 is in rows 0 and 2 \(1 such\)"),
        (frame(item_id=[1, None, 4, 3]), {}, "item_id row 1: None is null"),
        (
            frame(item_id=["a", "b", "c", "d"]),
            {},
            "item_id row 0: 'a' is String, wanted whole numbers",
        ),
        (frame().drop("item_id"), {}, "no column item_id or search_id or id; it has vector"),
        (frame(), {"id_column": "sku"}, "no column sku; it has item_id, vector"),
        (frame(other=[[1.0]] * 4), {}, "which column holds the vectors"),
        (frame().drop("vector"), {}, "which column holds the vectors"),
        (frame(), {"vector_columns": ["x"]}, "has no column 'x'"),
        (frame(vector=[[1, 2]] * 4), {}, "holds whole numbers"),
        (frame(vector=[[1, 2]] * 4), {"scale": -1.0}, "scale is -1.0: wanted a number above 0"),
        (frame(vector=[None] * 4).cast({"vector": pl.List(pl.Float32)}), {}, "holds no vector"),
        (frame().head(0), {}, "holds no vector"),
        (frame(), {"widths": (2, 4)}, "must rise and end at the vectors' dim 3"),
        (
            frame(item_id=pl.Series([2**63, 1, 2, 3], dtype=pl.UInt64)),
            {},
            "item_id row 0: 9223372036854775808 does not fit",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, made, options, message):
    made.write_parquet(tmp_path / "mine.parquet")
    with pytest.raises(TableError, match=message):
        bring_vectors(tmp_path / "mine.parquet", tmp_path / "table", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.parquet"]


def test_files_that_are_not_what_they_say(tmp_path):
    out = tmp_path / "table"
    for ending in (".parquet", ".npy", ".safetensors"):
        path = tmp_path / f"broken{ending}"
        with pytest.raises(TableError, match="no file of vectors"):
            bring_vectors(path, out)
        path.write_bytes(b"not that at all")
        with pytest.raises(TableError, match=r"cannot be read|is no safetensors"):
            bring_vectors(path, out)
    (tmp_path / "mine.xlsx").write_text("1,2")
    with pytest.raises(TableError, match=r"ends in '\.xlsx'"):
        bring_vectors(tmp_path / "mine.xlsx", out)
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    with pytest.raises(TableError, match="cannot be read as an array of numbers"):
        bring_vectors(tmp_path / "objects.npy", out)
    np.save(tmp_path / "mine.npy", np.ones((3, 2)))
    with pytest.raises(TableError, match="holds no ids"):
        bring_vectors(tmp_path / "mine.npy", out)
    np.save(tmp_path / "ids.npy", np.arange(4))
    with pytest.raises(TableError, match="3 vectors and there are 4 ids"):
        bring_vectors(tmp_path / "mine.npy", out, ids=tmp_path / "ids.npy")
    np.save(tmp_path / "flat.npy", np.ones(3))
    with pytest.raises(TableError, match=r"must be \(rows, dim\), got \(3,\)"):
        bring_vectors(tmp_path / "flat.npy", out, ids=tmp_path / "ids.npy")


def test_the_command_reports_coverage(little_shop, tmp_path, capsys):
    ids = np.array([9_999, *range(100, 140)])
    vectors = np.random.default_rng(0).normal(size=(41, 5))
    path = tmp_path / "mine.parquet"
    as_columns(path, ids, vectors)
    given = [str(path), "--out", str(tmp_path / "items"), "--shop", str(little_shop.path)]
    main([*given, "--normalise", "--encoder", "mine"])
    said = capsys.readouterr()
    assert "41 vectors, 5 wide, float32" in said.out
    assert "coverage of little: 40 of 48 items (83.3%)" in said.out
    assert "8 of 48 items of the shop have no vector, such as 140, 141, 142" in said.err
    assert "1 ids are not in the shop's items" in said.err
    table = EmbeddingTable.open(tmp_path / "items")
    assert (table.encoder, table.shop) == ("mine", little_shop.digest)
    np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), 1, atol=1e-6)
    assert run(main, given) == 2
    assert "exists already" in capsys.readouterr().err
    as_columns(path, ids + 10_000, vectors)
    assert run(main, [*given[:2], str(tmp_path / "other"), *given[3:]]) == 2
    assert (
        "none of the 41 ids (first 19999) is among the item_id of shop little"
        in capsys.readouterr().err
    )


def test_a_table_of_brought_vectors_is_measured(little_shop, tmp_path):
    """Straight into the evaluation, items and searches from two files of one model."""
    from representation.metrics.shop_metrics import measure_shop

    random = np.random.default_rng(0)
    tables = []
    for kind, name, key in (("items", "items", "item_id"), ("queries", "searches", "search_id")):
        ids = little_shop.table(name).select(key).collect()[key].to_numpy()
        path = tmp_path / f"{kind}.parquet"
        pl.DataFrame({key: ids, "v": random.normal(size=(len(ids), 6)).tolist()}).write_parquet(
            path
        )
        brought = bring_vectors(path, tmp_path / kind, encoder="mine", shop=little_shop, kind=kind)
        assert brought.num_covered == brought.num_wanted == len(ids)
        tables.append(brought.table)
    measured = measure_shop(little_shop, *tables, ks=(10,))
    assert 0 < measured["image_search_recall@10"].value < 1


def test_memory_is_that_of_chunks(tmp_path, monkeypatch):
    """No array of all vectors is made: the largest handed to the writer is a chunk."""
    seen = []
    write_table = bring.write_table

    def watched(out, ids, chunks, dim, **options):
        def each():
            for chunk in chunks:
                seen.append(len(chunk))
                yield chunk

        return write_table(out, ids, each(), dim, **options)

    monkeypatch.setattr(bring, "write_table", watched)
    ids, vectors = arrays(rows=50)
    options = as_npy(tmp_path / "mine.npy", np.sort(ids), vectors)
    bring_vectors(tmp_path / "mine.npy", tmp_path / "table", **options)
    assert max(seen) == 4 and sum(seen) == 50


@pytest.mark.parametrize(
    "change",
    [
        lambda vectors: vectors.astype(">f4"),
        lambda vectors: vectors.astype(">f8"),
        np.asfortranarray,
        lambda vectors: vectors.astype(np.longdouble),
    ],
    ids=["big-endian", "big-endian float64", "Fortran order", "long double"],
)
@pytest.mark.parametrize("ids_as", [">i8", "<i2", "u1", "f8", "f4"])
def test_any_layout_of_an_array_makes_the_same_table(tmp_path, change, ids_as):
    ids, vectors = arrays()
    np.save(tmp_path / "mine.npy", change(vectors))
    np.save(tmp_path / "ids.npy", ids.astype(ids_as))
    brought = bring_vectors(tmp_path / "mine.npy", tmp_path / "table", ids=tmp_path / "ids.npy")
    assert brought.table.digest == EmbeddingTable.from_arrays(ids, vectors).digest


def test_numbered_columns_are_read_by_their_numbers(tmp_path):
    """Whatever their order in the file: items and queries would otherwise not agree on what a dimension is."""
    ids, vectors = arrays(dim=12)
    columns = {f"e_{number}": vectors[:, number] for number in np.random.permutation(12)}
    pl.DataFrame({"price": vectors[:, 0], "search_id": ids, **columns}).write_parquet(
        tmp_path / "mine.parquet"
    )
    brought = bring_vectors(tmp_path / "mine.parquet", tmp_path / "table")
    assert brought.table.digest == EmbeddingTable.from_arrays(ids, vectors).digest


@pytest.mark.parametrize(
    ("column", "given", "kind"),
    [
        ("item_id", None, "items"),
        ("search_id", None, "queries"),
        ("id", None, ""),
        ("id", "queries", "queries"),
    ],
)
def test_whose_ids_they_are_is_known_by_their_column(tmp_path, column, given, kind):
    ids, vectors = arrays()
    pl.DataFrame({column: ids, "v": vectors.tolist()}).write_parquet(tmp_path / "mine.parquet")
    bring_vectors(tmp_path / "mine.parquet", tmp_path / "table", kind=given)
    assert EmbeddingTable.open(tmp_path / "table").kind == kind
