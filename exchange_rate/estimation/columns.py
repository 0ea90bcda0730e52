"""What is let into a fit: columns of finite numbers and of names, refused by name and row, never cast into something that they are not."""

from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from moon_rec.errors import StudyError

Floats = NDArray[np.float64]


def number_column(values: ArrayLike, name: str) -> Floats:
    """One column of finite numbers, `(rows,)` float64.

    Raises:
        StudyError: another shape, or a value that is missing, infinite, a text, a truth value or anything else but a number.
    """
    array = number_array(values, name)
    if array.ndim != 1:
        raise StudyError(
            f"{name}: wanted one column, one value a row; received shape {array.shape}"
        )
    return array


def number_array(values: ArrayLike, name: str) -> Floats:
    """Finite numbers of any shape; errors as for `number_column`, rows counted along the first axis."""
    given = values.to_numpy() if isinstance(values, pl.Series) else _as_array(values, name)
    if given.dtype.kind not in "iuf":
        for place, value in np.ndenumerate(given):
            if not _is_number(value):
                raise StudyError(f"{name}, row {place[0] if place else 0}: {_wrong(value)}")
    array = given.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        value = array[~np.isfinite(array)][0] if array.ndim else float(array)
        words = "is missing" if np.isnan(value) else "is not finite"
        raise StudyError(f"{name}, row {row}: {value} {words}; leave that run out or measure it")
    return array


def name_column(values: Iterable[object], name: str) -> list[str]:
    """One column of names: all texts, or all whole numbers.

    Raises:
        StudyError: a name that is missing (None, NaN, blank), of another type, or of another type than the first.
    """
    found = list(values)
    for row, value in enumerate(found):
        is_text = isinstance(value, str)
        if (
            value is None
            or (isinstance(value, float) and value != value)
            or (is_text and not value.strip())
        ):
            raise StudyError(
                f"{name}, row {row}: {value!r} is no name; say which {name} that run is of, or leave it out"
            )
        if not is_text and (isinstance(value, bool | np.bool_) or not isinstance(value, Integral)):
            raise StudyError(
                f"{name}, row {row}: {value!r} is a {type(value).__name__}; wanted a text or a whole number"
            )
        if is_text != isinstance(found[0], str):
            raise StudyError(
                f"{name}, row {row}: {value!r} is a {type(value).__name__} where row 0 has {found[0]!r}; write all names alike"
            )
    return [str(value) for value in found]


def truth_column(values: Iterable[object], name: str) -> list[bool]:
    """One column of true and false.

    Raises:
        StudyError: a value that is neither.
    """
    found = list(values)
    for row, value in enumerate(found):
        if not isinstance(value, bool | np.bool_):
            raise StudyError(f"{name}, row {row}: {value!r}; wanted True or False")
    return [bool(value) for value in found]


def same_length(**columns: Any) -> None:
    """Refuse columns of unlike length, and none at all.

    Raises:
        StudyError: names every column with its length.
    """
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
        words = ", ".join(f"{count} {name}" for name, count in lengths.items())
        raise StudyError(f"wanted columns of one length; received {words}")


def _as_array(values: ArrayLike, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise StudyError(f"{name}: wanted one column of numbers; {error}") from None
    # a list that holds a text or a truth value beside numbers would be cast into one type: look at what was given
    is_mixed = array.dtype.kind in "USiuf" and not isinstance(values, np.ndarray)
    return np.asarray(values, dtype=object) if is_mixed else array


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _wrong(value: object) -> str:
    if value is None:
        return "the value is missing (None); leave that run out or measure it"
    if isinstance(value, str | np.str_):
        return f"{str(value)!r} is a text; wanted a number"
    plain = value.item() if isinstance(value, np.generic) else value
    return f"{plain!r} is a {type(plain).__name__}; wanted a number"
