"""A shop: a folder of Parquet tables with a manifest, opened for reading.

Notable choices
- Tables are polars LazyFrames over the files: nothing is read before it is asked for, and pictures (the bulk of the
  bytes) are read only by those who select them; `pictured` says which rows have one.
- `open` reads the manifest and the files' headers, so a missing table, column or wrong type is
  named at once; the rules that need the rows are for `validate`.
- A table is held against the digest that the manifest records before its rows are first read, and all of them for the
  shop's digest: rows that changed are refused, never read in silence.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.parquet_bounds import refuse_bombs
from moon_rec.shop.integrity import promise_problems, unread_problems
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.non_click_recipe import NonClickRecipe
from moon_rec.shop.picture_pieces import picture_pieces, pictured
from moon_rec.shop.problem import raise_all
from moon_rec.shop.readings import texts_read
from moon_rec.shop.schema import BOX_COLUMNS, FILES, TRUE_BOXES
from moon_rec.shop.structure import structure_problems
from moon_rec.shop.validation import validate_folder
from moon_rec.shown import visible

Period = Literal["train", "validation", "test"]
"""train < cut_time <= validation < test_time <= test."""


class Shop:
    """Items, searches and impressions of one shop, and the two times that split them."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Use `Shop.open`."""
        self.path = path
        self.manifest = manifest
        self._held: set[str] = set()
        self._pictured: dict[str, pl.DataFrame] = {}

    @classmethod
    def open(cls, path: str | Path) -> "Shop":
        """Open a shop's folder.

        Raises:
            ShopError: the folder or its manifest is absent or unreadable, a table misses a column or has a wrong type, or
                a file has not the rows and bytes that the manifest records.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise ShopError(
                f"{folder} is not a folder: make a shop with `python -m moon_rec shop simulate --out {folder}`"
            )
        manifest = Manifest.read(folder)
        raise_all(folder, structure_problems(folder))
        raise_all(folder, promise_problems(folder, manifest, deep=False))
        return cls(folder, manifest)

    @property
    def name(self) -> str:
        """The shop's name, from its manifest, in one line in which everything can be seen."""
        return visible(self.manifest.name)

    @property
    def source(self) -> str:
        """Where its tables come from, in words, as `name`; printed with every number."""
        return visible(self.manifest.source)

    @property
    def is_simulated(self) -> bool:
        """Whether its behaviour is simulated; every printed number then says so."""
        return self.manifest.is_simulated

    @property
    def title(self) -> str:
        """Its name, and what it is: `shop NAME`, or `SIMULATED shop NAME`."""
        return f"{'SIMULATED ' if self.is_simulated else ''}shop {self.name}"

    def about(self) -> dict[str, str | bool]:
        """What a record of something measured says of its shop."""
        named = {"name": self.name, "digest": self.digest, "source": self.source}
        return {**named, "is_simulated": self.is_simulated}

    @property
    def non_clicks(self) -> NonClickRecipe | None:
        """How its non-clicks were sampled, None where they were observed; said beside every AUC (`non_clicks_said`)."""
        return self.manifest.non_clicks

    @property
    def cut_time(self) -> datetime:
        """Train ends here, validation begins (naive UTC)."""
        return self.manifest.cut_time

    @property
    def test_time(self) -> datetime:
        """Validation ends here, test begins (naive UTC)."""
        return self.manifest.test_time

    @cached_property
    def digest(self) -> str:
        """16 hex characters over the contents of all tables and the two times.

        Raises:
            ShopError: a table's file is not the one that the manifest records.
        """
        for table in FILES:
            self.file(table)
        return self.manifest.digest(self.path)

    @property
    def items(self) -> pl.LazyFrame:
        """The items; `image` is large: select it only where it is needed."""
        return self.table("items")

    @property
    def searches(self) -> pl.LazyFrame:
        """The searches; `query_image` is large: select it only where it is needed."""
        return self.table("searches")

    @property
    def impressions(self) -> pl.LazyFrame:
        """The impressions, with their labels and any context columns."""
        return self.table("impressions")

    @property
    def events(self) -> pl.LazyFrame | None:
        """What users did that was no impression, or None when the shop has no such table; only histories read it."""
        return self.table("events") if self.has("events") else None

    @property
    def users(self) -> pl.LazyFrame | None:
        """Profiles of users, or None when the shop has none."""
        return self.table("users") if self.has("users") else None

    @property
    def truth(self) -> pl.LazyFrame | None:
        """True click probabilities of a simulated shop, for measuring only; None elsewhere."""
        return self.table("truth") if self.has("truth") else None

    @property
    def true_boxes(self) -> pl.DataFrame | None:
        """Where the product is on each picture of a simulated shop, see `schema.BOX_COLUMNS`, for measuring only; None elsewhere.

        Raises:
            ShopError: the file is not one that the simulation wrote.
        """
        file = self.path / TRUE_BOXES
        if not file.is_file():
            return None
        refuse_bombs(file, ShopError)
        if dict(pl.read_parquet_schema(file)) != BOX_COLUMNS:
            raise ShopError(
                f"{file}: its columns are not {', '.join(BOX_COLUMNS)}; simulate the shop again"
            )
        return pl.read_parquet(file)

    def has(self, table: str) -> bool:
        """Whether the table's file is there."""
        return (self.path / FILES[table]).is_file()

    def table(self, name: str) -> pl.LazyFrame:
        """A table by name, as a LazyFrame over its file; a blank text is read as no text, as the importer writes it."""
        return pl.scan_parquet(self.file(name)).with_columns(texts_read(name))

    def pictures(self, table: str) -> Iterator[pl.DataFrame]:
        """Key and picture of the rows of `items` or `searches`, some at a time, in the memory of a row group."""
        return picture_pieces(self.file(table), table)

    def pictured(self, table: str) -> pl.LazyFrame:
        """Which rows of `items` or `searches` have a picture, in the file's order: the key, `has_picture`, `picture_hash` (null without); found once, and no picture is kept."""
        if table not in self._pictured:
            self._pictured[table] = pictured(self.file(table), table)
        return self._pictured[table].lazy()

    def file(self, name: str) -> Path:
        """Where a table lies; the first time its bytes are held against the manifest, or decoded where it records none.

        Raises:
            ShopError: the file is not the one that the manifest records, or cannot be read to its end.
        """
        if name not in self._held:
            raise_all(self.path, promise_problems(self.path, self.manifest, (name,)))
            if self.has(name):
                refuse_bombs(self.path / FILES[name], ShopError)
                if name not in self.manifest.fingerprints:
                    raise_all(self.path, unread_problems(self.path, name))
            self._held.add(name)
        return self.path / FILES[name]

    def in_period(
        self, frame: pl.LazyFrame | pl.DataFrame, period: Period, column: str = "time"
    ) -> pl.LazyFrame:
        """The rows of `frame` whose `column` lies in the period: train < cut_time <= validation < test_time <= test.

        Raises:
            ShopError: the period's name is unknown.
        """
        time = pl.col(column)
        cut, test = (
            pl.lit(self.cut_time, pl.Datetime("us")),
            pl.lit(self.test_time, pl.Datetime("us")),
        )
        rows = {
            "train": time < cut,
            "validation": (time >= cut) & (time < test),
            "test": time >= test,
        }
        if period not in rows:
            raise ShopError(
                f"period {period!r} is unknown: choose one of {', '.join(get_args(Period))}"
            )
        return frame.lazy().filter(rows[period])

    def validate(self) -> None:
        """Check every rule of the tables, reading each table once.

        Raises:
            ShopError: one line that names every broken rule with table, column, first row and value.
        """
        raise_all(self.path, validate_folder(self.path))

    def __repr__(self) -> str:
        simulated = ", simulated" if self.is_simulated else ""
        return f"Shop({self.name!r} at {self.path}{simulated}, digest {self.digest})"
