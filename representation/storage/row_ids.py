"""The ids of vectors made elsewhere: the user's own, exactly as the log writes them, or whole numbers.

Notable choices
- Ids are texts where the shop keeps its user's own (`moon_rec.shop.own_ids`), and matched exactly: "7" is not "007". One that the shop does not
  know has no number, so that its vector cannot be kept; how many there are is said.
- Where the shop's ids are the user's, texts are refused: "7" may be 7 or not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from moon_rec.errors import TableError
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.readers.interactions.typed import value_reading
from moon_rec.values import read_as, shown, whole_ids
from representation.storage.vector_file import VectorFile

Whose = Literal["items", "queries"]
KIND: dict[Whose, Literal["item", "search"]] = {"items": "item", "queries": "search"}


@dataclass(frozen=True)
class RowIds:
    """The ids of a file's rows.

    Attributes:
        ids: `(rows,)` int64, the shop's; -1 where it knows no such id.
        is_known: `(rows,)` bool.
        written: the same as the user writes them.
    """

    ids: np.ndarray
    is_known: np.ndarray
    written: pl.Series

    def name(self, row: int | np.integer) -> str:
        """A row's id, for messages."""
        return shown(self.written[int(row)])


def read_row_ids(
    path: Path | str, source: VectorFile, shop: Shop | None, kind: Whose | None
) -> RowIds:
    """The rows' ids, each once; how many the shop does not know is said.

    Raises:
        TableError: ids of a wrong type, twice, or none of them the shop's own.
    """
    found, where = source.written_ids(), str(source.ids_path)
    names = None if shop is None else OwnNames.of(shop.path, KIND[kind or "items"])
    if shop is None or names is None or not names.is_kept:
        written = _whole(found, where, shop, source.ids_are_text)
        ids, is_known = written.to_numpy(), np.ones(written.len(), dtype=bool)
        rows = RowIds(ids, is_known, written)
        _refuse_copies(path, ids, rows)
        return rows
    written = names.written(found, where, error=TableError)
    numbers = names.numbers(written)
    rows = RowIds(numbers.fill_null(-1).to_numpy(), numbers.is_not_null().to_numpy(), written)
    _refuse_copies(path, written.rank("dense").to_numpy(), rows)
    unknown = np.flatnonzero(~rows.is_known)
    if unknown.size:
        which = f"{unknown.size:,} of {written.len():,} ids are not among the {kind or 'items'} of shop {shop.name}"
        first = ", ".join(rows.name(row) for row in unknown[:3].tolist())
        if unknown.size == written.len():
            raise TableError(
                f"{where}: all {which} (first {first}; the shop has such as {names.first}); give the ids of the log that it was imported from, as they are written there"
            )
        say(f"{where}: {which}, such as {first}: their vectors are left out")
    return rows


def _whole(ids: pl.Series, where: str, shop: Shop | None, are_text: bool) -> pl.Series:
    """Whole numbers; of delimited text what its texts say, by the rules of the log importer."""
    if are_text:
        wanted = pl.Int64()
        return read_as(ids, value_reading(ids.name, pl.String(), wanted), wanted, where, error=TableError)  # fmt: skip
    _refuse_texts(ids, where, shop)
    return whole_ids(ids, where, error=TableError)


def _refuse_texts(ids: pl.Series, where: str, shop: Shop | None) -> None:
    """Texts are ids only of a shop that keeps its user's own."""
    if ids.dtype == pl.String and ids.null_count() < ids.len():
        row = int(ids.is_not_null().arg_true()[0])
        mend = (
            "name the shop whose own ids they are with --shop, or give each its whole number"
            if shop is None
            else f"the ids of shop {shop.name} are whole numbers: write them so"
        )
        raise TableError(
            f"{where}: {ids.name} row {row}: {shown(ids[row])} is String, wanted whole numbers; {mend}"
        )


def _refuse_copies(path: Path | str, codes: np.ndarray, rows: RowIds) -> None:
    """Raise TableError where two rows have one of the `codes` `(rows,)`, which stand for the ids."""
    order = np.argsort(codes, kind="stable")
    twice = np.flatnonzero(codes[order][1:] == codes[order][:-1])
    if twice.size:
        first, second = int(order[twice[0]]), int(order[twice[0] + 1])
        raise TableError(
            f"{path}: id {rows.name(first)} is in rows {first} and {second} ({twice.size:,} such); give each id one vector"
        )
