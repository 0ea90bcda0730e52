"""Sheets of neighbours: ranks by a literal sort, fair and chosen draws, a page without overlaps, errors."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from moon_rec.command import run
from moon_rec.embedding_table import EmbeddingTable
from representation.look import main
from representation.report.neighbour_sheet import (
    draw_neighbours,
    draw_searches,
    find,
    sheet_of,
)
from representation.report.sheet import save, sheet_figure, wrapped
from representation.sets.search_cases import Gallery, SearchCases, ShopSearches


def random_cases(seed: int, items: int = 30, searches: int = 12) -> tuple[Gallery, SearchCases]:
    """Vectors on a coarse grid, so that ties abound."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-1, 2, (items + searches, 3)) + np.array([0, 0, 0.5])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    relevant, excluded = [], []
    for _ in range(searches):
        rows = random.permutation(items)
        relevant.append(sorted(rows[: random.integers(1, 4)].tolist()))
        excluded.append(sorted(rows[4 : 4 + random.integers(0, 3)].tolist()))
    frame = pl.DataFrame({"item_id": np.arange(items) + 100})
    numbers = np.arange(searches)
    cases = SearchCases(numbers + 7, vectors[items:], numbers, relevant, excluded, 0)
    return Gallery(frame, vectors[:items]), cases


@given(st.integers(0, 10_000))
def test_ranks_equal_a_literal_sort(seed):
    gallery, cases = random_cases(seed)
    for case, found in enumerate(find(gallery, cases, range(len(cases)), 5)):
        query = cases.queries[case].astype(np.float64)
        scores = (gallery.vectors.astype(np.float64) * query).sum(axis=1)
        order = sorted(
            (row for row in range(len(gallery)) if row not in cases.excluded[case]),
            key=lambda row: (-scores[row], row),
        )
        bought = [row for row in order if row in cases.relevant[case]]
        assert found.search_id == cases.search_ids[case]
        assert found.rows.tolist() == order[:5]
        assert found.similarities == pytest.approx(scores[order[:5]])
        assert (found.best, found.rank) == (bought[0], order.index(bought[0]) + 1)
        assert found.is_hit == (found.rank <= 5)
        assert found.tied == sum(scores[row] == scores[bought[0]] for row in order)


def test_hits_and_misses_come_in_the_order_of_the_random_draw():
    gallery, cases = random_cases(4)
    everything = draw_searches(gallery, cases, 99, neighbours=3, seed=1)
    assert len(everything.found) == 12
    hits = draw_searches(gallery, cases, 2, "hits", neighbours=3, seed=1)
    misses = draw_searches(gallery, cases, 99, "misses", neighbours=3, seed=1)
    assert 2 < sum(each.is_hit for each in everything.found) < 12
    ids = [each.search_id for each in everything.found if each.is_hit]
    assert [each.search_id for each in hits.found] == ids[:2]
    assert f"2 of the {len(ids)} that found it" in hits.how and "no fair sample" in hits.how
    assert {each.search_id for each in misses.found} == {
        each.search_id for each in everything.found if not each.is_hit
    }
    other = draw_searches(gallery, cases, 99, neighbours=3, seed=2)
    assert [e.search_id for e in other.found] != [e.search_id for e in everything.found]


def test_a_sheet_names_what_was_bought(hand_made_shop, hand_made_tables, tmp_path):
    path = tmp_path / "sheet.png"
    drawn = draw_neighbours(path, hand_made_shop, *hand_made_tables, neighbours=3)
    assert {name: [f.search_id for f in each.found] for name, each in drawn.items()} == {
        "image": sorted((3, 5), key=[f.search_id for f in drawn["image"].found].index),
        "text": [6],
        "mixed": [7],
    }
    ranks = {found.search_id: found.rank for each in drawn.values() for found in each.found}
    # by conftest's degrees: search 5 (12) bought item 12 (25), its own picture (11) is taken out, 10 and 16 ... stand where they stand
    assert ranks[3] == 1 and ranks[7] == 2 and ranks[6] == 2
    with Image.open(path) as picture:
        assert picture.format == "PNG" and len(picture.getcolors(1 << 20) or []) > 50


