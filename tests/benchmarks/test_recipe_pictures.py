"""Pictures of the recipes' ablations: which mark a difference gets, what stands in which block, and that every word can be read."""

import itertools
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from benchmarks import recipe_pictures
from benchmarks.recipe_arms import PARTS, TASKS
from benchmarks.recipe_pictures import (
    AGREES,
    ALONE,
    ALONE_NOT_TOLD,
    DISAGREES,
    MARKS,
    NOT_TOLD,
    blocks_of,
    draw,
    mark_of,
)
from moon_rec.command import run
from moon_rec.files import read_json, write_json

RESULTS = Path(recipe_pictures.__file__).parent / "results"


def figures(of):
    return read_json(RESULTS / f"2026-11-27-recipes-{of}-simulated.json")


@pytest.mark.parametrize(
    ("row", "mark"),
    [
        ({"direction": "agrees"}, AGREES),
        ({"direction": "disagrees"}, DISAGREES),
        ({"direction": "not told"}, NOT_TOLD),
        ({"paper": None, "minus_whole": {"low": -0.2, "high": -0.1}}, ALONE),
        ({"minus_plain": {"low": 0.1, "high": 0.2}}, ALONE),
        ({"minus_plain": {"low": -0.1, "high": 0.2}}, ALONE_NOT_TOLD),
    ],
)
def test_a_mark_says_how_it_stands_to_the_paper(row, mark):
    assert mark_of(row) == mark


def test_marks_are_told_apart_without_their_colours():
    assert len({(one.shape, one.is_filled) for one in MARKS}) == len(MARKS)


def test_every_part_and_task_is_drawn_once():
    blocks = blocks_of(figures("parts"))
    assert [one.names for one in blocks] == [[*parts] for parts in PARTS.values()]
    for block in blocks:
        assert {task for _, task in block.cells} >= set(TASKS)
        assert len(block.cells) == len(block.names) * len(block.levels)
    first = figures("parts")["rows"][0]
    level = f"moon {first['recall']['value']:.3f}".replace(" 0.", " .")
    assert blocks[0].levels[first["modality"]] == level and "SIMULATED" in blocks[0].title
    (one,) = blocks_of(figures("budgets"))
    assert one.names == ["moon", "moon1", "moon2", "moon3"]
    assert all(level.startswith("plain .") for level in one.levels.values())
    assert len(one.cards) == 4 and "as many steps" in one.title


def test_no_word_of_the_picture_lies_on_another_or_beside_it():
    figure = draw([*blocks_of(figures("parts")), *blocks_of(figures("budgets"))])
    assert figure.get_figwidth() * 100 == 1200
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = [
        (one.get_text(), one.get_window_extent(canvas.get_renderer()))
        for one in figure.findobj(Text)
        if one.get_visible() and one.get_text().strip()  # type: ignore[attr-defined]
    ]
    assert len(boxes) > 150
    for text, box in boxes:
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text
        assert box.height > 9, text
    for (text, box), (other, its) in itertools.combinations(boxes, 2):
        is_over = min(box.x1, its.x1) - max(box.x0, its.x0) > 1 and min(box.y1, its.y1) - max(box.y0, its.y0) > 1  # fmt: skip
        assert not is_over, (text, other)


def test_the_command_writes_a_picture_and_refuses_what_is_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe_pictures, "DPI", 20)
    file, out = RESULTS / "2026-11-27-recipes-budgets-simulated.json", tmp_path / "a.png"
    assert run(recipe_pictures.main, [str(file), "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert run(recipe_pictures.main, [str(file), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(recipe_pictures.main, [str(file), "--out", str(tmp_path / "a.gif")]) == 2
    assert "end its name with .png" in capsys.readouterr().err
    for odd in ([], {"rows": []}, {"rows": [{"arm": "moon"}], "shop": {}}, figures("study")):
        write_json(tmp_path / "odd.json", odd)
        words = [str(tmp_path / "odd.json"), "--out", str(tmp_path / "b.png")]
        assert run(recipe_pictures.main, words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "no figures of benchmarks.recipes" in line and "name a JSON that it wrote" in line
