"""Records on disk, in parts: what lets a log be sorted that is larger than memory.

Notable choices
- One file without a name: it is gone when the process is, however that ends. It lies where the system keeps what is
  temporary (`TMPDIR`); an import needs some 100 bytes a row there.
- A part is what fits in memory. Records of a part come back in the order in which they were written.
"""

import tempfile
import weakref
from collections.abc import Iterator

import numpy as np


class Scratch:
    """Records of one type, by part."""

    def __init__(self, kind: np.dtype | type) -> None:
        """Open an empty file.

        Args:
            kind: the type of a record.
        """
        self.kind = np.dtype(kind)
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this
        weakref.finalize(self, self._file.close)
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._end = 0

    @property
    def num_parts(self) -> int:
        """One more than the last part that has records."""
        return max(self._places, default=-1) + 1

    def append(self, part: int, records: np.ndarray) -> None:
        """Write records behind those that the part has."""
        data = np.ascontiguousarray(records, self.kind).view(np.uint8).data
        self._places.setdefault(part, []).append((self._end, len(data)))
        while data:
            data = data[self._file.write(data) :]
        self._end = self._file.tell()

    def scatter(self, parts: np.ndarray, records: np.ndarray) -> None:
        """Write each record to its part.

        Args:
            parts: `(len(records),)`.
        """
        if parts.size and (parts == parts[0]).all():
            self.append(int(parts[0]), records)
            return
        order = np.argsort(parts, kind="stable")
        ends = np.cumsum(
            np.bincount(
                parts,
            )
        )
        for part in np.unique(parts):
            begin = ends[part - 1] if part else 0
            self.append(int(part), records[order[begin : ends[part]]])

    def size(self, part: int) -> int:
        """The number of records of a part."""
        return sum(length for _, length in self._places.get(part, ())) // self.kind.itemsize

    def read(self, part: int) -> np.ndarray:
        """The records of a part."""
        found = np.empty(self.size(part), self.kind)
        into, start = found.view(np.uint8).data, 0
        for place, length in self._places.get(part, ()):
            self._file.seek(place)
            end = start + length
            while start < end:
                done = self._file.readinto(into[start:end])
                assert done, "the scratch file was cut short"
                start += done
        self._file.seek(self._end)
        return found

    def __iter__(self) -> Iterator[np.ndarray]:
        """The parts, one after the other."""
        return (self.read(part) for part in range(self.num_parts))
