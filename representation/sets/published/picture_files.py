"""Pictures of a published set: in a folder, in an archive, or in the row itself (Hugging Face's `{bytes, path}`, base64).

Sets of Taobao products hold addresses, not pictures, and nothing is downloaded here: a picture that lies at `https://.../a/b.jpg` is looked for under its file's
name `b.jpg`, then under the row's id with any ending.
"""

import base64
import binascii
import io
import math
from pathlib import Path, PurePosixPath
from typing import Any

from moon_rec.errors import ShopError
from moon_rec.shop.named_pictures import NamedPictures
from moon_rec.shop.pictures import decode, picture_size

QUALITY = 90


class PictureFiles:
    """Finds pictures by name.

    Attributes:
        num_missing: pictures that were asked for and are not there, where that is allowed.
    """

    def __init__(self, path: Path | None, may_miss: bool = False, longest: int | None = None):
        """
        Args:
            path: folder or archive, searched whatever folders lie in it; None where rows hold their pictures.
            may_miss: count a missing picture instead of refusing it.
            longest: longest side in pixels; larger pictures are made smaller and written again as JPEG, for memory.

        Raises:
            ShopError: no such folder or archive, or two pictures of one name.
        """
        self.path, self.may_miss, self.longest, self.num_missing = path, may_miss, longest, 0
        try:
            self._files = None if path is None else NamedPictures(path)
        except ValueError as error:
            raise ShopError(
                f"{path} is neither a folder of pictures nor a zip archive nor a tar: {error}; name it with pictures in layout.toml"
            ) from None
        of_name: dict[str, str] = {}
        for file in self._files.names if self._files else ():
            name = PurePosixPath(file).name
            if of_name.setdefault(name, file) != file:
                raise ShopError(
                    f"{path} has two pictures called {name}: {of_name[name]} and {file}; keep one"
                )

    def read(self, value: Any, row_id: str, where: str) -> bytes | None:
        """A picture's bytes; None where the row has none.

        Args:
            value: the row's cell: bytes, `{bytes, path}`, base64 text, an address, or a file's name.
            row_id: the row's own id, tried as a file's name.

        Raises:
            ShopError: the row names a picture that is not there, or its bytes do not decode.
        """
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if value is None or value == "" or value != value:
            return None
        data = value if isinstance(value, bytes) else self._named(str(value), row_id)
        if data is not None:
            return self._smaller(data, where)
        if not self.may_miss:
            place = self.path or "the row itself (no pictures folder is named)"
            raise ShopError(
                f'{where}: picture {str(value)[:120]!r} not found in {place}; put it there, or allow it with missing_pictures = "count"'
            )
        self.num_missing += 1
        return None

    def _named(self, value: str, row_id: str) -> bytes | None:
        if self._files is None:
            return _from_base64(value)
        found = self._files.find(value.split("#")[0]) or self._files.find(row_id)
        return None if found is None else self._files.read(found)

    def _smaller(self, data: bytes, where: str) -> bytes:
        if self.longest is None or max(_size(data)) <= self.longest:
            return data
        picture = decode(data, where)
        picture.thumbnail((self.longest, self.longest))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=QUALITY)
        return buffer.getvalue()


def _size(data: bytes) -> tuple[float, float]:
    """Width and height as the head says, without decoding; endless where it cannot be read, so that decoding names what is wrong."""
    try:
        return picture_size(data)
    except ShopError:
        return math.inf, math.inf


def _from_base64(text: str) -> bytes | None:
    """Bytes of base64, in either alphabet; None where it is none."""
    try:
        return base64.b64decode(text.translate(str.maketrans("-_", "+/")), validate=True) or None
    except (binascii.Error, ValueError):
        return None
