"""BenchmarkSet: what the benchmark is run on, wherever it came from: a gallery of products, queries by type, what each should find.

A reader of a published set makes one of its files; `shop_set.shop_benchmark_set` makes one of a shop's period. Notable choices:
- A set is for measuring alone: nothing is learnt from it.
- Query types are those of MBE (MOON, section "MBE benchmark"): `text`, `image`, `product` (title and picture of a product), and besides `mixed` (words and a
  photo of one search). A type without queries is left out.
- Rows of the gallery, not ids, say what is relevant: a set's own ids may be strings. `item_id` is a row's name for vectors brought along and for pictures.
- What literally shows the query is taken out of its ranking (`excluded`): its own picture, the product that is the query.
- `labelled` are the rows on which classification is measured. Of a shop: the products listed since the cut, for an encoder was trained on the others'
  categories and attributes; its labels are those of the whole gallery.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import polars as pl

from moon_rec.errors import ShopError, first_line
from moon_rec.files import digest_of
from moon_rec.shop.schema import columns_of
from representation.core_region.crops import box_columns
from representation.sets.relations import Related, Relation
from representation.sets.stored_vectors import frame_digest

QueryType = Literal["text", "image", "product", "mixed"]
Labelled = Literal["new", "gallery"]
QUERY_TYPES: tuple[QueryType, ...] = get_args(QueryType)
QUERY_COLUMNS = {
    "query_id": pl.Int64(),
    "query_text": pl.String(),
    "query_image": pl.Binary(),
    "query_item_id": pl.Int64(),
    "user_id": pl.Int64(),
}
Rows = list[list[int]]


@dataclass(frozen=True)
class BenchmarkSet:
    """Products, queries, and which products each query should find.

    Attributes:
        name: short, for titles and file names.
        source: where it comes from, in words; printed with every number.
        licence: what its licence allows, in a line; empty where none is known.
        is_simulated: whether behaviour in it is simulated; every number then says so.
        gallery: one row a product: `item_id` (Int64, ascending, unique) and `title`, and whichever other columns the items table of a shop has (`category` a path
            joined by `/`, `attributes`, `brand`, `description`, `image` bytes ...); absent columns become null.
        queries: by query type: `query_id` (Int64, unique within the type), `query_text`, `query_image` (bytes; absent ones become null), and for a product
            that is in the gallery `query_item_id`; `user_id`, who asked, where that is known: one user's queries may be alike, which intervals heed.
        relevant: by query type, for each query the gallery rows that answer it; it may be empty: such queries are left out and counted.
        excluded: by query type, for each query the rows taken out of its ranking; a type that is absent excludes nothing.
        asked: by query type, in words: whose queries, and what makes a product an answer ("engaged with after it"); printed beside every number.
        left_out: by query type, how many queries more were asked that nothing in the gallery answers; counted, never scored.
        labelled: `(rows,)` gallery rows that classification is measured on; None: all.
        labelled_are: in words, which rows these are.
        related: by relation, products and what they are substitutes of, or complements to (`relations.Related`); a relation without pairs is left out.
        digest: 16 hex digits of all that decides a vector or an answer; computed of the contents where it is not given.
    """

    name: str
    source: str
    is_simulated: bool
    gallery: pl.DataFrame
    queries: dict[QueryType, pl.DataFrame]
    relevant: dict[QueryType, Rows]
    licence: str = ""
    excluded: dict[QueryType, Rows] = field(default_factory=dict)
    asked: dict[QueryType, str] = field(default_factory=dict)
    left_out: dict[QueryType, int] = field(default_factory=dict)
    labelled: np.ndarray | None = None
    labelled_are: str = "all products of the gallery"
    related: dict[Relation, Related] = field(default_factory=dict)
    digest: str = ""

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(
            self,
            "gallery",
            _with_columns(self.gallery, columns_of("items"), f"{self.name}: gallery"),
        )
        ids = self.gallery["item_id"].to_numpy()
        if not len(ids) or (np.diff(ids) <= 0).any():
            raise ShopError(
                f"{self.name}: the gallery's item_id must rise and not be empty; number its {len(ids):,} products 0, 1, 2 ..."
            )
        tables = {
            kind: _with_columns(frame, QUERY_COLUMNS, f"{self.name}: {kind} queries")
            for kind, frame in self.queries.items()
            if frame.height
        }
        for kind, frame in tables.items():
            self._check_queries(kind, frame)
        put(self, "queries", {kind: tables[kind] for kind in QUERY_TYPES if kind in tables})
        if self.labelled is None:
            put(self, "labelled", np.arange(len(ids)))
        if not self.digest:
            put(self, "digest", self._content_digest())

    def exclusions(self, kind: QueryType) -> Rows:
        """Rows taken out of each query's ranking."""
        return self.excluded.get(kind) or [[] for _ in range(self.queries[kind].height)]

    def users(self, kind: QueryType, rows: np.ndarray) -> np.ndarray | None:
        """Who asked each of these queries, int64, a number of its own where that is not known; None where it never is."""
        users = self.queries[kind]["user_id"][rows]
        if users.null_count() == len(users):
            return None
        numbers = np.unique(users.to_physical().fill_null(0).to_numpy(), return_inverse=True)[1]
        return np.where(users.is_null().to_numpy(), -1 - np.arange(len(users)), numbers)

    def _check_queries(self, kind: str, frame: pl.DataFrame) -> None:
        if kind not in QUERY_TYPES:
            raise ShopError(f"{self.name}: query type {kind!r}; wanted {', '.join(QUERY_TYPES)}")
        if frame["query_id"].is_duplicated().any() or frame["query_id"].has_nulls():
            raise ShopError(
                f"{self.name}: query_id of the {kind} queries is not unique; number them 0, 1, 2 ..."
            )
        lists = {
            "relevant": self.relevant.get(kind),
            "excluded": self.excluded.get(kind) or [[]] * frame.height,
        }  # type: ignore[call-overload]
        for name, rows in lists.items():
            if rows is None or len(rows) != frame.height:
                found = "none" if rows is None else str(len(rows))
                raise ShopError(
                    f"{self.name}: {name} of the {kind} queries has {found} entries for {frame.height} queries; give one each"
                )
            named = [row for some in rows for row in some]
            if named and (min(named) < 0 or max(named) >= self.gallery.height):
                raise ShopError(
                    f"{self.name}: {name} of the {kind} queries names a gallery row outside 0..{self.gallery.height - 1}"
                )

    def _content_digest(self) -> str:
        assert self.labelled is not None
        answers = [sorted(rows.items()) for rows in (self.relevant, self.excluded)]
        frames = [frame_digest(frame) for frame in (self.gallery, *self.queries.values())]
        about = [self.name, self.is_simulated, self.asked, self.left_out, list(self.queries)]
        related = {name: [one.rows, one.answers] for name, one in self.related.items()}
        return digest_of([about, frames, answers, self.labelled.tolist(), *([related] * bool(related))])  # fmt: skip


def _with_columns(frame: pl.DataFrame, wanted: dict[str, pl.DataType], where: str) -> pl.DataFrame:
    """The wanted columns in their types and order, nulls where they are absent; others are dropped, but for boxes on pictures."""
    key = next(iter(wanted))
    needed = [key, "title"] if "title" in wanted else [key]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        raise ShopError(f"{where} has no column {missing[0]!r}; it has {', '.join(frame.columns)}")
    try:
        found = frame.select(
            pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype).alias(name)
            for name, dtype in wanted.items()
        )
        return found.with_columns(frame.select(box_columns(frame.columns)))
    except pl.exceptions.PolarsError as error:
        raise ShopError(
            f"{where}: a column has another type than a shop's: {first_line(error)}"
        ) from None
