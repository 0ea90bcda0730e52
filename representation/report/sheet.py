"""A sheet of pictures with words, in rows: one self-contained HTML page from a template, or a PNG by matplotlib, as the end of the file's name says.

Notable choices:
- Every picture is made square with white margins, as the encoder's own are, so that all cells are alike.
- What is marked is told apart three times: by colour (of Okabe and Ito's palette, for colour-blind readers), by a thick frame and by a word.
- A PNG's words are wrapped by their letters' usual width, cut with an ellipsis and never drawn beyond their cell. A letter that no font of this machine has is a box there,
  which is said; the page shows it.
"""

import base64
import io
import textwrap
import unicodedata
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from moon_rec.figure_files import save_figure
from moon_rec.files import atomic_file
from moon_rec.pages import page_environment
from moon_rec.palette import FAINT, GREEN, INK, MUTED
from moon_rec.progress import say
from moon_rec.shop.pictures import decode
from moon_rec.shop.shop import Shop
from moon_rec.shown import visible
from representation.model.pixels import square

PICTURE_PIXELS = 144
SIDE, GAP, MARGIN = 1.2, 0.14, 0.2
"""Inches: of a picture, between two, around all."""
UNDER = {"head": (7, 2), "words": (7, 3)}
"""Size in points, and lines, of a cell's words."""
LINE = 1.35
"""Height of a line of text, in sizes of it."""
DPI = 120
PACKING = 4
"""zlib's level: photos pack little better at 6, which takes twice as long."""
FAMILIES = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "PingFang SC", "Microsoft YaHei", "SimHei", "Droid Sans Fallback", "Arial Unicode MS")  # fmt: skip
"""Fonts in the order they are tried: matplotlib's own, then those that systems bring for Chinese."""


@dataclass(frozen=True)
class Cell:
    """A picture `(side, side, 3)` uint8 with words below; without one, words alone.

    Attributes:
        head: above the words, bold where the cell is marked.
    """

    picture: np.ndarray | None = None
    head: str = ""
    words: str | None = None
    is_marked: bool = False


@dataclass(frozen=True)
class Part:
    """Rows of cells under a title; `columns` are names with a line below each, if any."""

    title: str
    rows: list[list[Cell]]
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """All that is shown; `caption` says what it is and where it comes from."""

    title: str
    parts: list[Part]
    caption: str


def write_sheet(sheet: Sheet, path: Path | str) -> None:
    """Write the page (`.html`) or else the PNG, atomically and without a date: equal sheets are equal files."""
    if Path(path).suffix.lower() != ".html":
        save(sheet_figure(sheet), path)
        return
    environment = page_environment("representation", visible)
    environment.filters["address"] = lambda picture: Markup(_address(picture))
    page = environment.get_template("sheet.html.j2").render(sheet=sheet, marked=GREEN)
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def sheet_figure(sheet: Sheet, above: float = 0.0) -> Figure:
    """The sheet as a figure, with `above` inches left free at its top."""
    columns = max(len(row) for part in sheet.parts for row in part.rows)
    width = 2 * MARGIN + columns * (SIDE + GAP)
    caption = wrapped(sheet.caption, width - 2 * MARGIN, 8, 14)
    row_height = SIDE + sum(lines * _high(points) for points, lines in UNDER.values()) + 0.1
    heads = [0.34 + 0.5 * bool(part.columns) for part in sheet.parts]
    rows = sum(len(part.rows) for part in sheet.parts)
    foot = (caption.count("\n") + 2) * _high(8)
    height = 0.1 + sum(heads) + rows * row_height + foot
    figure = Figure(figsize=(width, height + above))
    axes = figure.add_axes((0, 0, 1, height / (height + above)))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    y = 0.1
    for part, head in zip(sheet.parts, heads, strict=True):
        axes.plot([MARGIN, width - MARGIN], [y, y], color=FAINT, linewidth=0.6)
        _words(axes, MARGIN, y + 0.07, part.title, width - 2 * MARGIN, 9, 1, weight="bold")
        for at, names in enumerate(part.columns):
            for text, down, lines in zip(names, (0.3, 0.45), (1, 3), strict=True):
                _words(axes, _left(at), y + down, text, SIDE, 7, lines)
        y += head
        for row in part.rows:
            for at, cell in enumerate(row):
                _draw(axes, cell, _left(at), y)
            y += row_height
    axes.set(xlim=(0, width), ylim=(height, 0))
    _words(axes, MARGIN, y, sheet.caption, width - 2 * MARGIN, 8, 14, color=MUTED)
    return figure


