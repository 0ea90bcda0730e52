"""Packed files of strangers: gzip and zip, bounded before they are unpacked. Nothing is ever unpacked into files: members are read by name, into memory."""

import gzip
import zipfile
import zlib
from pathlib import Path

from moon_rec.errors import MoonRecError, first_line

FREE_BYTES = 1 << 30
MOST_TIMES = 100
"""Beyond `FREE_BYTES` what is packed may be so many times its file: texts of shops are some five to twenty times theirs, nothing but zeros a thousand times."""
MOST_MEMBER_BYTES = 64 << 20
"""Of one picture."""
MOST_MEMBERS = 20_000_000
_PIECE = 1 << 20
_OTHERS = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x78\x01": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
}
"""What polars unpacks by itself, and no file is published as."""


def refuse_packed_bomb(path: Path, error: type[MoonRecError]) -> None:
    """Raise `error` where a file is gzip that unpacks to far more than it holds, is damaged, or is packed in another way.

    A file that is not packed passes, and so does one too small to matter; others are unpacked once, into nothing.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
        other = next((name for mark, name in _OTHERS.items() if start.startswith(mark)), None)
        if other:
            raise error(f"{path} is packed by {other}; unpack it, or pack it by gzip")
        size = path.stat().st_size
        if not start.startswith(b"\x1f\x8b") or size * 1_032 <= FREE_BYTES:  # deflate's most
            return
        most, found = max(FREE_BYTES, MOST_TIMES * size), 0
        with gzip.open(path) as file:
            while piece := file.read(_PIECE):
                found += len(piece)
                if found > most:
                    raise error(
                        f"{path}: {size:,} bytes unpack to more than {most:,}; unpack it yourself if that is meant"
                    )
    except (OSError, EOFError, zlib.error) as fault:
        raise error(
            f"{path} cannot be read: {first_line(fault)}; download the file again"
        ) from None


def open_zip(path: Path) -> zipfile.ZipFile:
    """A zip archive, opened.

    Raises:
        ValueError: it is none, or lists too many members.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError, UnicodeError, ValueError) as error:
        raise ValueError(first_line(error)) from None
    if len(archive.infolist()) > MOST_MEMBERS:
        raise ValueError(f"it lists {len(archive.infolist()):,} members")
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's bytes.

    Raises:
        ValueError: it says more than `MOST_MEMBER_BYTES`, is damaged, encrypted, or packed in a way that is not known.
    """
    size = archive.getinfo(name).file_size
    if size > MOST_MEMBER_BYTES:
        raise ValueError(f"{size:,} bytes, at most {MOST_MEMBER_BYTES:,} are read of a picture")
    try:
        with archive.open(name) as file:
            return file.read(MOST_MEMBER_BYTES)
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        RuntimeError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise ValueError(first_line(error)) from None
