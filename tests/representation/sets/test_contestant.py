"""Vectors of encoders and brought tables: what they give, what they keep, why they cannot."""

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from representation.sets.contestant import (
    EncoderContestant,
    NotMeasured,
    TableContestant,
    Vectors,
    unit_vectors,
)


def test_vectors_are_computed_once_and_again_where_a_row_has_changed(
    make_set, make_encoder, tmp_path
):
    encoder = make_encoder()
    first = EncoderContestant("one", encoder, make_set(), tmp_path).items("both")
    assert encoder.encoded_rows == 60
    again = EncoderContestant("one", encoder, make_set(), tmp_path).items("both")
    assert encoder.encoded_rows == 60
    assert np.array_equal(of(first).unit, of(again).unit)
    gallery = make_set().gallery.with_columns(pl.col("title").str.replace("m", "n"))
    other = EncoderContestant("one", encoder, make_set(gallery=gallery), tmp_path).items("both")
    assert encoder.encoded_rows == 120 and not np.array_equal(of(first).unit, of(other).unit)
    EncoderContestant("two", make_encoder(digest="b" * 16), make_set(), tmp_path).items("both")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a" * 16, "b" * 16]


def test_a_killed_run_goes_on_from_its_pieces(make_set, make_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr("representation.sets.stored_vectors.PIECE", 25)
    whole = of(
        EncoderContestant("one", make_encoder(), make_set(), tmp_path / "whole").items("text")
    )
    encoder = make_encoder()
    encode = encoder.encode_items

    def killed(frame, *rest, **options):
        if encoder.encoded_rows >= 50:
            raise KeyboardInterrupt
        return encode(frame, *rest, **options)

    encoder.encode_items = killed
    with pytest.raises(KeyboardInterrupt):
        EncoderContestant("one", encoder, make_set(), tmp_path).items("text")
    encoder.encode_items = encode
    resumed = of(EncoderContestant("one", encoder, make_set(), tmp_path).items("text"))
    assert encoder.encoded_rows == 60 and np.array_equal(whole.unit, resumed.unit)


def test_products_without_a_picture_are_not_found_by_picture(make_set, make_encoder, tmp_path):
    gallery = make_set().gallery.with_columns(image=pl.when(pl.col("item_id") > 20).then("image"))
    contestant = EncoderContestant("one", make_encoder(), make_set(gallery=gallery), tmp_path)
    assert of(contestant.items("image")).rows.tolist() == list(range(11, 60))
    assert len(of(contestant.items("both")).rows) == len(of(contestant.items("text")).rows) == 60


def test_an_encoder_that_reads_no_pictures_is_not_asked_about_them(
    make_set, make_encoder, tmp_path
):
    contestant = EncoderContestant("one", make_encoder(modalities=("text",)), make_set(), tmp_path)
    no = NotMeasured("it reads no pictures")
    assert contestant.items("image") == contestant.items("both") == no
    assert contestant.queries("image") == contestant.queries("product") == no
    assert len(of(contestant.queries("product", "text")).rows) == 30
    blind = EncoderContestant("two", make_encoder(modalities=("image",)), make_set(), tmp_path)
    assert blind.labels(["red"]) == blind.items("text") == NotMeasured("it reads no text")
    gallery = make_set().gallery.with_columns(image=pl.lit(None, pl.Binary))
    bare = EncoderContestant("three", make_encoder(), make_set(gallery=gallery), tmp_path)
    assert bare.items("both") == NotMeasured("the set has no pictures of products")


def test_a_bare_table_gives_products_and_products_as_queries(make_set):
    vectors = np.random.default_rng(0).normal(size=(60, 4)) * 3
    table = EmbeddingTable.from_arrays(np.arange(10, 70), vectors.astype(np.float32))
    contestant = TableContestant("brought", table, None, make_set())
    items, products = of(contestant.items("both")), of(contestant.queries("product"))
    np.testing.assert_allclose(np.linalg.norm(items.unit, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(items.norms, np.linalg.norm(vectors, axis=1), rtol=1e-6)
    assert np.array_equal(products.unit, items.unit[::2])
    for other in (contestant.items("text"), contestant.queries("text"), contestant.labels(["red"])):
        assert isinstance(other, NotMeasured) and other.why.startswith("brought vectors")


def test_brought_tables_that_do_not_fit_are_named(make_set):
    ones = np.ones((3, 4), np.float32)
    foreign = EmbeddingTable.from_arrays(np.arange(3), ones)
    with pytest.raises(TableError, match="none of the 60 products of words has a vector"):
        TableContestant("x", foreign, None, make_set())
    items = EmbeddingTable.from_arrays(np.arange(10, 13), ones)
    with pytest.raises(TableError, match="dim 4 and queries 2"):
        TableContestant(
            "x", items, EmbeddingTable.from_arrays(np.arange(3), ones[:, :2]), make_set()
        )
    bench = make_set()
    alike = {
        **bench.queries,
        "image": bench.queries["image"].with_columns(pl.col("query_id") - 100),
    }
    with pytest.raises(TableError, match="ambiguous"):
        TableContestant("x", items, foreign, make_set(queries=alike))
    with pytest.raises(TableError, match="row 7 is all zeros"):
        unit_vectors(np.array([5, 7]), np.array([[1.0, 0], [0, 0]]), "x")


def of(vectors: Vectors | NotMeasured) -> Vectors:
    assert isinstance(vectors, Vectors)
    return vectors
