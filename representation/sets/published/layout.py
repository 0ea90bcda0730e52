"""What all layouts share: where the pictures are, and how much is read."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from moon_rec.bounds import CountOrZero
from moon_rec.config import Config
from moon_rec.errors import ConfigError, ShopError
from representation.sets.published.picture_files import PictureFiles

LAYOUT_FILE = "layout.toml"
"""Settings of a set's layout, beside its files: column and file names that differ from the defaults."""


def refuse_paths(values: object, where: str) -> None:
    """Refuse a name in a set's own layout that leads out of its folder: a set from elsewhere reads nothing but itself.

    Raises:
        ConfigError: a text that begins at the root, at a home, or goes up.
    """
    if isinstance(values, dict):
        for name, value in values.items():
            refuse_paths(value, f"{where}: {name}")
    elif isinstance(values, list):
        for value in values:
            refuse_paths(value, where)
    elif isinstance(values, str):
        parts = re.split(r"[/\\]", values)
        if ".." in parts or values.startswith(("/", "\\", "~")) or "\0" in values:
            raise ConfigError(
                f"{where} is {values!r:.80}, which leads out of the set's folder; put the files there, or name them with --set"
            )


class PictureLayout(Config):
    """Pictures of a set, and rows of it.

    Attributes:
        pictures: folder or zip archive of pictures, relative to the set's folder; where it is absent, a row must hold its picture.
        missing_pictures: a picture that a row names and that is not there is refused, or counted and left null; `none` reads no picture at all.
        longest_side: larger pictures are made smaller to this many pixels; 0 keeps them as they are. All pictures of a set are held in memory.
        max_rows: read so many rows of the main file, for a first look; 0 reads all.
    """

    pictures: str = "images"
    missing_pictures: Literal["refuse", "count", "none"] = "refuse"
    longest_side: Annotated[int, Field(ge=0, le=65_536)] = 256
    max_rows: CountOrZero = 0

    def open_pictures(self, folder: Path) -> PictureFiles | None:
        """The pictures of the set in `folder`; None where none are to be read.

        Raises:
            ShopError: `pictures` names a file that is no archive.
        """
        if self.missing_pictures == "none":
            return None
        path: Path | None = folder / self.pictures
        if not os.path.exists(path):  # a name may be too long for any file
            archive = path.with_name(f"{path.name}.zip")
            path = archive if os.path.exists(archive) else None
        may_miss = self.missing_pictures == "count"
        return PictureFiles(path, may_miss, self.longest_side or None)

    def is_enough(self, number: int) -> bool:
        """Whether `number` rows are all that is to be read."""
        return bool(self.max_rows) and number >= self.max_rows

    def counted(self, pictures: PictureFiles | None) -> dict[str, int]:
        """What to add to a set's counts."""
        return {"pictures not found": pictures.num_missing} if pictures else {}

    def notes(self) -> list[str]:
        """What a reader of the printed counts must know."""
        found = []
        if self.max_rows:
            found.append(f"only the first {self.max_rows:,} rows were read (max_rows)")
        if self.missing_pictures == "none":
            found.append('no pictures were read (missing_pictures = "none")')
        return found


def pairs_of(
    text: str, between: str, inside: str, values: str | None = None
) -> list[tuple[str, str]]:
    """`name<inside>value<between>name<inside>value` as (name, value) pairs; several values of one name apart where `values` parts them.

    Raises:
        ShopError: a part without `inside`.
    """
    pairs = []
    for part in text.split(between):
        if not part.strip():
            continue
        name, found, value = part.partition(inside)
        if not found:
            raise ShopError(f"attribute {part[:60]!r} has no {inside!r} between name and value")
        several = value.split(values) if values else [value]
        pairs += [(name.strip(), each.strip()) for each in several if each.strip()]
    return pairs
