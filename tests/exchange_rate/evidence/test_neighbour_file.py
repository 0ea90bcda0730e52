"""What encoders find is a study's artifact: shown beside the pairs that contradict a metric, read as it was recorded or not at all."""

import html
import io
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.results import Disagreement, Number
from exchange_rate.analysis.retrieved import MOST_PAIRS, NO_POINTS, NONE_KEPT, with_retrieved
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.evidence.neighbour_file import (
    NEIGHBOURS,
    SCHEMA,
    StudyNeighbours,
    read_neighbour_file,
    read_neighbours,
)
from exchange_rate.evidence.records import read_study
from exchange_rate.report.page import render
from exchange_rate.study.neighbours import gather_neighbours
from moon_rec.errors import StudyError
from moon_rec.files import digest_file
from tests.exchange_rate.conftest import RECALL


def jpeg(shade: int, side: int = 64) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), shade, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def rows_of(cell: str, search: int, items: list[int], engaged: int | None = None) -> list[dict]:
    about = {"cell": cell, "search_id": search, "modality": "text"}
    asked = {"place": 0, "item_id": None, "text": f"words {search}", "similarity": None, "is_engaged": False, "picture": None}  # fmt: skip
    found = [
        {"place": place, "item_id": item, "text": f"product {item}", "similarity": 1 - place / 10, "is_engaged": item == engaged, "picture": jpeg(item)}
        for place, item in enumerate(items, 1)
    ]  # fmt: skip
    return [about | one for one in [asked, *found]]


