"""Raw files of a data set: one that is absent, or misses a column, is told in one line."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.packed import MOST_MEMBER_BYTES, open_zip, read_member, refuse_packed_bomb
from moon_rec.shop.integrity import UNREADABLE
from moon_rec.strict_json import read_bounded


def find_file(folder: str | Path, names: Iterable[str], what: str) -> Path:
    """The first of `names` that exists in the folder.

    Raises:
        ShopError: the folder or all of the files are absent.
    """
    folder, names = Path(folder), list(names)
    if not folder.is_dir():
        raise ShopError(f"{folder} is not a folder: --data names the folder of {what}")
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise ShopError(f"{folder} has no {' or '.join(names)}: --data names the folder of {what}")


def read_csv(path: Path, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The named columns of a CSV file (gzipped or not), of the given types.

    Raises:
        ShopError: columns are missing, or a value does not fit its type or is no finite number.
    """
    refuse_packed_bomb(path, ShopError)
    try:
        frame = pl.scan_csv(path, infer_schema=False)
        there = frame.collect_schema().names()
    except UNREADABLE as error:
        raise ShopError(f"{path} cannot be read as CSV: {first_line(error)}") from None
    require_columns(there, columns, path)
    try:
        casts = [pl.col(name).cast(dtype) for name, dtype in columns.items()]
        read = frame.select(casts).collect(engine="streaming")
    except UNREADABLE as error:
        raise ShopError(f"{path}: {first_line(error)}; download the file again") from None
    for number in read.select(pl.selectors.float()):
        rows = (~number.is_finite()).fill_null(False).arg_true()
        if rows.len():
            raise ShopError(
                f"{path}: {number.name} row {rows[0]}: {number[rows[0]]} is no number ({rows.len():,} such); download the file again"
            )
    return read


def require_columns(there: Sequence[str], columns: Iterable[str], path: Path) -> None:
    """Raise where columns are missing.

    Raises:
        ShopError: it names every missing column and those that are there.
    """
    missing = [name for name in columns if name not in there]
    if missing:
        raise ShopError(
            f"{path} has no column {', '.join(missing)}: it has {', '.join(there)}; take the publisher's file"
        )


class PictureSource:
    """Pictures by name in a zip archive or in a folder: `<stem>.jpg`, wherever in it they lie."""

    def __init__(self, path: Path) -> None:
        """List what is there.

        Raises:
            ShopError: the archive cannot be read.
        """
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            self._names = {file.stem: str(file) for file in sorted(path.rglob("*.jpg"))}
            return
        try:
            self._archive = open_zip(path)
        except ValueError as error:
            raise ShopError(f"{path} is not a zip archive: {first_line(error)}") from None
        files = sorted(name for name in self._archive.namelist() if name.endswith(".jpg"))
        self._names = {Path(name).stem: name for name in files}

    def __contains__(self, stem: object) -> bool:
        return str(stem) in self._names

    def read(self, stem: object) -> bytes:
        """A picture's bytes.

        Raises:
            ShopError: there is no such picture, or its bytes are damaged.
        """
        name = self._names.get(str(stem))
        if name is None:
            raise ShopError(f"{self.path} has no picture {stem}.jpg: leave that product out")
        try:
            if self._archive:
                return read_member(self._archive, name)
            return read_bounded(Path(name), MOST_MEMBER_BYTES)
        except (ValueError, OSError) as error:
            raise ShopError(f"{self.path}: {name} is damaged: {first_line(error)}") from None

    def read_all(self, stems: Iterable[object]) -> Iterator[bytes]:
        """Pictures one after another, in the order asked for."""
        for stem in stems:
            yield self.read(stem)
