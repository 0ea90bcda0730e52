"""The store of frozen vectors: precision, presence, and that nothing is trained or held."""

import numpy as np
import pytest
import torch

from moon_rec.embedding_table import EmbeddingTable
from ranking.behaviour import Behaviours
from ranking.content import ContentStore, ContentStores
from ranking.features import Catalogue, FeatureConfig, RankingTables
from ranking.loader import Loader
from ranking.unit_vectors import unit_vectors

RANDOM = np.random.default_rng(0)
IDS = np.arange(40) * 3
VECTORS = RANDOM.normal(size=(40, 8)).astype(np.float32)
CATALOGUE = Catalogue(np.arange(100), {})


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_batch_has_the_stored_bytes_and_the_device_their_directions(tmp_path, precision):
    table = EmbeddingTable.from_arrays(IDS, VECTORS, precision=precision)
    table.save(tmp_path / "table")
    mapped = EmbeddingTable.open(tmp_path / "table")
    rows = np.array([[0, 3, 5, 100], [3, 3, 99, 99]])
    stored, present = ContentStore(mapped, CATALOGUE).gather(rows)
    assert str(stored.dtype) == f"torch.{precision}" and stored.shape == (2, 4, 8)
    assert present.tolist() == [[True, True, False, False], [True, True, True, True]]
    for one, other in zip(
        (stored, present), ContentStore(table, CATALOGUE).gather(rows), strict=True
    ):
        assert torch.equal(one, other)
    wanted, _ = table.lookup(rows)
    wanted /= np.maximum(np.linalg.norm(wanted, axis=-1, keepdims=True), 1e-9)
    found = unit_vectors(stored)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
    assert not found[~present].any()


def test_a_vector_of_length_zero_is_missing_whenever_it_is_first_asked_for():
    vectors = VECTORS.copy()
    vectors[4] = 0
    store = ContentStore(EmbeddingTable.from_arrays(IDS, vectors), CATALOGUE)
    for rows in ([9, 12, 12, 15], [12, 9, 100], [12]):
        stored, present = store.gather(np.array(rows))
        assert present.tolist() == [row not in (12, 100) for row in rows]
        assert not stored[~present].any()


def test_a_store_holds_no_vector(tmp_path):
    EmbeddingTable.from_arrays(IDS, VECTORS).save(tmp_path / "table")
    store = ContentStore(EmbeddingTable.open(tmp_path / "table"), CATALOGUE)
    assert store.num_present == 34
    rows = np.array([3, 6])
    before, _ = store.gather(rows)
    _overwrite(tmp_path / "table" / "table.safetensors", 2 * VECTORS)
    assert torch.equal(store.gather(rows)[0], 2 * before)


def _overwrite(path, vectors):
    """Change the vectors in the file: what was read before does not notice, what is read after does."""
    content = path.read_bytes()
    start = content.index(VECTORS.tobytes())
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(vectors.tobytes())


def test_an_empty_table_has_nothing():
    empty = EmbeddingTable.from_arrays(np.zeros(0, np.int64), np.zeros((0, 8), np.float32))
    stored, present = ContentStore(empty, CATALOGUE).gather(np.array([[1, 100]]))
    assert stored.shape == (1, 2, 8) and not stored.any() and not present.any()


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_moved_batch_stays_small_until_it_is_read(planted, precision):
    tables = RankingTables.build(planted.shop, FeatureConfig(history_length=6))
    known, _ = planted.items.lookup(planted.items.ids)
    items = EmbeddingTable.from_arrays(planted.items.ids, known, precision=precision)
    batch = next(Loader(tables, "test", 50, ContentStores.of(tables, items, None)).epoch())
    moved = batch.to("meta").content
    assert str(moved.history.dtype) == str(moved.targets.dtype) == f"torch.{precision}"
    history = Behaviours(torch.zeros(0, 1), batch.history_mask, batch.content.history, None, True)
    units = history.units()
    assert units.content.dtype == torch.float32 and units.units() is units
    lengths = units.content.norm(dim=-1)
    has_history = batch.content.has_history
    assert has_history.any() and lengths[has_history].numpy() == pytest.approx(1, abs=1e-6)
    assert not lengths[~has_history].any()
