"""python -m representation.recall: what it prints and writes, and how it fails."""

import numpy as np
import pytest
from PIL import Image

from moon_rec.command import run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import read_json
from representation.metrics.shop_metrics import measure_shop
from representation.recall import main


@pytest.fixture
def arguments(hand_made_shop, hand_made_tables, tmp_path):
    for name, table in zip(("items", "queries"), hand_made_tables, strict=True):
        table.save(tmp_path / name)
    tables = ["--items", str(tmp_path / "items"), "--queries", str(tmp_path / "queries")]
    return [str(hand_made_shop.path), *tables]


def test_table_definitions_and_json(arguments, hand_made_shop, hand_made_tables, tmp_path, capsys):
    out = tmp_path / "recall.json"
    assert run(main, [*arguments, "--ks", "2", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    measured = measure_shop(hand_made_shop, *hand_made_tables, ks=(1, 2))
    record = read_json(out)
    assert record["metrics"] == {name: each.as_dict() for name, each in measured.items()}
    assert record["shop"]["is_simulated"] is True
    assert record["segments"]["image_search_recall@10"]["shoes"]["count"] == 2
    for name, each in measured.items():
        assert name in printed and str(each) in printed
    assert measured["image_search_recall@2"].definition in printed
    assert "SIMULATED" in printed and "all of it is simulated: by hand" in printed


def test_ties_are_told_where_there_are_any_and_the_numbers_of_items_do_not_matter(
    arguments, hand_made_shop, hand_made_tables, tmp_path, capsys
):
    """All items alike: each of the 7 listed is as near as the next, whichever number it has."""
    assert run(main, [*arguments, "--ks", "2"]) == 0
    assert "ties:" not in capsys.readouterr().out
    items, _ = hand_made_tables
    alike = np.tile(items.vectors[:1], (len(items), 1))
    EmbeddingTable.from_arrays(items.ids, alike).save(tmp_path / "items", overwrite=True)
    assert run(main, [*arguments, "--ks", "2", "--out", str(tmp_path / "ties.json")]) == 0
    printed = capsys.readouterr().out
    assert "ties: share of the units" in printed and "text_search_recall@2 100.0%" in printed
    found = read_json(tmp_path / "ties.json")["metrics"]
    assert found["text_search_recall@2"]["value"] == pytest.approx(2 / 7)
    assert found["text_search_recall@2"]["tied"] == 1


def test_a_picture_adds_no_row(arguments, tmp_path, capsys):
    path = tmp_path / "recall.png"
    assert run(main, [*arguments, "--ks", "1", "--picture", str(path)]) == 0
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert len(picture.getcolors(1 << 20) or []) > 50
    printed = capsys.readouterr().out
    assert "image_search_recall@1 " in printed and "image_search_recall@2" not in printed


def test_a_picture_without_searches_by_picture(arguments, hand_made_tables, tmp_path):
    _, queries = hand_made_tables
    kept = np.isin(queries.ids, [6, 7])
    words = EmbeddingTable.from_arrays(queries.ids[kept], queries.vectors[kept])
    words.save(tmp_path / "queries", overwrite=True)
    assert run(main, [*arguments, "--picture", str(tmp_path / "recall.png")]) == 0
    assert (tmp_path / "recall.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "change, message",
    [
        (["--items", "nowhere"], "error: no embedding table at nowhere"),
        (["--ks", "0"], "error: argument --ks: '0' is no whole number of at least 1"),
        (["--period", "tomorrow"], "error: argument --period: invalid choice"),
    ],
)
def test_errors_take_one_line_and_exit_with_two(arguments, change, message, capsys):
    try:
        code = run(main, [*arguments, *change])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert error.splitlines()[-1].startswith(message) and "Traceback" not in error
