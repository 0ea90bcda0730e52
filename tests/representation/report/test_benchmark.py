"""A contestant through all tasks, and what is written of it."""

import json
import posixpath
import re

import numpy as np
import polars as pl
import pytest
from PIL import Image

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import write_json
from representation.metrics.benchmark import differences, measure
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.report.benchmark_figure import draw
from representation.report.record import flat_metrics, record
from representation.report.tables import markdown, sheets
from representation.sets.contestant import EncoderContestant, TableContestant

QUICK = BenchmarkConfig(num_resamples=30, fewest_labelled=5)


@pytest.fixture
def results(make_set, make_encoder, tmp_path):
    table = EmbeddingTable.from_arrays(np.arange(10, 70), np.eye(60, dtype=np.float32))
    contestants = [
        EncoderContestant("words", make_encoder(), make_set(), tmp_path / "vectors"),
        EncoderContestant(
            "reader",
            make_encoder(modalities=("text",), digest="c" * 16),
            make_set(),
            tmp_path / "vectors",
        ),
        TableContestant("bare", table, None, make_set()),
    ]
    return [measure(one, make_set(), QUICK) for one in contestants]


def test_the_record_is_plain_and_says_why_for_every_gap(results, tmp_path):
    write_json(tmp_path / "record.json", [record(one) for one in results])
    words, reader, bare = json.loads((tmp_path / "record.json").read_text())
    assert words["retrieval"]["image->both"]["recall@1"]["value"] == 1
    assert words["retrieval"]["mixed->text"] == {
        "not_measured": "the set has no mixed query that can be answered"
    }
    assert reader["retrieval"]["text->image"] == {"not_measured": "it reads no pictures"}
    assert reader["retrieval"]["text->text"]["recall@50"]["count"] == 30
    readings = ("recall", "share_of_relevant", "precision", "capped_recall")
    assert set(bare["retrieval"]["product->both"]) == {
        *(f"{reading}@{k}" for reading in readings for k in (1, 5, 10, 50)),
        "num_left_out",
        "num_items",
    }
    assert words["classification"]["attribute colour"]["image"]["f1"]["value"] == 1
    assert bare["classification"]["attribute colour"]["image"]["not_measured"].startswith("brought")


def test_metrics_are_finite_and_named_for_mlflow(results):
    found = flat_metrics(results[0])
    assert found["retrieval/text_to_image/recall@10"] == 1
    assert found["classification/attribute_colour/title_image/accuracy"] == 1
    assert found["collapse/share_of_image"] == 1
    assert all(np.isfinite(value) for value in found.values())
    assert "retrieval/text_to_image/recall@10" not in flat_metrics(results[1])


def test_differences_are_from_the_first(results):
    first, reader, bare = differences(results, QUICK)
    assert first == {} and set(reader) == {("text", "text")}
    assert reader["text", "text"].value == 0 and set(bare) == {("product", "both")}


def test_the_page_holds_every_cut_figure_and_warning(results, make_set):
    page = markdown(results, make_set(), QUICK)
    for words in (
        "SIMULATED",
        "recall@50",
        "macro precision",
        "it reads no pictures",
        "honest reading",
        "verdict:",
    ):
        assert words in page
    for sheet in sheets(results, make_set(), QUICK, full=True):
        assert all(len(row) == len(sheet.head) for row in sheet.rows)


def test_the_picture_is_drawn_for_one_and_for_many(results, make_set, tmp_path):
    for count, name in ((1, "one.png"), (3, "three.png")):
        draw(tmp_path / name, results[:count], make_set(), QUICK)
        with Image.open(tmp_path / name) as picture:
            assert picture.width == 1300 and len(picture.convert("RGB").getcolors(1 << 24)) > 100


def test_an_odd_attribute_name_is_no_trouble_for_mlflow(make_set, make_encoder, tmp_path):
    gallery = make_set().gallery.with_columns(
        pl.concat_list(pl.struct(name=pl.lit("尺码 (cm)/../EU"), value=pl.col("title"))).alias(
            "attributes"
        )
    )
    bench = make_set(gallery=gallery)
    result = measure(
        EncoderContestant("odd", make_encoder(), bench, tmp_path / "vectors"), bench, QUICK
    )
    assert "attribute 尺码 (cm)/../EU" in result.classification
    names = [name for name in flat_metrics(result) if "EU" in name]
    assert "classification/attribute_尺码__cm__.._EU/title/accuracy" in names
    for name in names:  # what MLflow allows, `@` being replaced when logged
        assert re.fullmatch(r"[/\w.\- :@]+", name) and posixpath.normpath(name) == name


def test_a_set_of_bare_titles_is_measured_as_far_as_it_goes(make_set, make_encoder, tmp_path):
    gallery = make_set().gallery.select("item_id", "title")
    bench = make_set(gallery=gallery, queries={}, relevant={}, excluded={})
    result = measure(
        EncoderContestant("bare", make_encoder(), bench, tmp_path / "vectors"), bench, QUICK
    )
    page = markdown([result], bench, QUICK)
    assert "no category level or attribute" in page and "the set has no text query" in page
    assert set(flat_metrics(result)) == {"geometry/norm", "geometry/uniformity_text"}
    draw(tmp_path / "bare.png", [result], bench, QUICK)
    assert (tmp_path / "bare.png").stat().st_size > 5_000
