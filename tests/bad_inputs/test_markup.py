"""Markup of any kind in names, titles and values is text wherever it is shown: errors, tables, Markdown, figures."""

import json
import re
import shutil

import pytest
from matplotlib import mathtext
from rich.console import Console

from moon_rec.errors import ConfigError, MoonRecError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.description import describe
from moon_rec.shop.pictures import PictureError
from moon_rec.shop.printing import print_description
from moon_rec.shop.sheet import draw_sheet
from representation.curation.curated import Curated
from representation.report.tables import Sheet, _line, print_tables

NASTY = "[red]a[/red] <b>b</b> $\\frac{1}$ _c_ | *d* `e` :smile: \x1b[2J \u202eknab\u202c\nerror: f"
HIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]")


@pytest.mark.parametrize("kind", [MoonRecError, ConfigError])
def test_an_error_is_one_line_in_which_everything_is_seen(kind):
    line = str(kind(f"title {NASTY}: mend it"))
    assert "\n" not in line and not HIDDEN.search(line)
    assert "\\x1b[2J" in line and "\\u202eknab" in line and line.endswith("mend it")


def test_a_pictures_error_is_one_line():
    assert "\n" not in str(PictureError(f"item {NASTY}", "fault", "mend", "kind"))


def test_a_long_value_is_cut_and_says_so():
    line = str(MoonRecError(f"name {'x' * 10**6} is too long; shorten it"))
    assert len(line) < 700 and "(999,500 more)" in line and line.endswith("shorten it")
    assert len(str(MoonRecError("a b " * 10**5))) < 6_100


@pytest.fixture
def nasty_shop(good_workspace, tmp_path):
    shutil.copytree(good_workspace / "shop", tmp_path / "shop")
    manifest = tmp_path / "shop" / "manifest.json"
    values = json.loads(manifest.read_text()) | {"name": NASTY, "source": NASTY}
    manifest.write_text(json.dumps(values))
    return Shop.open(tmp_path / "shop")


def test_a_shops_name_is_text_on_the_console(nasty_shop, capsys):
    print_description(describe(nasty_shop))
    told = capsys.readouterr().out
    assert not HIDDEN.search(told)
    assert "[red]a[/red]" in told and ":smile:" in told and "\nerror: f" not in told


def test_a_shops_name_is_text_in_a_figure(nasty_shop, tmp_path, monkeypatch):
    def no_tex(*_, **__):
        pytest.fail("TeX was parsed")

    monkeypatch.setattr(mathtext.MathTextParser, "parse", no_tex)
    draw_sheet(nasty_shop, tmp_path / "sheet.png")


def test_what_is_said_is_text(capsys):
    say(NASTY)
    told = capsys.readouterr().err
    assert not HIDDEN.search(told) and told.count("\n") == 1


def test_a_cell_of_markdown_is_text():
    line = _line([NASTY, "b"])
    assert line.count("\n") == 0 and len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<b>" not in line.replace(r"\<b", "") and r"\*d\*" in line and r"\`e\`" in line


def test_a_benchmarks_table_is_text(monkeypatch, capsys):
    sheet = Sheet(NASTY, NASTY, [NASTY, NASTY], [[NASTY, "1"]])
    module = "representation.report.tables"
    monkeypatch.setattr(f"{module}.sheets", lambda *_: [sheet])
    monkeypatch.setattr(f"{module}.about", lambda *_: [NASTY])
    print_tables([], None, None, Console(width=400))  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert not HIDDEN.search(told) and told.count("[red]a[/red]") >= 5


def test_a_curations_title_is_text(capsys):
    Console(width=400).print(Curated({}, [], {}, {}).table(NASTY))
    told = capsys.readouterr().out
    assert not HIDDEN.search(told) and "[red]a[/red]" in told
