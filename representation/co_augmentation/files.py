"""A folder of co-augmentation: enriched titles and expanded pictures that were kept, a sheet to look at, and `augmentation.json` that says how they were made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from moon_rec.errors import EncoderError, MoonRecError, first_line
from moon_rec.files import digest_of, read_json
from moon_rec.outputs import OutputKind, json_with
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.recorded import difference, recorded_files
from moon_rec.shop import Shop
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.shop.picture_pieces import PIECE, batches_of
from moon_rec.shown import visible

ABOUT, TITLES, PICTURES, SHEET = "augmentation.json", "titles.parquet", "pictures.parquet", "sheet.png"  # fmt: skip
AUGMENTATION = OutputKind(
    "a co-augmentation",
    ABOUT,
    json_with("shop", "config", "made", "kept"),
    (TITLES, PICTURES, SHEET),
)
TITLE_SCHEMA = {
    "item_id": pl.Int64,
    "title": pl.String,
    "enriched": pl.String,
    "entities": pl.List(pl.String),
    "score": pl.Float32,
}
"""`title` is the product's own; `score` the filter's cosine, null without."""
PICTURE_SCHEMA = {
    "item_id": pl.Int64,
    "kind": pl.String,
    "image": pl.Binary,
    "digest": pl.String,
    "score": pl.Float32,
}
"""`kind` is of `config.KINDS`; `digest` 16 hex digits of the picture's file."""
_AGAIN = "make it again with python -m representation.augment"


class Augmentation(NamedTuple):
    """A folder that was opened and held against what it records.

    Attributes:
        titles: `item_id` and `enriched`, ascending by item_id.
        pictures: `item_id` and `kind` of each expanded picture, in the file's order.
        digest: 16 hex digits of all files.
    """

    folder: Path
    titles: pl.DataFrame
    pictures: pl.DataFrame
    digest: str

    def pieces(self) -> Iterator[pl.DataFrame]:
        """Place in the file and bytes of each picture, some at a time."""
        first = 0
        with pq.ParquetFile(self.folder / PICTURES, buffer_size=1 << 20) as file:
            for batch in batches_of(file, PIECE, ["image"]):
                frame = pl.from_arrow(batch)
                assert isinstance(frame, pl.DataFrame)
                places = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
                yield frame.select(places.alias("place"), pl.col("image"))
                first += frame.height
        pa.default_memory_pool().release_unused()


def read_augmentation(path: Path | str, shop: Shop) -> Augmentation:
    """What `representation.augment` wrote of this shop.

    Raises:
        EncoderError: no such folder, one of another shop, or a file that is not the one recorded.
    """
    folder = Path(path)
    about = read_about(folder)
    of_shop = about["shop"]["digest"]
    if of_shop != shop.digest:
        raise EncoderError(
            f"{folder} holds the co-augmentation of shop {visible(of_shop)[:40]}, this shop is {shop.digest}: make this shop's with python -m representation.augment"
        )
    titles = _table(folder / TITLES, TITLE_SCHEMA, ("item_id", "enriched"))
    pictures = _table(folder / PICTURES, PICTURE_SCHEMA, ("item_id", "kind"))
    return Augmentation(folder, titles.sort("item_id"), pictures, digest_of(about["files"]))


def read_about(folder: Path) -> dict[str, Any]:
    """What `augmentation.json` says, the folder's files held against the digests that it records.

    Raises:
        EncoderError: it is not there, cannot be read, names no shop or no files, or a file was changed.
    """
    if not (folder / ABOUT).is_file():
        raise EncoderError(
            f"{folder} holds no {ABOUT}: make it with python -m representation.augment"
        )
    try:
        about = read_json(folder / ABOUT)
        shop = about.get("shop") if isinstance(about, dict) else None
        if not isinstance(shop, dict) or not isinstance(shop.get("digest"), str):
            raise EncoderError(f"{folder / ABOUT} names no shop by its digest; {_AGAIN}")
        files = recorded_files(about, folder / ABOUT)
        if not {TITLES, PICTURES} <= files.keys():
            raise EncoderError(f"{folder / ABOUT} records no {TITLES} and {PICTURES}; {_AGAIN}")
        why = difference(folder, ABOUT, files, lambda name: name.endswith(".parquet"))
    except (MoonRecError, OSError) as error:
        raise EncoderError(first_line(error)) from None
    if why:
        raise EncoderError(why)
    return about


def _table(file: Path, schema: dict[str, Any], columns: tuple[str, ...]) -> pl.DataFrame:
    refuse_bombs(file, EncoderError)
    try:
        found = dict(pl.read_parquet_schema(file))
        if found != schema:
            raise EncoderError(
                f"{file} has columns {visible(', '.join(found))[:120]}, wanted {', '.join(schema)}; {_AGAIN}"
            )
        return pl.read_parquet(file, columns=list(columns))
    except UNREADABLE as error:
        raise EncoderError(
            f"{file} cannot be read as Parquet: {first_line(error)}; {_AGAIN}"
        ) from None
