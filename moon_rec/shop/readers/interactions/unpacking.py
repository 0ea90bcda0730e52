"""Files as bytes, packed by gzip or zstd or not, and texts of any encoding as UTF-8."""

import contextlib
import gzip
import io
from pathlib import Path

import pyarrow as pa

from moon_rec.errors import ShopError

PACKED = (".gz", ".zst", ".zstd")


@contextlib.contextmanager
def unpacked(path: Path):
    """The open file, with `read` and `readline`."""
    ending = path.suffix.lower()
    if ending == ".gz":
        with gzip.open(path, "rb") as file:
            yield file
    elif ending in PACKED:
        with (
            pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as file,
            pa.PythonFile(file) as lines,
        ):
            yield _Lines(lines)
    else:
        with open(path, "rb") as file:
            yield file


class _Lines:
    """`readline` over a stream that can only be read."""

    def __init__(self, stream: pa.NativeFile):
        self._stream, self._rest, self._ended = stream, b"", False

    def read(self) -> bytes:
        return self._rest + self._stream.read()

    def readline(self, limit: int) -> bytes:
        while b"\n" not in self._rest and len(self._rest) < limit and not self._ended:
            piece = self._stream.read(1 << 16)
            self._ended = not piece
            self._rest += piece
        end = min(self._rest.find(b"\n") + 1 or len(self._rest), limit)
        line, self._rest = self._rest[:end], self._rest[end:]
        return line


def decoded(path: Path, encoding: str) -> io.BytesIO:
    """A whole file as UTF-8."""
    try:
        with unpacked(path) as file:
            return io.BytesIO(file.read().decode(encoding).encode())
    except UnicodeDecodeError as error:
        raise ShopError(f"{path} is not {encoding}: {error.reason}; name its encoding") from None
