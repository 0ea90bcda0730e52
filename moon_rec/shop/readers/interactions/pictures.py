"""Pictures of a table of items: bytes, structs, or names of files in a folder, a zip or a tar.

Notable choices
- Names are looked up as `moon_rec.shop.named_pictures` does.
- A picture that is not there is none, and counted. One that is there and cannot be decoded is a fault of the file: it is none, too,
  and named, with the reason, in `BROKEN_PICTURES` of the shop's folder.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.faults import SCHEMA
from moon_rec.shop.named_pictures import NamedPictures
from moon_rec.shop.own_ids import OwnIds
from moon_rec.shop.pictures import PictureError, decode
from moon_rec.shop.schema import BROKEN_PICTURES
from moon_rec.values import shown


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that cannot be used: its item, the row of the table of items, what the table has there, and why."""

    item_id: int
    row: int
    value: object
    error: PictureError


class Pictures:
    """Pictures by name, and a count of what was missing or broken.

    Attributes:
        num_found, num_missing: pictures that were taken, and names that no file has.
        broken: pictures that cannot be decoded.
    """

    def __init__(self, path: Path | None = None) -> None:
        """List what is there; None where pictures are bytes in the table.

        Raises:
            ShopError: neither a folder nor an archive.
        """
        self.path, self.num_missing, self.num_found = path, 0, 0
        self.broken: list[BrokenPicture] = []
        try:
            self._files = None if path is None else NamedPictures(path)
        except ValueError as error:
            raise ShopError(
                f"--pictures {path} is no folder, zip or tar: {error}; name the one with the pictures"
            ) from None

    def read_into(self, rows: pl.DataFrame, places: np.ndarray) -> pl.DataFrame:
        """The rows with the bytes of each picture in `image`, null where there is none.

        Args:
            places: `(rows,)` of each row in its table.
        """
        values = rows["image"]
        if isinstance(values.dtype, pl.Struct):
            fields = [field.name for field in values.dtype.fields]
            found = [self._of_struct(value, fields) for value in values.to_list()]
        elif values.dtype == pl.Binary:
            found = values.to_list()
        else:
            found = [self._of_name(name) for name in values.to_list()]
        kept = []
        for place, item, value, data in zip(places, rows["item_id"], values, found, strict=True):
            error = None if data is None else _fault(data)
            if error is not None:
                self.broken.append(BrokenPicture(item, int(place), value, error))
            self.num_missing += data is None
            self.num_found += data is not None and error is None
            kept.append(None if error is not None else data)
        return rows.with_columns(pl.Series("image", kept, dtype=pl.Binary))

    def write_broken(self, folder: Path, column: str, ids: OwnIds) -> None:
        """Name every broken picture in `BROKEN_PICTURES`, in the columns of `moon_rec.shop.faults`; nothing where none is.

        Args:
            column: of the table of items. ids: the items', for the user's own.
        """
        if not self.broken:
            return
        own = dict(ids.frame().iter_rows())
        rows = [
            {
                "table": "items",
                "column": column,
                "row": each.row,
                "id": own[each.item_id],
                "value": shown(each.value),
                "rule": each.error.fault,
                "mend": each.error.mend,
            }
            for each in self.broken
        ]
        pl.DataFrame(rows, schema=SCHEMA).write_csv(folder / BROKEN_PICTURES)

    def _of_struct(self, value: dict | None, fields: list[str]) -> bytes | None:
        if value is None:
            return None
        data = value.get("bytes") if "bytes" in fields else None
        return data if data is not None else self._of_name(value.get("path"))

    def _of_name(self, name: str | None) -> bytes | None:
        found = self._files.find(str(name)) if name and self._files else None
        return None if found is None or self._files is None else self._files.read(found)


def _fault(data: bytes) -> PictureError | None:
    """Why a picture cannot be used, None where it can."""
    try:
        decode(data)
    except PictureError as error:
        return error
    return None
