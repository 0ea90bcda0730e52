"""A user's own ids, kept beside the shop's tables, whose ids are whole numbers.

Notable choices
- Ids that are whole numbers of 64 bits, written plainly, are used as they are and nothing is kept. If one of a kind is anything
  else ("B00INXG6MO", "802.538.09", "007", a hash of 64 bits without sign), all of that kind are numbered from 1 in the
  order of their texts: the same set of ids gives the same numbers however the files are sorted.
- "17.0", as pandas writes whole numbers beside missing ones, is 17 where every id of the kind is whole.
- `ids/<kind>.parquet` (id, own) is derived, and not part of the shop's digest.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.shop.schema import IDS

Kind = Literal["item", "user", "request", "search"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_WHOLE = r"^-?(0|[1-9][0-9]*)$"
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
    """The mapping of a kind (id Int64, own String), or None where the shop's ids are the user's.

    Raises:
        ShopError: it cannot be read, or names an id twice.
    """
    path = shop_folder / IDS / f"{kind}.parquet"
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
    return frame


def with_own_ids(frame: pl.DataFrame, shop_folder: Path) -> pl.DataFrame:
    """The same table with the user's ids in its columns `item_id`, `user_id`, `request_id` and `search_id`, where the shop keeps a mapping.

    Raises:
        ShopError: an id of the table is not in the mapping.
    """
    for kind in KINDS:
        name = f"{kind}_id"
        mapping = read_own_ids(shop_folder, kind) if name in frame.columns else None
        if mapping is None:
            continue
        own = frame.select(id=name).join(mapping, on="id", how="left", maintain_order="left")["own"]
        unknown = own.is_null() & frame[name].is_not_null()
        if unknown.any():
            row = int(unknown.arg_true()[0])
            raise ShopError(
                f"{name} {frame[name][row]} is not among the ids of {shop_folder}: was it made from this shop?"
            )
        frame = frame.with_columns(own.alias(name))
    return frame
