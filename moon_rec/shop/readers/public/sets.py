"""What is known of each public set: its files, its columns and how surely they are known, and which of them is what.

Notable choices
- A set is data: `NAME.toml` beside this module. Its `map` is one that `shop import interactions --map` takes.
- Every column is listed with how surely it is known (`Known`); where that is not the publisher's own page, the TOML names the source.
- What several layouts of a set share stands once: `[map]`, and `[tables.NAME]`, which a layout names.
- Columns that are not listed are left out and named when a set is imported: one that nobody knows may tell the label.
"""

import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import pydantic

from moon_rec.config import merged
from moon_rec.errors import ShopError

Known = Literal[
    "publisher's page", "publisher's code", "seen in code of others", "seen in the file", "guess"
]
FOLDER = Path(__file__).parent


class _Described(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Table(_Described):
    """One table of a layout.

    Attributes:
        files: alternatives; the first of which a file is there is read, all its files together. One may hold several patterns, parted by spaces.
        columns: name -> how surely it is known, in the order of files without a header.
        may_lack: columns that some editions do not have.
        types: of columns of JSON lines, whose first rows do not tell: name -> `text`, `number`, `whole`, `texts` or `pictures`.
        has_header: whether the first line names the columns.
        is_needed: whether the set cannot be read without the table.
    """

    files: list[str]
    columns: dict[str, Known]
    may_lack: list[str] = []
    types: dict[str, Literal["text", "number", "whole", "texts", "pictures"]] = {}
    has_header: bool = True
    is_needed: bool = True


class Untimed(_Described):
    """A column of histories without times, oldest first.

    Attributes:
        column: of the log. separator: of a text that holds them; None: a column of lists.
        last: with a clock: so many of a list's last entries become events in their order; None: all are left out, and counted.
        padding: an entry that stands for none.
    """

    column: str
    separator: str | None = None
    last: int | None = None
    padding: int = 0


class Clock(_Described):
    """The publisher's split in place of the times that a set has not: days of a clock that knows no hours.

    Attributes:
        test: the files of the test period; those of the log are train and validation.
        validation_users: one in so many users of the log is the validation period.
    """

    test: list[str]
    validation_users: int = 10


class Vectors(_Described):
    """Vectors that the publisher ships.

    Attributes:
        file: a pattern. bring: options of `python -m representation.bring FILE`; `{folder}` is the data's. about: what made them.
    """

    file: str
    bring: str
    about: str


class Layout(_Described):
    """One form in which a set is shipped.

    Attributes:
        name: what tells it from others of the set.
        log, items, users: the tables. events: behaviour that was no impression.
        pictures: folders or archives of pictures; the first that is there is read.
        guess: whether columns that the map does not name are looked for by their usual names.
        map: the importer's settings.
        untimed, clock, vectors: see their classes.
        ignored: pattern of files that are not read -> why, said where they are there.
    """

    name: str
    log: Table
    items: Table | None = None
    users: Table | None = None
    pictures: list[str] = []
    guess: bool = False
    map: dict[str, Any] = {}
    events: Table | None = None
    untimed: list[Untimed] = []
    clock: Clock | None = None
    vectors: list[Vectors] = []
    ignored: dict[str, str] = {}

    @property
    def tables(self) -> dict[str, Table]:
        """The tables that there are, by name."""
        found = {name: getattr(self, name) for name in ("log", "items", "users", "events")}
        return {name: table for name, table in found.items() if table is not None}


class PublicSet(_Described):
    """One public data set.

    Attributes:
        title: as its publisher calls it.
        needs: what `--data` names, in a line.
        licence: as far as known.
        pages: where its files and columns are described.
        measures, lacks: what can be measured with it, and what not, and why.
        layouts: in the order in which they are tried.
        refused: why no shop can be made of it.
        reader: the command's own reader, where a map does not do.
        example: further words of an example command.
    """

    title: str
    needs: str
    licence: str
    pages: list[str]
    measures: list[str]
    lacks: list[str]
    layouts: list[Layout]
    refused: str = ""
    reader: str = ""
    example: str = ""


@functools.cache
def public_set(name: str) -> PublicSet:
    """A set by its command's name.

    Raises:
        ShopError: there is none of that name.
    """
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ShopError(f"no public set {name!r}: wanted one of {', '.join(names())}")
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    tables, shared = values.pop("tables", {}), values.pop("map", {})
    for layout in values["layouts"]:
        for table in ("log", "items", "users", "events"):
            if isinstance(layout.get(table), str):
                layout[table] = tables[layout[table]]
        layout["map"] = merged(shared, layout.get("map", {}))
    return PublicSet.model_validate(values)


def names() -> list[str]:
    """Names of all sets."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def public_sets() -> Iterator[tuple[str, PublicSet]]:
    """All sets with their names."""
    for name in names():
        yield name, public_set(name)


KNOWN: tuple[Known, ...] = get_args(Known)
