"""Words fitted into a figure: nothing wider than asked, nothing lost without an ellipsis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from representation.report.lettering import ELLIPSIS, MISSING, drawable, families, fit, width


@given(st.text(max_size=60), st.floats(0.5, 3), st.integers(1, 3), st.booleans())
def test_lines_keep_to_their_width_and_number(text, inches, lines, bold):
    rows = fit(text, inches, 8, lines, bold).split("\n")
    assert len(rows) <= lines
    assert all(width(row, 8, bold) <= inches + 1e-9 for row in rows)


@given(st.text(st.sampled_from("abc  wW"), max_size=40))
def test_nothing_is_lost_where_there_is_room(text):
    assert fit(text, 1.0, 8, 60).replace("\n", "").replace(" ", "") == text.replace(" ", "")


def test_what_is_cut_ends_in_an_ellipsis():
    fitted = fit("a title of very many words indeed, none of them short", 1.0, 8, 2)
    assert fitted.endswith(ELLIPSIS) and fitted.startswith("a title")


@pytest.mark.parametrize(
    "text, drawn",
    [
        ("a\tb\nc\x00d", "a b c d"),
        ("e\u0301", "é"),
        ("left\u200eright\ufe0f", "leftright"),
        ("\U0010fffd", MISSING),
        (None, ""),
        ("$x$ <b>", "$x$ <b>"),
    ],
)
def test_odd_characters(text, drawn):
    assert drawable(text) == drawn


def test_bold_is_wider_and_the_width_is_the_renderers():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 1), dpi=200)
    canvas = FigureCanvasAgg(figure)
    for weight in ("normal", "bold"):
        text = figure.text(0, 0, "Wide mixed Title", fontsize=20, weight=weight, family=families())
        drawn = text.get_window_extent(canvas.get_renderer()).width / 200
        measured = width("Wide mixed Title", 20, weight == "bold")
        assert drawn <= measured <= 1.06 * drawn
    assert width("Title", 8, True) > width("Title", 8)
