"""Norms as brought, and alignment, uniformity and neighbours against literal formulas."""

import numpy as np
import polars as pl
import pytest

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.geometry import measure_geometry
from representation.sets.contestant import EncoderContestant, NotMeasured, TableContestant

QUICK = BenchmarkConfig(num_resamples=20)


def test_a_bare_table_has_its_own_norms_and_no_item_types(make_set):
    vectors = np.random.default_rng(1).normal(size=(60, 5))
    vectors *= np.linspace(1, 3, 60)[:, None] / np.linalg.norm(vectors, axis=1, keepdims=True)
    table = EmbeddingTable.from_arrays(np.arange(10, 70), vectors.astype(np.float32))
    found = measure_geometry(TableContestant("x", table, None, make_set()), make_set(), QUICK)
    assert value(found["norm"]) == pytest.approx(2)
    norm = found["norm"]
    assert isinstance(norm, Estimate) and "from 1 to 3" in norm.definition
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert value(found["alignment_product"]) == pytest.approx(
        np.mean([unit[row] @ unit[row + 1] for row in range(0, 60, 2)])
    )
    assert isinstance(found["uniformity_text"], NotMeasured) and isinstance(
        found["alignment_text"], NotMeasured
    )


def test_every_way_of_showing_products_is_measured(make_set, make_encoder, tmp_path):
    found = measure_geometry(
        EncoderContestant("x", make_encoder(), make_set(), tmp_path), make_set(), QUICK
    )
    assert value(found["norm"]) == pytest.approx(1)
    assert (
        value(found["category_accuracy_image"]) == 1
    )  # a picture's nearest says the same colour and shape
    assert value(found["uniformity_image"]) < 0
    gaps = {name for name, one in found.items() if isinstance(one, NotMeasured)}
    assert gaps == {f"same_spu_recall_{kind}@10" for kind in ("text", "image", "both")}


def test_siblings_are_found_where_there_are_spus(make_set, make_encoder, tmp_path):
    """Products 3 n, 3 n + 1 and 3 n + 2 are one SPU here, whose pictures say so and whose titles do not."""
    number = pl.int_range(pl.len())
    gallery = make_set().gallery.with_columns(
        spu_id=number // 3, image=pl.format("m{}", number // 3).cast(pl.Binary)
    )
    bench = make_set(gallery=gallery)
    contestant = EncoderContestant("x", make_encoder(), bench, tmp_path)
    found = measure_geometry(contestant, bench, QUICK)
    assert value(found["same_spu_recall_image@10"]) == 1
    text = found["same_spu_recall_text@10"]
    assert isinstance(text, Estimate) and text.value < 0.8 and text.count == 60


def test_a_reader_of_text_is_measured_by_text(make_set, make_encoder, tmp_path):
    contestant = EncoderContestant("x", make_encoder(modalities=("text",)), make_set(), tmp_path)
    found = measure_geometry(contestant, make_set(), QUICK)
    alignment = found["alignment_text"]
    assert isinstance(alignment, Estimate) and alignment.definition.endswith("shown by text")
    assert value(found["norm"]) == pytest.approx(1)
    assert isinstance(found["alignment_image"], NotMeasured)


def value(one: Estimate | NotMeasured) -> float:
    assert isinstance(one, Estimate)
    return one.value