def table_of(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def planted(study) -> tuple[StudyNeighbours, dict[str, str]]:
    """Every encoder finds 1, 2, 3 for search 7; for search 8 each finds its own; for search 9 all but one in common."""
    keys = {cell["labels"]["encoder"]: cell["key"] for cell in study.about["cells"] if cell["kind"] == "encoder"}  # fmt: skip
    rows = []
    for place, key in enumerate(keys.values()):
        own = [10 + 3 * place, 11 + 3 * place, 12 + 3 * place]
        rows += rows_of(key, 7, [1, 2, 3]) + rows_of(key, 8, own, own[0]) + rows_of(key, 9, [1, 2, own[0]])  # fmt: skip
    return StudyNeighbours(table_of(rows)), keys


def pairs_of(study) -> tuple[Disagreement, ...]:
    """Every encoder against the first."""
    names = [cell["labels"]["encoder"] for cell in study.about["cells"] if cell["kind"] == "encoder"]  # fmt: skip
    number = Number(value=0.1, low=0.05, high=0.2, definition="planted", source="planted")
    about = {"metric": RECALL, "metric_difference": number, "auc_difference": number, "z": 3.0}
    return tuple(Disagreement(better_by_metric=one, better_by_auc=names[0], **about) for one in names[1:])  # fmt: skip


def test_a_contradicting_pair_stands_with_the_search_that_tells_it_apart(planted_memory):
    study = read_study(planted_memory)
    neighbours, keys = planted(study)
    pairs, reason = with_retrieved(pairs_of(study), Cells.of(study), neighbours)
    shown = [one for one in pairs if one.retrieved]
    assert len(pairs) == len(keys) - 1 and shown == [*pairs[:MOST_PAIRS]] and reason == ""
    for pair in shown:
        seen = pair.retrieved
        assert (seen.search, seen.num_shared, seen.num_searches) == ("words 8", 0, 3)
        for name, products in ((pair.better_by_metric, seen.by_metric), (pair.better_by_auc, seen.by_auc)):  # fmt: skip
            first = 10 + 3 * [*keys].index(name)
            assert [one.name for one in products] == [f"product {first + place}" for place in range(3)]  # fmt: skip
            assert [one.is_engaged for one in products] == [True, False, False]
            assert all(one.picture.startswith("data:image/jpeg;base64,/9j/") for one in products)
    found = analyse(study).model_copy(update={"disagreements": pairs})
    page = html.unescape(render("report.html.j2", found, {}, []))
    assert page.count('class="retrieved"') == len(shown) and page.count("<img") == 6 * len(shown)
    assert set(re.findall(r'src="(.{10})', page)) == {"data:image"}
    assert len(page) < 1_000_000
    assert "product 10" in render("report.md.j2", found, {}, [])


def test_a_study_without_them_says_so_in_a_line(planted_memory):
    study = read_study(planted_memory)
    cells = Cells.of(study)
    assert with_retrieved((), cells, None) == ((), "")
    pairs, reason = with_retrieved(pairs_of(study), cells, None)
    assert reason == NONE_KEPT and not any(one.retrieved for one in pairs)
    found = analyse(study).model_copy(update={"disagreements": pairs, "not_retrieved": reason})
    for template in ("report.html.j2", "report.md.j2"):
        assert "nearest neighbours of these pairs" in render(template, found, {}, [])
    points = replace(study, about=study.about | {"shop": None})
    assert with_retrieved(pairs, Cells.of(points), None)[1] == NO_POINTS
    _, reason = with_retrieved(pairs, cells, StudyNeighbours(table_of([])))
    assert reason.startswith("These encoders have no search in common")


def test_the_artifact_holds_each_picture_once_and_gives_it_to_every_row(tmp_path):
    class Spec:
        def __init__(self, key):
            self.key = key

        def folder(self, cells):
            return cells / f"encoder-{self.key}"

    class Result:
        outputs = {"neighbours": NEIGHBOURS}  # noqa: RUF012

    done = []
    for key in ("a", "b"):
        (tmp_path / "cells" / f"encoder-{key}").mkdir(parents=True)
        table_of(rows_of(key, 7, [1, 2])).drop("cell").write_parquet(tmp_path / "cells" / f"encoder-{key}" / NEIGHBOURS)  # fmt: skip
        done.append((Spec(key), Result()))
    path, about = gather_neighbours(done, tmp_path / "cells", "study")
    table = read_neighbour_file(path, about, "here")
    assert table["picture"].is_not_null().sum() == 2
    found = StudyNeighbours(table)
    assert [found.picture(row) for row in found.of("b")[7]] == [None, jpeg(1), jpeg(2)]
    assert gather_neighbours([], tmp_path / "cells", "study") is None


DAMAGE = {
    "other columns": (lambda table: table.drop("text"), "has other columns than cell, search_id"),
    "a picture that is none": (lambda table: table.with_columns(picture=pl.lit(b"<svg/>")), "row 0: a picture that is no JPEG"),
    "a picture too large": (lambda table: table.with_columns(picture=pl.lit(jpeg(1) + bytes(20_000))), "a picture that is too large"),
    "a row twice": (lambda table: pl.concat([table, table]), "a row twice"),
    "no cosine": (lambda table: table.with_columns(similarity=pl.lit(float("nan"))), "row 1: a product without its id or a finite cosine"),
    "no text": (lambda table: table.with_columns(text=pl.lit(None, pl.String)), "a value that is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_what_is_no_such_file_is_refused_in_a_line(tmp_path, damage, reason):
    file = tmp_path / NEIGHBOURS
    damage(table_of(rows_of("a", 7, [1, 2]))).write_parquet(file)
    with pytest.raises(StudyError, match=reason) as told:
        read_neighbour_file(file, {"digest": digest_file(file)}, "here")
    assert "\n" not in str(told.value)
    with pytest.raises(StudyError, match=r"is not the file that study\.json records"):
        read_neighbour_file(file, {"digest": "0" * 16}, "here")


def test_a_file_that_is_gone_costs_a_line_and_no_number(tracked, capsys):
    study = read_study(tracked)
    study.about["neighbours"] = {"digest": "0" * 16}
    assert read_neighbours(tracked, study) is None
    assert "left out:" in capsys.readouterr().err
