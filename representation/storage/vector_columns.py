"""Which columns of a table are ids and which are vectors: found where there is no doubt, refused where there is.

Notable choices
- One column of lists (or arrays) of numbers is the vectors. Else float columns of one name and a running number (`v0 ... v63`) are, in the order of their
  numbers, which items and queries share whatever the order in their files. A price beside them is no further dimension: what is left out is named.
- Two such families, a family with a hole, or floats without a running number are refused: `--columns` says which are meant.
- In Parquet vectors written as text are called that; no text is read as numbers there.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from moon_rec.errors import TableError

FirstText = Callable[[str], str | None]

ID_NAMES = ("item_id", "search_id", "id")
_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)
VECTOR_TEXT = re.compile(
    r"\s*[\[({]?\s*[-+]?[\d.]+([eE][-+]?\d+)?(\s*[,; ]\s*[-+]?[\d.]+.*)", re.DOTALL
)


def id_column(path: Path, schema: pa.Schema, asked: str | None) -> str:
    """The column of ids.

    Raises:
        TableError: none of that name, or of the names that are known.
    """
    names = [asked] if asked else [name for name in ID_NAMES if name in schema.names]
    if not names or names[0] not in schema.names:
        wanted = asked or " or ".join(ID_NAMES)
        raise TableError(
            f"{path} has no column {wanted}; it has {names_of(schema.names)}: name the ids' with --id-column"
        )
    _refuse_twice(path, schema.names)
    return names[0]


def vector_columns(
    path: Path, schema: pa.Schema, first_text: FirstText, ids: str | None, asked: Sequence[str]
) -> tuple[str, ...]:
    """The column of lists, or the float columns, of the vectors.

    Args:
        first_text: gives the first text of a column of texts, None where all are null.
        ids: the column of ids, which is none of them.
        asked: these, instead of what is found.

    Raises:
        TableError: no such column, columns that hold no numbers, or more than one reading.
    """
    _refuse_twice(path, schema.names)
    columns = tuple(asked) or _found(path, schema, first_text, ids)
    _refuse_twice(path, columns)
    for name in columns:
        if name not in schema.names:
            raise TableError(f"{path} has no column {name!r}; it has {names_of(schema.names)}")
        if name == ids:
            raise TableError(f"{path}: column {name!r} holds the ids; leave it out of --columns")
        _check_type(path, schema, first_text, name)
    lists = [name for name in columns if is_list(schema.field(name).type)]
    if lists and len(columns) > 1:
        raise TableError(
            f"{path}: {lists[0]!r} of {names_of(columns)} is a column of lists: name it alone"
        )
    kinds = {pa.types.is_floating(element(schema.field(name).type)) for name in columns}
    if len(kinds) > 1:
        raise TableError(
            f"{path}: some of {names_of(columns)} are whole numbers, some floats; write all as floats"
        )
    return columns


def told(columns: Sequence[str], schema: pa.Schema, ids: str | None) -> str:
    """In words: what was taken, and what was not."""
    some = f"columns {columns[0]} ... {columns[-1]} ({len(columns)})"
    taken = f"column {columns[0]}" if len(columns) == 1 else some
    others = [name for name in schema.names if name not in columns and name != ids]
    return taken + (f"; left out: {names_of(others)}" if others else "")


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists (or arrays) of numbers."""
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(of(kind) for of in lists) and _is_number(element(kind))


def element(kind: pa.DataType) -> pa.DataType:
    """The type of a list's elements, or the type itself."""
    return getattr(kind, "value_type", kind)


def names_of(names: Sequence[str]) -> str:
    """Some of the names, and how many there are."""
    shown = ", ".join(list(names)[:8])
    return f"{shown} ... ({len(names)})" if len(names) > 8 else shown or "none"


def _found(
    path: Path, schema: pa.Schema, first_text: FirstText, ids: str | None
) -> tuple[str, ...]:
    lists = [field.name for field in schema if is_list(field.type)]
    if len(lists) == 1:
        return (lists[0],)
    families = _families(path, schema, ids) if not lists else []
    if len(families) == 1:
        return families[0]
    if not lists and not families:
        for field in schema:
            if field.name != ids and _is_text(field.type):
                _check_type(path, schema, first_text, field.name, only_vectors=True)
    found = " or ".join([*lists, *(f"{one[0]} ... {one[-1]} ({len(one)})" for one in families)])
    raise TableError(
        f"{path}: which column holds the vectors{f', {found}' if found else ''}? Found are one of lists, or floats with a running number, such as v0 v1 v2; it "
        f"has {names_of(schema.names)}: name them with --columns"
    )


def _families(path: Path, schema: pa.Schema, ids: str | None) -> list[tuple[str, ...]]:
    """Float columns of one name with a running number, by that number; two at least."""
    members: dict[str, dict[int, str]] = {}
    for field in schema:
        match = _NUMBERED.fullmatch(field.name)
        if match is None or field.name == ids or not pa.types.is_floating(field.type):
            continue
        family, number = members.setdefault(match[1], {}), int(match[2])
        if number in family:
            raise TableError(
                f"{path}: columns {family[number]!r} and {field.name!r} have one number; name the vectors' with --columns"
            )
        family[number] = field.name
    families = []
    for prefix, family in members.items():
        if len(family) < 2:
            continue
        numbers = sorted(family)
        holes = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))[:1]
        if holes:
            name = f"{prefix}{holes[0]}"
            kind = f"is {schema.field(name).type}" if name in schema.names else "is not there"
            raise TableError(
                f"{path}: columns {family[numbers[0]]} ... {family[numbers[-1]]} hold no whole vector: {name} {kind}; mend it, or name the vectors' with --columns"
            )
        families.append(tuple(family[number] for number in numbers))
    return families


def _check_type(
    path: Path, schema: pa.Schema, first_text: FirstText, name: str, only_vectors: bool = False
) -> None:
    """Refuse a column that holds no numbers; `only_vectors`: a text only where it looks like a vector."""
    kind = schema.field(name).type
    if is_list(kind) or _is_number(kind):
        return
    if _is_text(kind):
        value = first_text(name)
        if value is not None and VECTOR_TEXT.fullmatch(value):
            shown = value if len(value) <= 30 else f"{value[:29]}…"
            raise TableError(
                f"{path}: column {name!r} holds vectors written as text, such as {shown!r}; write lists of numbers (polars: "
                f"pl.col({name!r}).str.json_decode(pl.List(pl.Float32)), pandas: map(json.loads))"
            )
        if only_vectors:
            return
    raise TableError(
        f"{path}: column {name!r} is {kind}, wanted lists of numbers, or floats; write it so, or name others with --columns"
    )


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(of(value) for of in texts)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _refuse_twice(path: Path, names: Sequence[str]) -> None:
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{path}: column {twice!r} is there twice; name each once")
