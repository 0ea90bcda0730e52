"""Pictures of a table of items: bytes, structs, or names of files in a folder, a zip or a tar.

Notable choices
- A name is looked up as it stands, then without its folders, then without its ending: publishers write "images/12.jpg",
  "12.jpg", "12" or an address that ends in one of these. Nothing is ever fetched from an address, and nothing outside the
  folder or archive is read, whatever a name says.
- A picture that is not there is none, and counted. One that is there and cannot be decoded is a fault of the file: it is none, too,
  and named, with the reason, in `BROKEN_PICTURES` of the shop's folder.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.shop.faults import SCHEMA
from moon_rec.shop.own_ids import OwnIds
from moon_rec.shop.pictures import PictureError, decode
from moon_rec.shop.schema import BROKEN_PICTURES
from moon_rec.values import shown

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_DAMAGED = (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


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
        self._read: Callable[[str], bytes] | None = None
        self._exact: dict[str, str] = {}
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, str] = {}
        if path is None:
            return
        names, self._read = _listing(path)
        for name in sorted(names):
            file = PurePosixPath(name)
            if file.suffix.lower() in ENDINGS:
                self._exact[name] = name
                self._by_name.setdefault(file.name, name)
                self._by_stem.setdefault(file.stem, name)

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
        if not name or self._read is None:
            return None
        name = str(name).split("?")[0].strip().removeprefix("./")
        last = PurePosixPath(name).name
        found = (
            self._exact.get(name)
            or self._by_name.get(last)
            or self._by_stem.get(last)
            or self._by_stem.get(PurePosixPath(last).stem)
        )
        return None if found is None else self._read(found)


def _listing(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of the files in a folder or an archive, and how one is read."""
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        return names, lambda name: (path / name).read_bytes()
    try:
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            return archive.namelist(), lambda name: _member(path, name, lambda: archive.read(name))
        tar = tarfile.open(path)  # noqa: SIM115 (open as long as the import goes on)
        members = {member.name: member for member in tar.getmembers() if member.isfile()}
        return list(members), lambda name: _member(
            path, name, lambda: _bytes_of(tar, members[name])
        )
    except _DAMAGED as error:
        raise ShopError(
            f"--pictures {path} is no folder, zip or tar: {first_line(error)}; name the one with the pictures"
        ) from None


def _bytes_of(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _member(path: Path, name: str, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except _DAMAGED as error:
        raise ShopError(
            f"{path}: {name} is damaged: {first_line(error)}; fetch the archive again"
        ) from None


def _fault(data: bytes) -> PictureError | None:
    """Why a picture cannot be used, None where it can."""
    try:
        decode(data)
    except PictureError as error:
        return error
    return None
