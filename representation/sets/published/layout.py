"""What all layouts share: where the pictures are, and how much is read."""

import re
from typing import Annotated, Literal

from pydantic import Field

from moon_rec.bounds import CountOrZero
from moon_rec.config import Config
from moon_rec.errors import ConfigError, ShopError

LAYOUT_FILE = "layout.toml"
"""Settings of a set's layout, beside its files: column and file names that differ from the defaults."""


class PictureLayout(Config):
    """Pictures of a set, and rows of it.

    Attributes:
        pictures: folder or archive of pictures, relative to the set's folder; where it is absent, a row must hold its picture.
        missing_pictures: a picture that a row names and that is not there is refused, or counted and left null; `none` reads no picture at all.
        longest_side: larger pictures are made smaller to this many pixels; 0 keeps them as they are. All pictures of a set are held in memory.
        max_rows: read so many rows of the main file, for a first look; 0 reads all.
    """

    pictures: str = "images"
    missing_pictures: Literal["refuse", "count", "none"] = "refuse"
    longest_side: Annotated[int, Field(ge=0, le=65_536)] = 256
    max_rows: CountOrZero = 0


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


def pairs_of(
    text: str, where: str, between: str, inside: str, values: str | None = None
) -> list[tuple[str, str]]:
    """`name<inside>value<between>name<inside>value` as (name, value) pairs; several values of one name apart where `values` parts them.

    Raises:
        ShopError: a part without `inside`.
    """
    pairs = []
    for part in filter(str.strip, text.split(between)):
        name, found, value = part.partition(inside)
        if not found:
            raise ShopError(
                f"{where}: attribute {part[:60]!r} has no {inside!r} between name and value"
            )
        several = value.split(values) if values else [value]
        pairs += [(name.strip(), each.strip()) for each in several if each.strip()]
    return pairs
