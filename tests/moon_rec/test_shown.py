"""Texts of strangers are text, wherever they are shown, and no path."""

import io

import pytest
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from moon_rec.errors import MoonRecError
from moon_rec.shown import as_console_text, as_figure_text, as_markdown, plain_name, visible

NAMES = ["neighbours", "spalte ü", "a.b", "名字", "x" * 200, "a b-c_d"]
NO_NAMES = {
    "up": "../../../x",
    "two dots": "..",
    "a dot": ".",
    "hidden": ".bashrc",
    "absolute": "/etc/passwd",
    "inside": "a/b",
    "of Windows": "a\\b",
    "NUL": "a\0b",
    "line break": "a\nb",
    "ANSI": "\x1b[31mred",
    "right to left": "gpj\u202eexe",
    "surrogate": "\ud800",
    "empty": "",
    "blank": "  ",
    "long": "x" * 201,
    "long in bytes": "é" * 101,
    "a number": 3,
    "nothing": None,
    "a list": ["neighbours"],
}
MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](http://x.example/)",
    "![picture](http://x.example/a.png)",
    "http://x.example and www.x.example",
    "a | b | c",
    "`code` and **bold** and _slanted_ and ~~gone~~",
    "# heading",
    "- point",
    "+ point",
    "1. first",
    "12) twelfth",
    "> said",
    "=====",
    "---",
    "&lt;b&gt; &amp;",
    "a\\*b\\",
    "$\\frac{1}{2}$ and $x$",
    "[red]warning[/red] [link=http://x.example]x[/link] :skull:",
    "two\nlines\n\n# and a heading",
    "1984",
    "costs $5",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_name_stays(name):
    assert plain_name(name, "sheet") == name


@pytest.mark.parametrize("value", NO_NAMES.values(), ids=NO_NAMES)
def test_what_would_be_a_path_is_no_name(value):
    with pytest.raises(
        MoonRecError, match=r"^study.json, sheets\[0\]: .* is no plain name"
    ) as told:
        plain_name(value, "study.json, sheets[0]")
    assert "\n" not in str(told.value) and "\x1b" not in str(told.value)


def test_hidden_characters_are_written_out_and_lines_are_one():
    assert visible("a\x1b[2Jb\u202ec\ud800\x00") == "a\\x1b[2Jb\\u202ec\\ud800\\x00"
    assert visible("a\r\n\t b\u2028c\u2029d\x0be") == "a b c d e"
    assert visible("naïve 名字 😀 👩‍🔬") == "naïve 名字 😀 👩‍🔬"
    visible("\udfff".join("ab")).encode()


@pytest.mark.parametrize("text", MARKUP)
def test_markdown_renders_as_the_text(text):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"linkify": False})
    tokens = markdown.parse(as_markdown(text))
    assert [one.type for one in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    kinds = {one.type for one in tokens[1].children}
    assert kinds <= {"text", "text_special"}, kinds
    assert "".join(one.content for one in tokens[1].children) == visible(text).strip()
    table = markdown.parse(f"| a | b |\n|---|---|\n| {as_markdown(text)} | last |\n")
    cells = [one.content for one in table if one.type == "inline"]
    assert len(cells) == 4 and cells[3] == "last"


def test_markdown_makes_no_links_of_addresses():
    assert "http://" not in as_markdown("see http://x.example")
    assert "www." not in as_markdown("see www.x.example")


@pytest.mark.parametrize("text", [*MARKUP, "$\\notacommand{$", "a \\$ b $ c", "_first"])
def test_figures_show_the_text_itself(text):
    shown = Figure().text(0, 0, as_figure_text(text))
    plain, is_math = shown._preprocess_math(shown.get_text())
    assert not is_math
    assert plain.removeprefix("\u200b") == visible(text)


def test_a_label_that_begins_with_a_stroke_stays_in_the_legend():
    axes = Figure().subplots()
    axes.plot([0], [0], label=as_figure_text("_encoder"))
    assert len(axes.get_legend_handles_labels()[0]) == 1


@pytest.mark.parametrize("text", [*MARKUP, "\x1b[31mred", "trailing\\"])
def test_rich_shows_the_text_itself(text):
    file = io.StringIO()
    console = Console(file=file, width=200, force_terminal=True, color_system=None)
    table = Table(title=as_console_text(text), show_header=False, box=None)
    table.add_row(as_console_text(text))
    console.print(table)
    console.print(as_console_text(text))
    assert file.getvalue().count(visible(text)) == 3
