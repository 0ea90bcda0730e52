"""Group (user) ids of any one kind -> codes from 0; what is no id is refused by row and count. NumPy only.

Ids are cast into nothing: a missing one would pool strangers into one user, `1` and `"1"` may be two users
or one, and whole numbers beyond 2^53 merge where they pass through floats.
"""

import numbers
from collections.abc import Iterable

import numpy as np

from moon_rec.errors import RankingError

LARGEST_EXACT = 2**53
MEND = "give every row its own user's id, or drop such rows"


def group_codes(groups: Iterable, num_rows: int) -> np.ndarray:
    """Groups numbered from 0 in ascending order, `(rows,)` int64.

    Args:
        groups: one id a row: whole numbers (floats too, where exactly whole) or texts, not both.

    Raises:
        RankingError: a missing id (None, NaN, NaT, an empty text), ids of two kinds, fractions, floats of
            2^53 or more, which are no longer exact, or not one id a row; with the first row and how many.
    """
    # numpy would turn a list such as ["7", 7] into texts, and two users into one
    values = np.array(groups, dtype=object) if isinstance(groups, list | tuple) else groups
    values = np.asarray(values)
    if values.shape != (num_rows,):
        raise RankingError(f"groups {values.shape}: wanted one for each of {num_rows} rows")
    if values.size == 0:
        return np.zeros(0, dtype=np.int64)
    if values.dtype.kind == "O":
        values = _of_one_kind(values)
    kind = values.dtype.kind
    if kind not in "iufU":
        raise RankingError(
            f"groups of type {values.dtype}, first {values[0]!s}: wanted whole numbers or texts as ids"
        )
    if kind == "f":
        _refuse(values, np.isnan(values), f"is missing; {MEND}")
        _refuse(values, values != np.floor(values), "is no whole number; keep ids as integers")
        too_large = np.abs(values) >= LARGEST_EXACT
        _refuse(values, too_large, "is a float of 2^53 or more, not exact; keep ids as integers")
    if kind == "U":
        _refuse(values, np.char.str_len(np.char.strip(values)) == 0, f"is empty; {MEND}")
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _of_one_kind(values: np.ndarray) -> np.ndarray:
    """Objects as an array of numbers or of texts."""
    # a value that is not itself is NaN or NaT
    _refuse(
        values,
        np.array([value is None or value != value for value in values]),
        f"is missing; {MEND}",
    )
    kinds = np.array([_kind(value) for value in values])
    other = kinds != kinds[0]
    words = f"is of another kind than {values[0]!r} in row 0 ({kinds[0]}); give ids of one kind"
    _refuse(values, other, words)
    if kinds[0] == "text":
        return values.astype(np.str_)
    _refuse(values, kinds != "number", "is neither a whole number nor a text; give such ids")
    # one float among integers would turn all of them into floats
    exact = [abs(value) < LARGEST_EXACT and value == int(value) for value in values]
    return np.array(
        [int(value) if is_exact else value for value, is_exact in zip(values, exact, strict=True)]
    )


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    return "number" if is_number else type(value).__name__


def _refuse(values: np.ndarray, wrong: np.ndarray, words: str) -> None:
    """Raise RankingError for the first wrong value, with its row and how many there are."""
    rows = np.flatnonzero(wrong)
    if rows.size:
        value = values[rows[0]]
        plain = value.item() if isinstance(value, np.generic) else value
        raise RankingError(
            f"group {plain!r} in row {rows[0]} ({rows.size:,} of {values.size:,} rows) {words}"
        )
