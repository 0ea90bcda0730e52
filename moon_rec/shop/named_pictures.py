"""Pictures by name: files in a folder, a zip or a tar, whatever folders lie in it.

A name is looked up as it stands, then without its folders, then without its ending: publishers write "images/12.jpg", "12.jpg", "12" or an address that ends in
one of these. Nothing is ever fetched from an address, and nothing outside the folder or archive is read, whatever a name says.
"""

import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from moon_rec.errors import ShopError, first_line
from moon_rec.packed import MOST_MEMBER_BYTES, open_zip, read_member
from moon_rec.strict_json import read_bounded

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")
_DAMAGED = (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class NamedPictures:
    """The pictures of a folder or an archive.

    Attributes:
        names: of all pictures, with their folders, sorted.
    """

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ValueError: neither a folder nor an archive; in words, why.
        """
        self.path = path
        try:
            names, self._read = _listing(path)
        except _DAMAGED as error:
            raise ValueError(first_line(error)) from None
        self.names = sorted(n for n in names if PurePosixPath(n).suffix.lower() in ENDINGS)
        self._exact = set(self.names)
        self._by_name: dict[str, str] = {}
        self._by_stem: dict[str, str] = {}
        for name in self.names:
            self._by_name.setdefault(PurePosixPath(name).name, name)
            self._by_stem.setdefault(PurePosixPath(name).stem, name)

    def find(self, name: str) -> str | None:
        """Which of `names` a name or an address means; None where none."""
        name = name.split("?")[0].strip().removeprefix("./")
        if name in self._exact:
            return name
        last = PurePosixPath(name).name
        stem = PurePosixPath(last).stem
        return self._by_name.get(last) or self._by_stem.get(last) or self._by_stem.get(stem)

    def read(self, name: str) -> bytes:
        """The bytes of one of `names`.

        Raises:
            ShopError: it is damaged, or larger than any picture.
        """
        try:
            return self._read(name)
        except (*_DAMAGED, ValueError) as error:
            again = "it" if self.path.is_dir() else "the archive"
            raise ShopError(
                f"{self.path}: {name} is damaged: {first_line(error)}; fetch {again} again"
            ) from None


def _listing(path: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of the files in a folder or an archive, and how one is read."""
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        return names, lambda name: read_bounded(path / name, MOST_MEMBER_BYTES)
    if not tarfile.is_tarfile(path):
        archive = open_zip(path)
        return archive.namelist(), lambda name: read_member(archive, name)
    tar = tarfile.open(path)  # noqa: SIM115 (open as long as pictures are read)
    members = {member.name: member for member in tar.getmembers() if member.isfile()}

    def read(name: str) -> bytes:
        if members[name].size > MOST_MEMBER_BYTES:
            raise ValueError(
                f"{members[name].size:,} bytes, at most {MOST_MEMBER_BYTES:,} are read of a picture"
            )
        file = tar.extractfile(members[name])
        return b"" if file is None else file.read()

    return list(members), read
