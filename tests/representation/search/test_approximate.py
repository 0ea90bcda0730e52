"""Approximate indexes: exact where they search everything, measured where they do not, the same on every run."""

import json

import numpy as np
import pytest

from moon_rec.command import run
from moon_rec.errors import TableError
from representation import recall
from representation.metrics.recall import search_recall
from representation.metrics.shop_metrics import measure_shop
from representation.search.approximate import ApproximateIndex, IndexConfig
from representation.search.exact import top_rows


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    """2,000 items round 50 directions, 60 queries near them."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(50, 16))
    gallery = unit(centres[random.integers(0, 50, 2000)] + 0.4 * random.normal(size=(2000, 16)))
    queries = unit(centres[random.integers(0, 50, 60)] + 0.4 * random.normal(size=(60, 16)))
    return gallery, queries


ALL = {
    "ivf": IndexConfig(kind="ivf", lists=20, probes=20),
    "hnsw": IndexConfig(kind="hnsw", search_width=2000),
}
FEW = {
    "ivf": IndexConfig(kind="ivf", lists=50, probes=1),
    "hnsw": IndexConfig(kind="hnsw", links=2, build_width=4, search_width=1),
}


@pytest.mark.parametrize("kind", ALL)
def test_an_index_that_searches_everything_ranks_exactly(vectors, kind):
    gallery, queries = vectors
    searches = np.arange(0, 60, 2)
    removed = np.unique(searches.repeat(3) * 2000 + np.tile([5, 900, 1700], 30))
    removed = np.union1d(removed, searches * 2000 + top_rows(queries, gallery, 1)[searches, 0])
    options = {"searches": searches, "removed": removed}
    index = ApproximateIndex(gallery, ALL[kind])
    found = index.top_rows(queries, 10, **options)
    np.testing.assert_array_equal(found, top_rows(queries, gallery, 10, **options))
    assert {k: each.value for k, each in index.found_of_exact(queries, [1, 10]).items()} == {
        1: 1,
        10: 1,
    }


@pytest.mark.parametrize("kind", FEW)
def test_what_is_missed_is_measured(vectors, kind):
    """The share by a literal loop; no row comes twice."""
    gallery, queries = vectors
    index = ApproximateIndex(gallery, FEW[kind])
    found, exact = index.top_rows(queries, 10), top_rows(queries, gallery, 10)
    for k, estimate in index.found_of_exact(queries, [5, 10]).items():
        shares = [
            len(set(wanted[:k]) & set(got[:k])) / k
            for wanted, got in zip(exact.tolist(), found.tolist(), strict=True)
        ]
        assert estimate.value == pytest.approx(np.mean(shares))
        assert 0 < estimate.value < 1 and estimate.low < estimate.value < estimate.high
        assert estimate.count == 60 and index.name in estimate.definition
    for row in found:
        real = row[row >= 0]
        assert len(set(real)) == len(real)


@pytest.mark.parametrize("kind", FEW)
def test_the_same_on_every_run(vectors, kind):
    gallery, queries = vectors
    first, second = (ApproximateIndex(gallery, FEW[kind]).top_rows(queries, 10) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_sample_is_compared(vectors):
    gallery, queries = vectors
    index = ApproximateIndex(gallery, FEW["ivf"])
    assert index.found_of_exact(queries, [5], sample=20)[5].count == 20


@pytest.mark.parametrize("items", [1, 5, 50])
def test_small_galleries(items):
    random = np.random.default_rng(items)
    gallery, queries = unit(random.normal(size=(items, 4))), unit(random.normal(size=(3, 4)))
    for kind in ("ivf", "hnsw"):
        found = ApproximateIndex(gallery, IndexConfig(kind=kind)).top_rows(queries, 10)
        np.testing.assert_array_equal(found, top_rows(queries, gallery, 10))


def test_what_is_wrong_is_named():
    with pytest.raises(TableError, match="an index of no items"):
        ApproximateIndex(np.zeros((0, 4), np.float32))


def test_recall_says_what_the_index_finds(vectors):
    gallery, queries = vectors
    relevant = top_rows(queries, gallery, 3).tolist()
    exact = search_recall(queries, gallery, relevant, (1, 10))
    assert exact.of_exact == {} and exact.value[1] == 1
    index = ApproximateIndex(gallery, FEW["hnsw"])
    result = search_recall(queries, gallery, relevant, (1, 10), index=index)
    assert result.value[1] == pytest.approx(
        np.mean(
            [
                found in rows
                for (found,), rows in zip(index.top_rows(queries, 1), relevant, strict=True)
            ]
        )
    )
    assert result.value[1] < 1 and set(result.of_exact) == {1, 10}
    assert result.of_exact[10].value < 1


def test_the_command_prints_it_beside_every_number(
    hand_made_shop, hand_made_tables, tmp_path, capsys
):
    items, queries = hand_made_tables
    config = IndexConfig(kind="hnsw")
    measured = measure_shop(hand_made_shop, items, queries, ks=(1, 2), index=config)
    exact = measure_shop(hand_made_shop, items, queries, ks=(1, 2))
    for name, each in exact.items():
        assert measured[name].value == each.value  # so small a gallery is searched whole
        if "_search_recall@" in name:
            assert measured[name.replace("recall", "of_exact")].value == 1
            assert "HNSW (M 32, efSearch 128)" in measured[name].definition
    items.save(tmp_path / "items")
    queries.save(tmp_path / "queries")
    given = [str(hand_made_shop.path), "--items", str(tmp_path / "items"), "--ks", "2"]
    given += ["--queries", str(tmp_path / "queries"), "--out", str(tmp_path / "out.json")]
    recall.main([*given, "--index", "hnsw", "--effort", "7"])
    printed = capsys.readouterr().out
    assert "image_search_of_exact@2" in printed and "efSearch 7" in printed
    record = json.loads((tmp_path / "out.json").read_text())
    assert (record["index"], record["effort"]) == ("hnsw", 7)
    assert record["metrics"]["image_search_of_exact@2"]["value"] == 1
    assert run(recall.main, [*given, "--overwrite", "--effort", "7"]) == 2
    assert "--effort is of an approximate index" in capsys.readouterr().err
