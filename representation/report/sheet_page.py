"""A page of product pictures: pictures, frames and words placed in inches from its top left corner.

Notable choices:
- One pair of axes for the whole page: a hundred pictures are drawn in well under a second, and nothing moves to make room for anything else.
- Every picture is made square with white margins, as the encoder's own are, so that all cells are alike.
- What is framed is told apart three times: by colour (of Okabe and Ito's palette, for colour-blind readers), by a thick line and by a word.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from moon_rec.figure_files import save_figure
from moon_rec.palette import FAINT, INK
from moon_rec.shop.pictures import decode
from moon_rec.shop.shop import Shop
from representation.model.pixels import square
from representation.report.lettering import MISSING, families, fit, width

PICTURE_PIXELS = 144
LINE = 1.35
"""Height of a line of text, in sizes of it."""
DPI = 120
PACKING = 4
"""zlib's level: photos pack little better at 6, which takes twice as long."""


class Page:
    """The part of a figure, from `top` inches downwards, that pictures and words are put on."""

    def __init__(self, figure: Figure, top: float = 0.0) -> None:
        whole, height = figure.get_size_inches()
        self.width, self.height = float(whole), float(height - top)
        self.axes = figure.add_axes((0, 0, 1, self.height / height))
        self.axes.set_axis_off()
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0), autoscale_on=False)
        self.has_missing_letters = False

    def words(
        self,
        x: float,
        y: float,
        text: str | None,
        inches: float,
        points: float = 7,
        lines: int = 1,
        bold: bool = False,
        **style: Any,
    ) -> float:
        """Text with its top left corner at (x, y), fitted into `inches` and `lines`; gives the height it took."""
        fitted = fit(text, inches, points, lines, bold)
        if not fitted:
            return 0.0
        self.has_missing_letters |= MISSING in fitted
        style = {"color": INK, "weight": "bold" if bold else "normal", **style}
        style = {"linespacing": LINE, "parse_math": False, "family": families(), **style}
        self.axes.text(x, y, fitted, fontsize=points, va="top", **style)
        return (fitted.count("\n") + 1) * points * LINE / 72

    def picture(
        self,
        x: float,
        y: float,
        side: float,
        pixels: np.ndarray | None,
        colour: str = FAINT,
        line: float = 0.8,
        **style: Any,
    ) -> None:
        """A square of `side` inches in a frame; an empty one where there is no picture."""
        if pixels is not None:
            extent = (x, x + side, y + side, y)
            style = {"interpolation": "antialiased", **style}
            self.axes.imshow(pixels, extent=extent, aspect="auto", **style)
        self.axes.add_patch(Rectangle((x, y), side, side, fill=False, color=colour, linewidth=line))
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))

    def rule(self, y: float) -> None:
        """A thin line across the page."""
        self.axes.plot([0.15, self.width - 0.15], [y, y], color=FAINT, linewidth=0.6)


def save(figure: Figure, path: Path | str) -> None:
    """Write a PNG, atomically and without a date: equal figures are equal files."""
    save_figure(figure, path, dpi=DPI, compress_level=PACKING)


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
    simulated = "SIMULATED shop" if shop.is_simulated else "shop"
    return f"{simulated} {shop.name}. Source: {shop.source}"


def caption_height(text: str, inches: float, points: float = 8) -> float:
    """Inches that a caption takes when it is wrapped to `inches`, a line to spare."""
    return (int(width(text, points) / inches * 1.1) + 2) * points * LINE / 72
