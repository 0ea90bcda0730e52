"""Which embedding tables go with a shop and with each other, and how much of the shop they cover: one set of rules for all that reads vectors.

Notable choices
- Ids are numbers, and the numbers of two shops, or of items and searches, coincide. So a table of another shop, of another encoder than its partner, of
  searches where items belong, or twice the same table is refused by what it says of itself; one that says nothing is taken, and that is said.
- A table that does not say whose ids it has is refused where fewer than half of them are known here and all of them are ids of the other kind.
- A shop that grew has another digest, though its ids mean what they did: `--accept other-shop` takes tables of its earlier state.
- Coverage is counted over all items and searches of the shop. Fewer than a tenth of the items with a vector is refused, unless `--accept low-coverage` says
  that it is meant; searches may lack vectors for a good reason (an encoder of words has none for a picture), so their count is told and no more.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from moon_rec.embedding_table import EmbeddingTable, Precision
from moon_rec.errors import TableError
from moon_rec.progress import say
from moon_rec.shop import Shop

Accepted = Literal["other-shop", "low-coverage"]
LEAST_SHARE = 0.1
"""Of a shop's items, below which a table is taken for the wrong one."""
ALIKE = 0.01
"""Shares of coverage that differ by no more are alike."""


@dataclass(frozen=True)
class Covered:
    """How many of some rows have a vector."""

    count: int
    total: int

    @property
    def share(self) -> float:
        """Of the rows that have one; 1 of none."""
        return self.count / self.total if self.total else 1.0

    def __str__(self) -> str:
        return f"{self.count:,} of {self.total:,} ({self.share:.1%})"


@dataclass(frozen=True)
class Coverage:
    """Items and searches with a vector; None where there is no table of them.

    `unnamed` are the tables that do not name a shop or an encoder, in words: they were taken as they are.
    """

    items: Covered | None
    searches: Covered | None
    unnamed: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{one} {name}" for name, one in self._each()]
        taken = f" (taken as they are: {'; '.join(self.unnamed)})" if self.unnamed else ""
        return f"coverage: {', '.join(parts)} have a vector{taken}"

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Plain values for JSON."""
        return {name: {"count": one.count, "total": one.total} for name, one in self._each()}

    @classmethod
    def of_dict(cls, values: Mapping[str, Any]) -> "Coverage":
        """What `as_dict` gave."""
        found = {name: Covered(**one) for name, one in values.items()}
        return cls(found.get("items"), found.get("searches"))

    def _each(self) -> list[tuple[str, Covered]]:
        named = (("items", self.items), ("searches", self.searches))
        return [(name, one) for name, one in named if one is not None]


class Pair(NamedTuple):
    """Tables that go with a shop and with each other, and what they cover of it."""

    items: EmbeddingTable | None
    queries: EmbeddingTable | None
    coverage: Coverage


def open_pair(
    shop: Shop,
    items: Path | str | None,
    queries: Path | str | None = None,
    accept: Sequence[Accepted] = (),
) -> Pair:
    """Open the tables at `items` and `queries` for a shop; what is odd and taken all the same is said.

    Args:
        accept: "other-shop": tables made from another shop, such as an earlier state of this one, are taken, and are said to be of this one from here on;
            "low-coverage": tables of fewer than `LEAST_SHARE` of the items are taken.

    Raises:
        TableError: a table that is not sound (`EmbeddingTable.open`), or one that does not go with the shop or with the other.
    """
    tables = [EmbeddingTable.open(path) if path else None for path in (items, queries)]
    for place, path in enumerate((items, queries)):
        table = tables[place]
        if table is not None and "other-shop" in accept and table.shop not in ("", shop.digest):
            say(f"{path} was made from shop {table.shop}, taken for {shop.digest} ({shop.name})")
            tables[place] = table.of_shop(shop.digest)
    try:
        coverage = check_pair(shop, tables[0], tables[1])
    except TableError as error:
        where = " and ".join(str(path) for path in (items, queries) if path)
        raise TableError(f"{where}: {error}") from None
    found = coverage.items
    if found is not None and found.share < LEAST_SHARE and "low-coverage" not in accept:
        raise TableError(
            f"{items}: {found} items of shop {shop.name} have a vector; pass the table of this shop's items, or add --accept low-coverage if so few are meant"
        )
    for name, one in (("items", found), ("searches", coverage.searches)):
        if one is not None and one.share < 0.5:
            say(f"MIND: {one} {name} have a vector: figures speak of these, not of the shop")
    if tables[1] is not None and coverage.searches is None:
        say(f"shop {shop.name} has no searches: {queries} is not read")
    return Pair(tables[0], tables[1], coverage)


def check_pair(
    shop: Shop, items: EmbeddingTable | None, queries: EmbeddingTable | None = None
) -> Coverage:
    """Refuse tables that do not go with the shop or with each other.

    Raises:
        TableError: a table of another shop, of another encoder or width than the other, of the other kind of ids, or without an id of the shop.
    """
    if items is None and queries is None:
        return Coverage(None, None)
    refuse_other_shop(shop.digest, items, queries)
    item_ids, search_ids = (
        frame.select(key).collect()[key].to_numpy()
        for frame, key in ((shop.items, "item_id"), (shop.searches, "search_id"))
    )
    return check_ids(item_ids, search_ids, items, queries)


def refuse_other_shop(
    shop: str, items: EmbeddingTable | None, queries: EmbeddingTable | None = None
) -> None:
    """Raise TableError for a table that names another shop than the one of the digest `shop` (empty: not known)."""
    for name, table in (("items", items), ("queries", queries)):
        if table is not None and shop and table.shop not in ("", shop):
            raise TableError(
                f"the {name} table was made from shop {table.shop}, this shop is {shop}: embed this shop, or add --accept other-shop (in Python: "
                "table.of_shop) if that is an earlier state of this one"
            )


def check_ids(
    item_ids: np.ndarray,
    search_ids: np.ndarray,
    items: EmbeddingTable | None,
    queries: EmbeddingTable | None = None,
) -> Coverage:
    """As `check_pair`, by the shop's ids (int64, in any order) and what the tables say of each other, whatever shop they name."""
    if items is not None and queries is not None:
        _check_together(items, queries)
    in_items = _check_own(items, "items", item_ids, search_ids)
    in_searches = _check_own(queries, "queries", search_ids, item_ids)
    return Coverage(in_items, in_searches, _unnamed(items, queries))


