"""A user's own ids, kept beside the shop's tables, whose ids are whole numbers.

Notable choices
- Ids that are whole numbers of 64 bits, written plainly, are used as they are and nothing is kept. If one of a kind is anything
  else ("B00INXG6MO", "802.538.09", "007", a hash of 64 bits without sign), all of that kind are numbered from 1 in the
  order of their texts: the same set of ids gives the same numbers however the files are sorted.
- "17.0", as pandas writes whole numbers beside missing ones, is 17 where every id of the kind is whole.
- `ids/<kind>.parquet` (id, own) is derived, and not part of the shop's digest. A search has the id of the request that it led to,
  so that searches have no file of their own.
- This is the one mechanism at every door: `OwnNames` reads what users write and names what they read; inside, ids are Int64. Texts are
  matched exactly (white space around them aside, as in the log): "7" is not "007".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from moon_rec.errors import MoonRecError, ShopError, first_line
from moon_rec.shop.schema import IDS
from moon_rec.values import Reading, Rule, read_as, reading, shown

Kind = Literal["item", "user", "request", "search"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which doors name them."""
FILES: dict[Kind, Kind] = {
    "item": "item",
    "user": "user",
    "request": "request",
    "search": "request",
}
"""The file in `ids/` of each kind."""
_WHOLE_FLOAT = r"^-?(0|[1-9][0-9]*)(\.0+)?$"


@dataclass(frozen=True, repr=False)
class OwnIds:
    """The ids of one kind.

    Attributes:
        kind: what they are of.
        own: the user's ids as texts, ascending, each once.
        ids: `(len(own),)` Int64, the shop's.
        is_kept: whether they differ from the user's, so that a mapping is kept.
    """

    kind: Kind
    own: pl.Series
    ids: np.ndarray
    is_kept: bool

    @classmethod
    def of(cls, kind: Kind, texts: pl.Series) -> "OwnIds":
        """Number the ids.

        Args:
            texts: all ids of the kind as they are written; repeats and nulls do not count.
        """
        own = texts.drop_nulls().unique().sort().rename("own")
        if own.str.contains(_WHOLE_FLOAT).all():
            whole = own.str.replace(r"\.0+$", "").cast(pl.Int64, strict=False)
            if not whole.null_count():
                return cls(kind, own, whole.to_numpy(), is_kept=False)
        return cls(kind, own, np.arange(1, own.len() + 1, dtype=np.int64), is_kept=True)

    def codes(self, column: pl.Expr) -> pl.Expr:
        """Place in `own` of each text of a column, Int64; null where it is null or unknown."""
        kind = pl.Enum(self.own)
        return column.cast(kind, strict=False).to_physical().cast(pl.Int64)

    def numbers(self, codes: np.ndarray) -> np.ndarray:
        """The shop's id of each code."""
        return self.ids[codes]

    def of_texts(self, texts: pl.Series) -> np.ndarray:
        """The shop's id of each of the user's, `(texts,)`; all must be known."""
        codes = texts.to_frame().select(self.codes(pl.col(texts.name))).to_series()
        return self.ids[codes.to_numpy()]

    def frame(self) -> pl.DataFrame:
        """The mapping as a table (id, own)."""
        return pl.DataFrame({"id": self.ids, "own": self.own})

    def write(self, folder: Path) -> None:
        """Write `ids/<kind>.parquet` into a shop's folder, where a mapping is kept."""
        if self.is_kept:
            (folder / IDS).mkdir(exist_ok=True)
            self.frame().write_parquet(folder / IDS / f"{self.kind}.parquet")


def read_own_ids(shop_folder: Path, kind: Kind) -> pl.DataFrame | None:
    """The mapping of a kind (id Int64, own String, ascending by own), or None where the shop's ids are the user's.

    Raises:
        ShopError: it cannot be read, or names an id twice.
    """
    path = shop_folder / IDS / f"{FILES[kind]}.parquet"
    if not path.is_file():
        return None
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ShopError(
            f"{path} cannot be read: {first_line(error)}; import the log again"
        ) from None
    if frame.schema != pl.Schema({"id": pl.Int64, "own": pl.String}):
        raise ShopError(
            f"{path} has columns {frame.schema}, wanted id and own; import the log again"
        )
    for name in ("id", "own"):
        if frame[name].is_duplicated().any() or frame[name].null_count():
            raise ShopError(f"{path}: {name} is not one value a row; import the log again")
    return frame.sort("own")


