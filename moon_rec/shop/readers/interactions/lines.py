"""The lines of delimited text: the first ones, what parts their fields, and the first line that has too many."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from moon_rec.errors import ShopError, first_line
from moon_rec.shop.readers.interactions.unpacking import decoded, unpacked

DELIMITERS = "\t,;|\x01"
FIRST_LINES = 20
MOST_BYTES_OF_A_LINE = 1 << 20


def first_lines(path: Path, number: int = FIRST_LINES, encoding: str | None = None) -> list[str]:
    """The first lines of a text file, packed or not.

    Raises:
        ShopError: it is no text of that encoding, or its packing is damaged.
    """
    lines: list[str] = []
    try:
        if encoding is not None:
            text = decoded(path, encoding).read().decode()
            return [line.rstrip("\r") for line in text.split("\n", number)[:number] if line]
        with unpacked(path) as file:
            for _ in range(number):
                line = file.readline(MOST_BYTES_OF_A_LINE)
                if not line:
                    break
                utf = "utf-8-sig" if not lines else "utf-8"
                lines.append(line.decode(utf).rstrip("\r\n"))
            return lines
    except UnicodeDecodeError as error:
        raise ShopError(
            f"{path}: line {len(lines) + 1} is no UTF-8 text ({error.reason}): write it as UTF-8, or of an import name its encoding, such as --set log.encoding=latin-1"
        ) from None
    except (OSError, EOFError, pa.ArrowException) as error:
        raise ShopError(f"{path} cannot be read: {first_line(error)}; fetch it again") from None


def delimiter_of(lines: Sequence[str]) -> str:
    """The delimiter that parts the first line, and the others alike; a comma where there is but one column."""
    best, most = ",", 0
    for delimiter in DELIMITERS:
        number = len(fields_of(lines[0], delimiter, quoted=delimiter != "\t"))
        if number > most and number > 1:
            best, most = delimiter, number
    return best


def fields_of(line: str, delimiter: str, quoted: bool) -> list[str]:
    """The fields of a line."""
    if len(delimiter) > 1:
        return line.split(delimiter)
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    return next(csv.reader([line], delimiter=delimiter, quoting=quoting), [])


def is_number(text: str) -> bool:
    """Whether it is read as a number, also where a repeated column was renamed."""
    try:
        float(text.split("_duplicated_")[0])
    except ValueError:
        return False
    return True


def ragged_line(path: Path, delimiter: str, wanted: int) -> tuple[int, int, str] | None:
    """The first line that has more fields than the header: its number from 1, its fields, its text."""
    with unpacked(path) as file:
        number = 0
        while line := file.readline(MOST_BYTES_OF_A_LINE):
            number += 1
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            try:
                fields = len(next(csv.reader([text], delimiter=delimiter), []))
            except csv.Error:
                continue
            if text and fields > wanted:
                return number, fields, text
    return None