def _unnamed(items: EmbeddingTable | None, queries: EmbeddingTable | None) -> tuple[str, ...]:
    told = []
    for name, table in (("items", items), ("queries", queries)):
        missing = [
            what for what in ("shop", "encoder") if table is not None and not getattr(table, what)
        ]
        if missing:
            told.append(f"the {name} table names no {' and no '.join(missing)}")
    return tuple(told)


def _check_together(items: EmbeddingTable, queries: EmbeddingTable) -> None:
    if items.encoder and queries.encoder and items.encoder != queries.encoder:
        raise TableError(
            f"items come from encoder {items.encoder} and queries from {queries.encoder}: embed both with one"
        )
    if items.dim != queries.dim:
        raise TableError(
            f"items have dim {items.dim} and queries {queries.dim}: embed both with one encoder"
        )
    if items.digest == queries.digest and len(items):
        raise TableError(
            f"items and queries are the same table {items.digest}: pass the table of the searches as queries"
        )


def _check_own(
    table: EmbeddingTable | None, name: str, own: np.ndarray, other: np.ndarray
) -> Covered | None:
    """How many of `own` ids have a vector, after looking whether the table is of these ids at all."""
    if table is None or (name == "queries" and not own.size):
        return None
    key, other_key = {"items": ("item_id", "search_id")}.get(name, ("search_id", "item_id"))
    if table.kind not in ("", name):
        raise TableError(
            f"the {name} table {table.digest} holds vectors of {table.kind}, by its table.json: are --items and --queries swapped?"
        )
    count = int((table.rows(own) >= 0).sum())
    num_other = int((table.rows(other) >= 0).sum())
    swapped = f"all ids of the {name} table are {other_key}s of the shop, {count} of {len(table)} are {key}s: are --items and --queries swapped?"
    is_swapped = not table.kind and 2 * count < len(table) == num_other
    # an encoder may have nothing to say of any search, but not of any item
    if own.size and not count and (len(table) or name == "items"):
        what = {"items": "items", "queries": "searches"}[name]
        first = f" (first {table.ids[0]})" if len(table) else ""
        mend = swapped if is_swapped else f"pass the table of this shop's {what}"
        raise TableError(
            f"none of the shop's {own.size} {what} (first {own[0]}) is in the {name} table of {len(table)} ids{first}; {mend}"
        )
    if is_swapped:
        raise TableError(swapped)
    return Covered(count, own.size)


def told_unlike(coverages: Mapping[str, Coverage | None]) -> str:
    """A line that names contestants of unlike coverage, by name; empty where all are alike.

    A gallery of which half is missing is easier to search, and a ranker's gain shrinks with the items that have no vector: such figures are no comparison
    of encoders.
    """
    known = {name: one for name, one in coverages.items() if one is not None}
    for what in ("items", "searches"):
        shares = {name: getattr(one, what) for name, one in known.items()}
        shares = {name: one for name, one in shares.items() if one is not None}
        found = [one.share for one in shares.values()]
        if found and max(found) - min(found) > ALIKE:
            each = ", ".join(f"{name} {one}" for name, one in shares.items())
            return f"MIND: unlike coverage of {what}: {each}; what is compared here is also who has a vector"
    return ""


def about_pair(
    shop: Shop, items: EmbeddingTable | None, queries: EmbeddingTable | None
) -> dict[str, Any]:
    """What a record says of the shop and the tables that it was measured on; "" for a table that was not given."""
    return {
        "shop": shop.about(),
        "encoder": items.encoder if items is not None else "",
        "items": items.digest if items is not None else "",
        "queries": queries.digest if queries is not None else "",
    }


def add_table_options(
    parser: argparse.ArgumentParser,
    is_required: bool = False,
    items: str = "embedding table of the items",
    queries: str = "embedding table of the searches",
) -> None:
    """Add `--items DIR`, `--queries DIR` and `--accept`, which `open_pair` takes; `items` and `queries` say which these are."""
    for option, about in (("--items", items), ("--queries", queries)):
        parser.add_argument(option, type=Path, required=is_required, metavar="DIR", help=about)
    add_accept_option(parser)


def add_precision(
    parser: argparse.ArgumentParser, about: str = "precision of the stored vectors"
) -> None:
    """Add `--precision` of an embedding table."""
    choices = get_args(Precision)
    parser.add_argument("--precision", choices=choices, default="float32", help=about)


def add_accept_option(parser: argparse.ArgumentParser) -> None:
    """Add the repeatable `--accept WHAT` that `open_pair` takes."""
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        choices=get_args(Accepted),
        help="accept tables of another shop (or of an earlier state of this one), or of fewer than a tenth of the items; may be repeated",
    )
