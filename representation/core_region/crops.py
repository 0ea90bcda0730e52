"""A picture and its core region as two squares: how an encoder gets its second picture.

Both are cut where a picture is decoded, out of the picture in its own size, once; from there on they go together: kept, altered alike, put into a batch as two dense pictures of a row. So a product has 2M picture
tokens where it had M.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from moon_rec.errors import EncoderError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.schema import KEYS
from representation.core_region.box import Box, crop
from representation.core_region.config import CoreRegionConfig
from representation.core_region.foreground import foreground_box
from representation.model.pixels import square
from representation.trainable import Cut

BOX_COLUMN = "core_box"
"""Of items and searches, optional: `[x0, y0, x1, y1]` in pixels of the row's picture, null where nobody knows."""


class CoreRegion:
    """Cuts both squares, and counts the pictures whose box it did not find; a `trainable.Cut`, and `in_box` where the box is known.

    Attributes:
        num_pictures, num_without: pictures cut, and those of them without a box.
    """

    def __init__(self, config: CoreRegionConfig) -> None:
        self.config = config
        self.num_pictures = self.num_without = 0

    def __call__(self, picture: Image.Image, size: int) -> np.ndarray:
        """The picture and its core region, uint8 `(2, size, size, 3)`."""
        return self.in_box(picture, size, None)

    def in_box(self, picture: Image.Image, size: int, box: Box | None) -> np.ndarray:
        """As `__call__`, with the box where it is known."""
        if box is None and self.config.detector == "foreground":
            box = foreground_box(picture)
        self.num_pictures += 1
        self.num_without += box is None
        region = crop(picture, box, self.config.margin)
        return np.stack([square(picture, size), square(region, size)])

    def tell(self) -> None:
        """Say how many pictures had no box."""
        if self.num_without:
            say(
                f"core region: {self.num_without:,} of {self.num_pictures:,} pictures have no box; the whole picture stands in its place"
            )


@contextmanager
def boxes_told(cut: Cut | None) -> Iterator[None]:
    """Say at the end how many of the pictures that were cut within have no box; nothing of a cut without a core region."""
    if isinstance(cut, CoreRegion):
        cut.num_pictures = cut.num_without = 0
    yield
    tell_boxes(cut)


def tell_boxes(cut: Cut | None) -> None:
    """Say how many of the pictures that were cut since the last `boxes_told` have no box; nothing of a cut without a core region."""
    if isinstance(cut, CoreRegion):
        cut.tell()


def cut_at(cut: Cut, picture: Image.Image, size: int, box: Box | None, name: str) -> np.ndarray:
    """A picture's square, or its two squares with the box where it is known.

    Args:
        name: what an error calls the picture.

    Raises:
        EncoderError: the box lies off the picture.
    """
    if not isinstance(cut, CoreRegion):
        return cut(picture, size)
    try:
        return cut.in_box(picture, size, box)
    except EncoderError as error:
        raise EncoderError(f"{name}: {BOX_COLUMN}, {error}") from None


def box_columns(there: Collection[str]) -> list[str]:
    """`core_box` where it is among a table's columns: what encoders read of a picture besides its bytes. Wherever pictures of a table are chosen for an encoder, so is this."""
    return [BOX_COLUMN] if BOX_COLUMN in there else []


def boxes_in(frame: pl.DataFrame, names: Sequence[str]) -> list[Box | None] | None:
    """The boxes of a frame's column `core_box`; None where it has none.

    Args:
        names: what an error calls each row.

    Raises:
        EncoderError: a value that is not four finite numbers with x0 < x1 and y0 < y1.
    """
    if BOX_COLUMN not in frame.columns:
        return None
    return [_box(value, name) for value, name in zip(frame[BOX_COLUMN], names, strict=True)]


def _box(value: Any, name: str) -> Box | None:
    if value is None:
        return None
    sides = list(value) if isinstance(value, pl.Series | list | tuple) else []
    numbers = [float(side) for side in sides if isinstance(side, int | float)]
    if len(numbers) == len(sides) == 4 and np.isfinite(numbers).all():
        box = Box(*numbers)
        if box.x1 > box.x0 and box.y1 > box.y0:
            return box
    raise EncoderError(
        f"{name}: {BOX_COLUMN} is {sides or value!r}; wanted [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1, or null"
    )


def known_boxes(
    shop: Shop, table: str, ids: np.ndarray, names: Sequence[str], cut: Cut
) -> list[Box | None] | None:
    """The boxes of a shop's rows by their ids, where its table has the column `core_box`; None where it has not, or `cut` reads none.

    Raises:
        EncoderError: as `boxes_in`.
    """
    key = KEYS[table][0]
    is_read = isinstance(cut, CoreRegion) and len(ids) > 0
    if not is_read or BOX_COLUMN not in shop.table(table).collect_schema():
        return None
    rows = pl.DataFrame({key: ids}).lazy()
    found = rows.join(
        shop.table(table).select(key, BOX_COLUMN), on=key, how="left", maintain_order="left"
    )
    return boxes_in(found.collect(), names)
