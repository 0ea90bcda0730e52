"""A sheet of pictures with their boxes: what a detector took for the product, and on a simulated shop where it is.

Where the true boxes are known, the pictures of the lowest IoU come first, those without a box before them; elsewhere pictures are drawn by the seed. The box is vermilion, the true one blue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from moon_rec.errors import EncoderError
from moon_rec.palette import BLUE, VERMILION
from moon_rec.seeds import generator
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.pictures import decode
from moon_rec.shop.schema import KEYS, PICTURES
from representation.core_region.box import Box, overlap
from representation.core_region.crops import BOX_COLUMN, boxes_in
from representation.core_region.found_boxes import TITLES
from representation.model.pixels import square
from representation.report.sheet import PICTURE_PIXELS, Cell, Part, Sheet, provenance, write_sheet

COLUMNS = 8
COUNT = 24
"""Pictures of a table."""


@dataclass(frozen=True)
class Judged:
    """A row with a picture; `true` and `iou` None where the true box is not known, `iou` 0 without a box."""

    key: int
    box: Box | None
    true: Box | None
    iou: float | None


def draw_boxes(path: str | Path, shop: Shop, count: int = COUNT, seed: int = 0) -> list[str]:
    """Write the sheet `path` (`.html` or `.png`), atomically, of a shop with a column `core_box`.

    Returns:
        Lines that say of each table how many pictures have a box, and their mean IoU where it is known.

    Raises:
        EncoderError: it has no such column, or no picture.
    """
    judged = {table: judged_rows(shop, table) for table in PICTURES}
    parts = [_part(shop, table, rows, count, seed) for table, rows in judged.items() if rows]
    if not parts:
        raise EncoderError(
            f"{shop.path} has no column {BOX_COLUMN} of pictures; find boxes with python -m representation.core_region {shop.path} --out NEW"
        )
    caption = (
        f"Vermilion: {BOX_COLUMN}. Blue: the true box, where the shop knows it. {provenance(shop)}"
    )
    write_sheet(Sheet(f"Core regions: {shop.name}", parts, caption), path)
    return [part.title for part in parts]


def judged_rows(shop: Shop, table: str) -> list[Judged]:
    """Every row of a table that has a picture, with its box and, where it is known, the true one; empty where there is no column of boxes."""
    key = KEYS[table][0]
    if BOX_COLUMN not in shop.table(table).collect_schema():
        return []
    pictured = shop.pictured(table).filter("has_picture").select(key)
    rows = pictured.join(shop.table(table).select(key, BOX_COLUMN), on=key).collect().sort(key)
    known = boxes_in(rows, [f"{table} {one}" for one in rows[key]]) or []
    truth = shop.true_boxes
    true = {} if truth is None else {
        one: Box(*map(float, sides))
        for kind, one, *sides in truth.iter_rows() if kind == table
    }  # fmt: skip
    return [_judged(one, box, true.get(one)) for one, box in zip(rows[key], known, strict=True)]


def _judged(key: int, box: Box | None, true: Box | None) -> Judged:
    iou = None if true is None else 0.0 if box is None else overlap(box, true)
    return Judged(key, box, true, iou)


def _part(shop: Shop, table: str, judged: Sequence[Judged], count: int, seed: int) -> Part:
    known = [one for one in judged if one.iou is not None]
    missing = sum(one.box is None for one in judged)
    title = f"{table}: {len(judged):,} pictures, {missing:,} without a box"
    if known:
        found = [one.iou or 0.0 for one in known if one.box is not None]
        mean = float(np.mean(np.array(found or [0.0])))
        title += f"; mean IoU of the boxes {mean:.3f}; the worst first"
        shown = sorted(known, key=lambda one: (one.box is not None, one.iou, one.key))[:count]
    else:
        order = generator(seed, "box sheet", table).permutation(len(judged))[:count]
        shown = [judged[place] for place in order]
    cells = _cells(shop, table, shown)
    return Part(title, [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)])


def _cells(shop: Shop, table: str, shown: Sequence[Judged]) -> list[Cell]:
    key, picture, title = KEYS[table][0], PICTURES[table], TITLES[table]
    wanted = pl.Series([one.key for one in shown], dtype=pl.Int64)
    frame = shop.table(table).filter(pl.col(key).is_in(wanted.implode()))
    rows = {row[0]: row[1:] for row in frame.select(key, picture, title).collect().iter_rows()}
    own = OwnNames.of(shop.path, "item" if table == "items" else "search")
    cells = []
    for one in shown:
        data, words = rows[one.key]
        name = own.name(one.key)
        drawn = drawn_on(decode(data, f"{table}.{picture} of {key} {name}"), one.box, one.true)
        iou = "" if one.iou is None else f"IoU {one.iou:.2f}"
        head = iou if one.box is not None else "no box"
        cells.append(Cell(square(drawn, PICTURE_PIXELS), head, f"{name}: {words or ''}"))
    return cells


def drawn_on(picture: Image.Image, box: Box | None, true: Box | None) -> Image.Image:
    """A copy of a picture with both boxes as frames, the found one above."""
    scale = PICTURE_PIXELS / max(picture.size)
    size = [max(1, round(side * scale)) for side in picture.size]
    drawn = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BOX)
    pen = ImageDraw.Draw(drawn)
    for one, colour in ((true, BLUE), (box, VERMILION)):
        if one is not None:
            sides = [scale * side for side in one[:4]]
            pen.rectangle([sides[0], sides[1], sides[2] - 1, sides[3] - 1], outline=colour, width=2)
    return drawn