def test_words_never_overlap_nor_leave_the_page(hand_made_shop, hand_made_tables, check_words):
    searches = ShopSearches.of(hand_made_shop, *hand_made_tables)
    drawn = {
        name: draw_searches(searches.gallery, each, 2) for name, each in searches.cases.items()
    }
    words = check_words(sheet_figure(sheet_of(searches, drawn)))
    assert "SIMULATED shop hand made" in words and "Source: by hand" in words
    assert "image searches: 2 of 2 drawn at random (seed 0)" in words


@pytest.mark.parametrize(
    "text, inches, lines, wanted",
    [
        ("a\tb\nc", 9, 1, "a b c"),
        (None, 1, 1, ""),
        ("$x$ <b>", 9, 1, "$x$ <b>"),
        ("a title of very many words indeed", 1, 1, "a title of…"),
        ("a title of very many words indeed", 1, 2, "a title of\nvery many…"),
        ("红色连衣裙夏季新款女装", 1, 1, "红色连衣裙夏季…"),
    ],
)
def test_words_are_cut_to_their_place(text, inches, lines, wanted):
    assert wrapped(text, inches, 8, lines) == wanted


def test_a_sheet_is_a_page_that_holds_its_pictures(arguments, tmp_path):
    page = tmp_path / "sheet.html"
    assert run(main, [*arguments[:-1], str(page)]) == 0
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 34 and "http" not in text.split("</style>")[1]
    assert "SIMULATED shop hand made" in text and text.count('class="marked"') == 9
    assert run(main, [*arguments[:-1], str(page)]) == 2
    assert run(main, [*arguments[:-1], str(page), "--overwrite"]) == 0
    page.write_text("<!DOCTYPE html> another")
    assert run(main, [*arguments[:-1], str(page), "--overwrite"]) == 2


@pytest.fixture
def arguments(hand_made_shop, hand_made_tables, tmp_path):
    for name, table in zip(("items", "queries"), hand_made_tables, strict=True):
        table.save(tmp_path / name)
    tables = ["--items", str(tmp_path / "items"), "--queries", str(tmp_path / "queries")]
    return ["neighbours", str(hand_made_shop.path), *tables, "--out", str(tmp_path / "sheet.png")]


def test_the_command_says_what_it_drew(arguments, tmp_path, capsys):
    assert run(main, [*arguments, "--searches", "7", "3"]) == 0
    printed = capsys.readouterr().out
    assert "image searches: 1 chosen by their id" in printed and "mixed searches: 1" in printed
    assert "all of it is simulated: by hand" in printed
    first = (tmp_path / "sheet.png").read_bytes()
    assert run(main, [*arguments, "--searches", "7", "3", "--overwrite"]) == 0
    assert (tmp_path / "sheet.png").read_bytes() == first


@pytest.mark.parametrize(
    "change, message",
    [
        (["--searches", "1"], "error: search 1 cannot be shown: it is none of the image, text"),
        (["--period", "validation", "--modality", "text"], "error: nothing to show: shop hand made has no text search in the validation period"),
        (["--by", "misses", "--neighbours", "99"], "error: nothing to show: shop hand made has no image or text or mixed search that does not find it"),
        (["--count", "0"], "error: argument --count"),
        (["--items", "nowhere"], "error: no embedding table at nowhere"),
    ],
)  # fmt: skip
def test_errors_take_one_line_and_leave_nothing(arguments, tmp_path, change, message, capsys):
    try:
        code = run(main, [*arguments, *change])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err.strip()
    assert code == 2 and error.splitlines()[-1].startswith(message), error
    assert not (tmp_path / "sheet.png").exists()


def test_tables_of_two_encoders_are_refused(hand_made_shop, hand_made_tables, tmp_path):
    items, queries = hand_made_tables
    wide = np.pad(queries.vectors, ((0, 0), (0, 1)))
    with pytest.raises(ValueError, match="items have dim 2 and queries 3"):
        draw_neighbours(
            tmp_path / "s.png", hand_made_shop, items, EmbeddingTable.from_arrays(queries.ids, wide)
        )


def test_letters_that_no_font_has_are_said_by_the_name_of_the_sheet(tmp_path, capsys):
    """Not by the folder that it is made in, which is gone when one reads it."""
    figure = Figure((1, 1))
    figure.text(0.1, 0.5, "\U000ffffd")
    save(figure, tmp_path / "sheet.png")
    assert capsys.readouterr().err.startswith("sheet.png: boxes stand for letters")
