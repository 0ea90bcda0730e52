"""EmbeddingTable: lookup against a dictionary, storage, controls and the errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec import EmbeddingTable
from moon_rec.errors import MoonRecError, TableError


def make(items=50, dim=8, seed=0, **options):
    random = np.random.default_rng(seed)
    ids = random.permutation(items * 3)[:items].astype(np.int64)
    return ids, *_table(ids, random.normal(size=(items, dim)).astype(np.float32), options)


def _table(ids, vectors, options):
    return vectors, EmbeddingTable.from_arrays(ids, vectors, **options)


@given(st.lists(st.integers(-5, 40), unique=True, max_size=20), st.integers(0, 99))
def test_lookup_equals_a_dictionary(ids, seed):
    vectors = np.random.default_rng(seed).normal(size=(len(ids), 3)).astype(np.float32)
    table = EmbeddingTable.from_arrays(np.array(ids, dtype=np.int64), vectors)
    asked = np.arange(-6, 42).reshape(4, 12)
    found, present = table.lookup(asked)
    known = dict(zip(ids, vectors, strict=True))
    for place, one in np.ndenumerate(asked):
        assert present[place] == (one in known)
        np.testing.assert_array_equal(found[place], known.get(one, np.zeros(3)))


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 0), ("float16", 2e-3), ("int8", 2e-2)]
)
def test_save_and_open_give_the_same_table(tmp_path, precision, tolerance):
    ids, vectors, table = make(precision=precision, widths=(4, 8), encoder="e", shop="s")
    table.save(tmp_path / "table")
    again = EmbeddingTable.open(tmp_path / "table")
    assert (again.digest, again.widths, again.encoder, again.shop, again.dim) == (
        table.digest, (4, 8), "e", "s", 8,
    )  # fmt: skip
    assert isinstance(again.vectors, np.memmap)
    np.testing.assert_array_equal(again.lookup(ids)[0], table.lookup(ids)[0])
    np.testing.assert_allclose(again.lookup(ids)[0], vectors, atol=tolerance)


def test_the_digest_ignores_row_order_and_sees_a_changed_value():
    ids, vectors, table = make()
    order = np.random.default_rng(1).permutation(len(ids))
    assert EmbeddingTable.from_arrays(ids[order], vectors[order]).digest == table.digest
    vectors[3, 2] += 1e-3
    assert EmbeddingTable.from_arrays(ids, vectors).digest != table.digest


def test_permuting_keeps_the_vectors_and_moves_nearly_all():
    ids, vectors, table = make(items=400)
    control = table.permuted(seed=3)
    np.testing.assert_array_equal(np.sort(control.vectors, axis=0), np.sort(table.vectors, axis=0))
    same = (control.lookup(ids)[0] == vectors).all(axis=1).mean()
    assert same < 0.02 and control.digest != table.digest


def test_narrow_takes_a_prefix_at_unit_length():
    ids, vectors, table = make(widths=(2, 8))
    narrow = table.narrow(2).lookup(ids)[0]
    wanted = vectors[:, :2] / np.linalg.norm(vectors[:, :2], axis=1, keepdims=True)
    np.testing.assert_allclose(narrow, wanted, rtol=1e-5)
    with pytest.raises(TableError, match="width 3 was not trained"):
        table.narrow(3)


def test_an_empty_table_knows_nothing(tmp_path):
    table = EmbeddingTable.from_arrays(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    table.save(tmp_path / "empty")
    vectors, present = EmbeddingTable.open(tmp_path / "empty").lookup(np.array([1, 2]))
    assert not present.any() and vectors.shape == (2, 4)


@pytest.mark.parametrize(
    ("ids", "vectors", "expected"),
    [
        ([1, 1], [[1.0], [2.0]], "id 1 has two vectors"),
        ([1, 2], [[1.0], [np.nan]], r"id 2 \(row 1\) holds NaN"),
        ([1, 2], [[1.0]], "2 rows"),
        ([1.0, 2.0], [[1.0], [2.0]], "ids must be integers"),
        ([1, 2], [[1], [2]], "floating point"),
    ],
)
def test_wrong_arrays_are_named(ids, vectors, expected):
    with pytest.raises(TableError, match=expected):
        EmbeddingTable.from_arrays(np.array(ids), np.array(vectors))


def test_a_missing_or_cut_table_is_named(tmp_path):
    with pytest.raises(TableError, match="no embedding table at"):
        EmbeddingTable.open(tmp_path / "absent")
    make()[2].save(tmp_path / "table")
    file = tmp_path / "table" / "table.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TableError, match="cut short"):
        EmbeddingTable.open(tmp_path / "table")
    with pytest.raises(MoonRecError, match="exists already"):
        make()[2].save(tmp_path / "table")


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_extended_table_keeps_the_bits_and_names_what_it_grew_from(tmp_path, precision):
    ids, _, table = make(precision=precision)
    random = np.random.default_rng(7)
    new = np.array([-3, 1000, 75_000])
    larger = table.extended(new, random.normal(size=(3, 8)))
    np.testing.assert_array_equal(larger.lookup(ids)[0], table.lookup(ids)[0])
    assert larger.lookup(new)[1].all() and (np.diff(larger.ids) > 0).all()
    again = larger.extended(np.array([-9]), random.normal(size=(1, 8)))
    again.save(tmp_path / "again")
    again = EmbeddingTable.open(tmp_path / "again")
    assert all(again.extends(one.digest) for one in (table, larger, again))
    assert not table.extends(larger.digest) and not larger.extends(again.digest)
    assert not again.extends("") and not make(seed=5)[2].extends(table.digest)


def test_an_extension_that_came_another_way_is_compared(tmp_path):
    ids, vectors, table = make()
    more, longer = np.append(ids, 9999), np.append(vectors, vectors[:1], axis=0)
    other = EmbeddingTable.from_arrays(more, longer)
    assert not other.extends(table.digest)
    assert other.extending(table).extends(table.digest)
    longer[3, 2] += 1e-6
    with pytest.raises(TableError, match=rf"no extension of table {table.digest}.*id {ids[3]}\)"):
        EmbeddingTable.from_arrays(more, longer).extending(table)
    absent = EmbeddingTable.from_arrays(more[1:], np.append(vectors, vectors[:1], axis=0)[1:])
    with pytest.raises(TableError, match=rf"first: id {ids[0]}\)"):
        absent.extending(table)


def test_extensions_that_do_not_fit_are_named():
    ids, _, table = make()
    with pytest.raises(TableError, match=f"id {ids[4]} has a vector already"):
        table.extended(ids[4:5], np.ones((1, 8)))
    with pytest.raises(TableError, match="dim 3, the table 8"):
        table.extended(np.array([-1]), np.ones((1, 3)))


def test_a_control_of_a_table_extends_nothing():
    table = make()[2].extended(np.array([-1]), np.ones((1, 8)))
    assert table.permuted().grown_from == table.narrow(8).grown_from == ()
