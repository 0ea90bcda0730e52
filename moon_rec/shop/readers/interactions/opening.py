"""A user's table opened as its settings say: its files, lists unfolded into rows, and columns within columns of structs and lists.

Notable choices
- A way such as `images[0].large` becomes a column of that name; what a row has not (an empty list) is null there.
- Lists are unfolded together, so they must be of one length in each row; messages name the row of the file.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from moon_rec.errors import ShopError
from moon_rec.shop.readers.interactions.config import FileForm
from moon_rec.shop.readers.interactions.files import Source, open_source

_WAY = re.compile(r"^([^\[\].]+)((?:\[\d+\]|\.\w+)+)$")
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")
_ROW = "row of the file"


def open_table(paths: Sequence[str | Path], form: FileForm) -> Source:
    """Open a table.

    Args:
        paths: as of `open_source`.
        form: the settings of the table: how its files are written, and the columns that are named.

    Raises:
        ShopError: as `open_source`; a list to unfold that is none, or whose lists are not of one length.
    """
    source = open_source(paths, form.names, form.separator, form.encoding)
    return as_said(source, form)


def as_said(source: Source, form: FileForm) -> Source:
    """The same rows with lists unfolded, and with the columns that are named by a way.

    Raises:
        ShopError: a list to unfold that is none, or whose lists are not of one length.
    """
    unfold = getattr(form, "unfold", ())
    if unfold:
        source = unfolded(source, unfold)
    columns, found = source.columns, {}
    for _, name in form:
        if isinstance(name, str) and name not in columns:
            value = _value_at(name, columns)
            if value is not None:
                found[name] = value
    if not found:
        return source
    roots = {str(_WAY.match(name).group(1)) for name in found}  # type: ignore[union-attr]
    frame = source.frame.with_columns(value.alias(name) for name, value in found.items())
    return replace(source, frame=frame.drop(roots))


def _value_at(way: str, columns: dict[str, pl.DataType]) -> pl.Expr | None:
    """What a way leads to; None where it is no way through the columns that there are."""
    match = _WAY.match(way)
    if match is None or match.group(1) not in columns:
        return None
    value, kind = pl.col(match.group(1)), columns[match.group(1)]
    for place, name in _STEP.findall(match.group(2)):
        if place and isinstance(kind, pl.List | pl.Array):
            part = value.list if isinstance(kind, pl.List) else value.arr
            value, kind = part.get(int(place), null_on_oob=True), kind.inner
        elif name and isinstance(kind, pl.Struct) and name in {f.name for f in kind.fields}:
            kind = next(each.dtype for each in kind.fields if each.name == name)
            value = value.struct.field(name)
        else:
            return None
    return value


def unfolded(source: Source, names: Sequence[str], table: str = "log") -> Source:
    """A row for each entry of columns of lists, entry by entry.

    Args:
        names: the columns. table: `log` or `events`, for messages.

    Raises:
        ShopError: a column that is none of lists, or lists of one row of different lengths.
    """
    columns = source.columns
    for name in names:
        kind = columns.get(name)
        if not isinstance(kind, pl.List):
            found = "no such column" if kind is None else f"it is {kind}"
            raise ShopError(
                f"{source.name}: {name!r} ({table}.unfold) is no column of lists: {found}; it has {', '.join(columns)}"
            )
    numbered = source.frame.with_row_index(_ROW)
    lengths = [pl.col(name).list.len() for name in names]
    differ = pl.any_horizontal([length != lengths[0] for length in lengths[1:]] or pl.lit(False))
    bad = source.collect(numbered.filter(differ).select(_ROW, *names).head(1))
    if bad.height:
        found = ", ".join(f"{name} {len(bad[name][0])}" for name in names)
        file, row = source.place(bad[_ROW][0])
        raise ShopError(
            f"{file}: {' and '.join(names)} row {row}: lists of different lengths ({found}); give each item its time"
        )
    frame = numbered.explode(list(names), empty_as_null=False)
    for name in names:
        kind = columns[name]
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            frame = frame.unnest(name)
    return replace(source, frame=frame.drop(_ROW), rows=frame.select(_ROW))