def save(figure: Figure, path: Path | str) -> None:
    """Write a PNG, atomically and without a date: equal figures are equal files."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        save_figure(figure, path, dpi=DPI, compress_level=PACKING)
    if any("missing from" in str(one.message) for one in found):
        # by its name alone: a folder that is made whole or not at all lies elsewhere until then
        say(f"{Path(path).name}: boxes stand for letters that no font here has; sheets that are pages (.html) show them")  # fmt: skip


def wrapped(text: str | None, inches: float, points: float, lines: int) -> str:
    """The text in at most `lines` lines of some `inches` at that size; what is left over ends in an ellipsis."""
    text = " ".join((text or "").split())
    is_wide = any(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    letters = max(1, int(inches * 72 / points / (1.02 if is_wide else 0.64)))
    if is_wide:  # no spaces to break at
        rows = [text[at : at + letters] for at in range(0, len(text), letters)]
    else:
        rows = textwrap.wrap(text, letters)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], f"{rows[lines - 1][: letters - 1].rstrip()}…"]
    return "\n".join(rows)


def pictures_of(
    frame: pl.LazyFrame, key: str, column: str, ids: list[int], side: int = PICTURE_PIXELS
) -> dict[int, np.ndarray]:
    """Square pictures `(side, side, 3)` uint8 by id, of those rows that have one."""
    found = frame.filter(pl.col(key).is_in(ids) & pl.col(column).is_not_null()).select(key, column)
    rows = found.collect(engine="streaming").iter_rows()
    return {each: square(decode(data, f"{column} of {key} {each}"), side) for each, data in rows}


def titles_of(shop: Shop, ids: list[int]) -> dict[int, str]:
    """Titles by item_id."""
    frame = shop.items.filter(pl.col("item_id").is_in(ids)).select("item_id", "title")
    return dict(frame.collect(engine="streaming").iter_rows())


def provenance(shop: Shop) -> str:
    """Where a shop's pictures and behaviour come from, in a line; says so where behaviour is simulated."""
    return f"{shop.title}. Source: {shop.source}"


@lru_cache
def families() -> list[str]:
    """Those of `FAMILIES` that this machine has."""
    known = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in FAMILIES if name in known]


def _address(picture: np.ndarray) -> str:
    """A picture as an address that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _draw(axes: Axes, cell: Cell, x: float, y: float) -> None:
    if cell.picture is not None:
        extent = (x, x + SIDE, y + SIDE, y)
        axes.imshow(cell.picture, extent=extent, aspect="auto", interpolation="antialiased")
    colour, line = (GREEN, 3.5) if cell.is_marked else (FAINT, 0.8)
    axes.add_patch(Rectangle((x, y), SIDE, SIDE, fill=False, color=colour, linewidth=line))
    below = y + SIDE + 0.05
    for name, text in (("head", cell.head), ("words", cell.words)):
        points, lines = UNDER[name]
        style = {"color": GREEN, "weight": "bold"} if cell.is_marked and name == "head" else {}
        if cell.picture is None and name == "words":
            _words(axes, x + 0.06, y + 0.08, text, SIDE - 0.12, 9, 6, weight="bold")
        else:
            height = _words(axes, x, below, text, SIDE, points, lines, **style)
            below += height + 0.02 * bool(height)


def _words(
    axes: Axes, x: float, y: float, text: str | None, inches: float, points: float, lines: int, **style: Any
) -> float:  # fmt: skip
    """Text with its top left corner at (x, y), drawn nowhere outside its place; gives the height it took."""
    fitted = wrapped(text, inches, points * (1.1 if "weight" in style else 1), lines)
    if not fitted:
        return 0.0
    drawn = axes.text(
        x, y, fitted, fontsize=points, va="top", parse_math=False,
        linespacing=LINE, family=families(), **{"color": INK, **style},
    )  # fmt: skip
    place = Rectangle((x, y - 0.05), inches + GAP / 2, lines * _high(points) + 0.1)
    drawn.set_clip_path(place.get_path(), place.get_patch_transform() + axes.transData)
    return (fitted.count("\n") + 1) * _high(points)


def _left(column: int) -> float:
    return MARGIN + column * (SIDE + GAP)


def _high(points: float) -> float:
    """Inches of a line."""
    return points * LINE / 72