@dataclass(frozen=True, repr=False)
class OwnNames:
    """The user's names of a shop's ids of one kind, both ways.

    Attributes:
        kind: what they are of.
        shop_folder: the shop.
        mapping: id Int64, own String, ascending by own; None where the shop's ids are the user's.
    """

    kind: Kind
    shop_folder: Path
    mapping: pl.DataFrame | None

    @classmethod
    def of(cls, shop_folder: Path, kind: Kind) -> "OwnNames":
        """Those of a shop.

        Raises:
            ShopError: the mapping cannot be read.
        """
        return cls(kind, shop_folder, read_own_ids(shop_folder, kind))

    @property
    def is_kept(self) -> bool:
        """Whether the user's ids are others than the shop's."""
        return self.mapping is not None

    @cached_property
    def _by_id(self) -> pl.DataFrame:
        assert self.mapping is not None, "the shop keeps no own ids of this kind"
        return self.mapping.sort("id")

    @property
    def largest(self) -> int:
        """The largest of the shop's ids in the mapping, 0 without one; every number beyond is free."""
        return 0 if self.mapping is None or not self.mapping.height else self._by_id["id"][-1]

    @property
    def first(self) -> str:
        """One of the user's ids, as an example."""
        assert self.mapping is not None, "the shop keeps no own ids of this kind"
        return shown(self.mapping["own"][0]) if self.mapping.height else "none"

    def reading(self, name: str, found: pl.DataType) -> Reading:
        """How a column of such ids is read that a user wrote: as the user's texts where they are kept, else as Int64."""
        if not self.is_kept:
            return reading(name, found, pl.Int64())
        how = id_text(name, found)
        if how.value is None or self.kind == "search":
            return how  # a blank search is none
        blank = Rule(
            pl.col(name),
            pl.col(name).is_not_null() & how.value.is_null(),
            "is empty",
            "give every row its id",
        )
        return Reading(how.value, (*how.broken, blank), how.told)

    def written(
        self, column: pl.Series, where: str, error: type[MoonRecError] = ShopError
    ) -> pl.Series:
        """A user's column: texts where a mapping is kept, else Int64; none may be null.

        Raises:
            MoonRecError: an `error` that names column, first broken row, value and mend.
        """
        wanted = pl.String() if self.is_kept else pl.Int64()
        how = self.reading(column.name, column.dtype)
        found = read_as(column, how, wanted, where, error=error)
        if found.null_count():
            row = int(found.is_null().arg_true()[0])
            raise error(
                f"{where}: {column.name} row {row}: {shown(column[row])} is empty; give every row its id"
            )
        return found

    def numbers(self, written: pl.Series) -> pl.Series:
        """The shop's ids of what `written` gave, Int64; null where the shop does not know one."""
        if self.mapping is None:
            return written
        return _looked_up(self.mapping, "own", "id", written)

    def own(self, ids: pl.Series) -> pl.Series:
        """The user's of the shop's ids; nulls stay null.

        Raises:
            ShopError: an id that is not in the mapping.
        """
        if self.mapping is None:
            return ids
        own = _looked_up(self._by_id, "id", "own", ids)
        unknown = own.is_null() & ids.is_not_null()
        if unknown.any():
            row = int(unknown.arg_true()[0])
            raise ShopError(
                f"{ids.name} {ids[row]} is not among the ids of {self.shop_folder}: was it made from this shop?"
            )
        return own

    def name(self, number: int) -> object:
        """One of the shop's ids as the user calls it, for messages: itself where there is no other name."""
        if self.mapping is None:
            return number
        found = _looked_up(self._by_id, "id", "own", pl.Series("id", [number], pl.Int64))[0]
        return number if found is None else shown(found)


def _looked_up(mapping: pl.DataFrame, key: str, value: str, wanted: pl.Series) -> pl.Series:
    """`value` of the row of a mapping that ascends by `key` for each wanted key, named as `wanted`; null where there is none.

    By bisection: a hash of a whole mapping would be made anew for each chunk of rows.
    """
    if not mapping.height:
        return pl.Series(wanted.name, [None] * wanted.len(), mapping.schema[value])
    there = wanted.drop_nulls()
    place = mapping[key].search_sorted(there).clip(0, mapping.height - 1)
    found = mapping[value].gather(place)
    found = (
        found.to_frame()
        .select(pl.when(mapping[key].gather(place) == there).then(pl.col(value)))
        .to_series()
    )
    whole = pl.Series(wanted.name, [None] * wanted.len(), mapping.schema[value])
    return whole.scatter(wanted.is_not_null().arg_true(), found).alias(wanted.name)


def own_names(shop_folder: Path, kinds: Iterable[Kind] = KINDS) -> dict[str, OwnNames]:
    """Column name such as `item_id` -> its names, of the kinds of which a shop keeps any."""
    found = {f"{kind}_id": OwnNames.of(shop_folder, kind) for kind in kinds}
    return {name: names for name, names in found.items() if names.is_kept}


def with_own_ids(frame: pl.DataFrame, shop_folder: Path) -> pl.DataFrame:
    """The same table with the user's ids in its columns `item_id`, `user_id`, `request_id` and `search_id`, where the shop keeps a mapping.

    Raises:
        ShopError: an id of the table is not in the mapping.
    """
    there: list[Kind] = [kind for kind in KINDS if f"{kind}_id" in frame.columns]
    named = own_names(shop_folder, there)
    return frame.with_columns([names.own(frame[name]) for name, names in named.items()])


def id_text(name: str, found: pl.DataType) -> Reading:
    """A column of ids as texts: whole numbers plainly, texts as they are without white space around them; "" is null."""
    column = pl.col(name)
    if found == pl.String or found in (pl.Categorical, pl.Enum):
        text = column.cast(pl.String).str.strip_chars()
        return Reading(pl.when(text != "").then(text))
    if found.is_integer():
        return Reading(column.cast(pl.String))
    if found.is_numeric():
        whole = reading(name, found, pl.Int64())
        value = None if whole.value is None else whole.value.cast(pl.String)
        return Reading(value, whole.broken, whole.told)
    rule = Rule(
        column,
        column.is_not_null(),
        f"is {found}, wanted an id",
        "name a column of texts or whole numbers",
    )
    return Reading(None, (rule,))
