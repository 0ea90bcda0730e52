"""The boxes that a detector finds of a shop's pictures, part by part: a stopped search goes on where it was.

Parts of 1,024 rows lie in `OUT.boxes-<digest>` beside the output, named by all that decides a box (shop, detector, its weights, code); they go away when the shop with the boxes stands.
"""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path

import polars as pl

from moon_rec.files import atomic_file
from moon_rec.kept import note_kept
from moon_rec.progress import progress, say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.picture_pieces import PIECE
from moon_rec.shop.pictures import decode
from moon_rec.shop.schema import KEYS, PICTURES
from representation.core_region.crops import BOX_COLUMN
from representation.core_region.detector import Detector

PIECES = 1_024 // PIECE
"""Of `Shop.pictures`, in a part."""
TITLES = {"items": "title", "searches": "query_text"}
"""What a detector is told of a row's product."""
BOXES = pl.List(pl.Float64())
"""Left, top, right and bottom in pixels; null where there is no box."""


class FoundBoxes:
    """The parts of one search, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: list[Path] = []

    def of(
        self, shop: Shop, table: str, detector: Detector, but: Sequence[int] = ()
    ) -> pl.DataFrame:
        """Key and box of each row of `items` or `searches` that has a picture.

        Args:
            but: keys of rows that are not looked at.

        Raises:
            ShopError: a picture that cannot be decoded.
        """
        key, picture = KEYS[table][0], PICTURES[table]
        texts = shop.table(table).select(key, title=pl.col(TITLES[table]).fill_null(""))
        titles = dict(texts.collect().iter_rows())
        is_left_out = pl.col(key).is_in(pl.Series(but, dtype=pl.Int64).implode())
        parts = [pl.DataFrame(schema={key: pl.Int64, BOX_COLUMN: BOXES})]
        with progress(f"boxes of {table}", total=len(titles)) as bar:
            pieces = shop.pictures(table)
            for place in count():
                some = list(islice(pieces, PIECES))
                if not some:
                    break
                rows = pl.concat(some)
                wanted = rows.filter(pl.col(picture).is_not_null(), ~is_left_out)
                parts.append(self._part(shop, table, place, wanted, titles, detector))
                bar.advance(rows.height)
        return pl.concat(parts)

    def drop(self) -> None:
        """Remove the parts; what others put there stays."""
        for file in self._files:
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _part(
        self,
        shop: Shop,
        table: str,
        place: int,
        rows: pl.DataFrame,
        titles: dict[int, str],
        detector: Detector,
    ) -> pl.DataFrame:
        """As it stands, or found now."""
        file = self.folder / f"{table}-{place:06d}.parquet"
        self._files.append(file)
        key, picture = KEYS[table][0], PICTURES[table]
        if (standing := _read(file)) is not None:
            return standing
        own = OwnNames.of(shop.path, "item" if table == "items" else "search")
        names = own.own(rows[key])
        shown = [
            decode(data, f"{table}.{picture} of {key} {name}")
            for data, name in zip(rows[picture], names, strict=True)
        ]
        found = detector.boxes(shown, [titles[one] for one in rows[key]])
        sides = [None if box is None else [float(side) for side in box[:4]] for box in found]
        part = rows.select(key).with_columns(pl.Series(BOX_COLUMN, sides, dtype=BOXES))
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(file) as temporary:
            part.write_parquet(temporary)
        note_kept(self.folder, f"{len(self._files):,} parts of the boxes")
        return part


def _read(file: Path) -> pl.DataFrame | None:
    """A part that stands; one that cannot be read (a disk was full) is found again."""
    if not file.is_file():
        return None
    try:
        return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        say(f"{file} cannot be read ({type(error).__name__}): its boxes are found again")
        return None


def with_boxes(shop: Shop, table: str, boxes: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows of a table in their order, some at a time, with the column of these boxes."""
    key = KEYS[table][0]
    frame = shop.table(table).drop(BOX_COLUMN, strict=False)
    for rows in frame.collect_batches(maintain_order=True, chunk_size=1_024):
        yield rows.join(boxes, on=key, how="left", maintain_order="left")
