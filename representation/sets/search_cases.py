"""From a shop's tables and two embedding tables to what a search recall is measured on.

Notable choices:
- The gallery is every item listed by the period's end that has a vector, ascending by item_id (so ties go to the lower id). The test period has no end of
  its own: it ends with the shop's last search or impression.
- A search is by picture, by words or by both ("image", "text", "mixed"): by which of `query_image` and `query_text` it has; a text that shows nothing is
  none (`moon_rec.texts`), as in training.
- The query's own picture: gallery items whose picture has the very bytes of `query_image` (compared by 64-bit hash). A photo of a product is another
  picture than the catalogue's and excludes nothing.
- A search counts where it lies in the period, has a vector, and its searcher engaged in the period, after it, with an item listed by then that is not
  excluded. The others are left out and counted.
- A listed item without a vector is in no gallery and is never found: a search for it is a miss. Left out, it would make recall rise with every vector lost.
- Vectors are brought to unit length (int8 and float16 tables are a little off it), so inner products are cosines.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.progress import progress
from moon_rec.shop.engagement import Engagement, engagements
from moon_rec.shop.shop import Period, Shop
from moon_rec.texts import has_text, normal_text
from moon_rec.vector_pairs import check_pair

MODALITIES = ("image", "text", "mixed")


@dataclass(frozen=True)
class Gallery:
    """Items that searches look through.

    Attributes:
        frame: one row an item, ascending by item_id: item_id, spu_id, category, picture (hash of its bytes, null without one).
        vectors: `(items, dim)` float32 unit rows, aligned with `frame`.
        missing: the listed items that have no vector, as in `frame`; None where all have one.
    """

    frame: pl.DataFrame
    vectors: np.ndarray
    missing: pl.DataFrame | None = None

    @property
    def num_listed(self) -> int:
        """Items listed, with a vector or without."""
        return len(self) + (0 if self.missing is None else self.missing.height)

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True)
class SearchCases:
    """Searches of one modality with what they should find.

    Attributes:
        search_ids: `(searches,)` int64, ascending.
        queries: `(searches, dim)` float32 unit rows.
        users: `(searches,)` int64, who searched.
        relevant, excluded: gallery rows of each search, ascending; none in both.
        num_left_out: searches of the modality in the period that are not here: no vector, or nothing to find.
        missing: rows of `Gallery.missing` that each search has to find and cannot; at least one there or in `relevant`. Empty where nothing is missing.
    """

    search_ids: np.ndarray
    queries: np.ndarray
    users: np.ndarray
    relevant: list[list[int]]
    excluded: list[list[int]]
    num_left_out: int
    missing: list[list[int]] = field(default_factory=list)

    @property
    def num_missing(self) -> np.ndarray:
        """`(searches,)` how many items each has to find and cannot."""
        return np.array([len(rows) for rows in self.missing] or [0] * len(self), dtype=np.int64)

    def over(self, gallery: Gallery) -> dict[str, Any]:
        """The arguments of `search_recall` that say what is asked, and of whom."""
        return {
            "queries": self.queries,
            "gallery": gallery.vectors,
            "relevant": self.relevant,
            "num_missing": self.num_missing,
            "excluded": self.excluded,
            "users": self.users,
        }

    def findable(self) -> "SearchCases":
        """Those with something in the gallery to find."""
        kept = [row for row, rows in enumerate(self.relevant) if rows]
        if len(kept) == len(self):
            return self
        columns = {
            one.name: getattr(self, one.name) for one in fields(self) if one.name != "num_left_out"
        }
        chosen = {
            name: values[kept] if isinstance(values, np.ndarray) else [values[row] for row in kept]
            for name, values in columns.items()
        }
        return replace(self, **chosen)

    def __len__(self) -> int:
        return len(self.search_ids)


@dataclass(frozen=True)
class ShopSearches:
    """The searches of a period of a shop, and the gallery that they look through, under vectors of one encoder.

    Attributes:
        queries: vectors by search_id.
        cases: the searches by modality.
    """

    shop: Shop
    queries: EmbeddingTable
    period: Period
    engagement: Engagement
    gallery: Gallery
    cases: dict[str, SearchCases]

    @classmethod
    def of(
        cls,
        shop: Shop,
        items: EmbeddingTable,
        queries: EmbeddingTable,
        period: Period = "test",
        engagement: Engagement = "purchased",
    ) -> "ShopSearches":
        """
        Raises:
            TableError: tables of another shop, of two encoders or dims, or vectors that are all zeros.
        """
        check_pair(shop, items, queries)
        with progress("gallery and searches", 2) as bar:
            gallery = gallery_of(shop, items, period)
            bar.advance(note=f"{len(gallery):,} items")
            cases = search_cases(shop, gallery, queries, period, engagement)
            bar.advance(note="searches")
        return cls(shop, queries, period, engagement, gallery, cases)

    def findable(self, modalities: Sequence[str] = MODALITIES) -> dict[str, SearchCases]:
        """The searches with something in the gallery to find, by modality; one without any is left out."""
        found = {name: self.cases[name].findable() for name in modalities}
        return {name: each for name, each in found.items() if len(each)}


def gallery_of(shop: Shop, items: EmbeddingTable, period: Period) -> Gallery:
    """The gallery at the end of a period."""
    listed = pl.col("listed_at")
    if period == "test":
        by_then = listed <= _last_time(shop)
    else:
        by_then = listed < (shop.cut_time if period == "train" else shop.test_time)
    frame = (
        shop.items.filter(by_then)
        .select("item_id", "spu_id", category=normal_text("category"))
        .join(shop.pictured("items"), on="item_id")
        .select("item_id", "spu_id", "category", picture="picture_hash")
        .collect(engine="streaming")
        .sort("item_id")
    )
    vectors, present = items.lookup(frame["item_id"].to_numpy())
    missing = None if present.all() else frame.filter(pl.Series(~present))
    frame = frame.filter(pl.Series(present))
    return Gallery(frame, _to_unit(vectors[present], frame["item_id"], "item"), missing)


def search_cases(
    shop: Shop,
    gallery: Gallery,
    queries: EmbeddingTable,
    period: Period,
    engagement: Engagement = "purchased",
) -> dict[str, SearchCases]:
    """The searches of a period by modality; a modality without any search is an empty one."""
    searches = (
        shop.in_period(shop.searches, period)
        .select("search_id", "user_id", has_text=has_text("query_text"))
        .join(shop.pictured("searches"), on="search_id")
        .rename({"has_picture": "has_image", "picture_hash": "picture"})
        .collect(engine="streaming")
        .sort("search_id")
    )
    engaged = engagements(shop, kind=engagement, period=period)
    engaged = engaged.select("search_id", "item_id").collect()
    own = searches.filter(pl.col("picture").is_not_null()).select("search_id", "picture")
    parts = {("relevant", "excluded"): gallery.frame}
    if gallery.missing is not None:
        parts["missing", "missing_excluded"] = gallery.missing
    for (wanted, excluded), frame in parts.items():
        rows = frame.with_row_index("row").select(
            "item_id", "picture", pl.col("row").cast(pl.Int64)
        )
        pictured = rows.filter(pl.col("picture").is_not_null())
        for name, found in (
            (wanted, _rows_by_search(engaged, rows, "item_id")),
            (excluded, _rows_by_search(own, pictured, "picture")),
        ):
            searches = searches.join(found.rename({"row": name}), "search_id", "left")
        to_find = pl.col(wanted).list.set_difference(excluded).list.sort()
        searches = searches.with_columns(pl.col(wanted, excluded).fill_null([]))
        searches = searches.with_columns(to_find.alias(wanted))
    searches = searches.sort("search_id")
    is_kind = {
        "image": pl.col("has_image") & ~pl.col("has_text"),
        "text": pl.col("has_text") & ~pl.col("has_image"),
        "mixed": pl.col("has_image") & pl.col("has_text"),
    }
    return {name: _cases(searches.filter(is_kind[name]), queries) for name in MODALITIES}


def _cases(searches: pl.DataFrame, queries: EmbeddingTable) -> SearchCases:
    wanted = [name for name in ("relevant", "missing") if name in searches.columns]
    kept = searches.filter(pl.any_horizontal(pl.col(wanted).list.len() > 0))
    vectors, present = queries.lookup(kept["search_id"].to_numpy())
    kept = kept.filter(pl.Series(present, dtype=pl.Boolean))
    return SearchCases(
        search_ids=kept["search_id"].to_numpy(),
        queries=_to_unit(vectors[present], kept["search_id"], "search"),
        users=kept["user_id"].to_numpy(),
        relevant=kept["relevant"].to_list(),
        excluded=kept["excluded"].to_list(),
        num_left_out=len(searches) - len(kept),
        missing=kept["missing"].to_list() if "missing" in wanted else [],
    )


def _rows_by_search(pairs: pl.DataFrame, rows: pl.DataFrame, on: str) -> pl.DataFrame:
    """search_id and its gallery rows, ascending."""
    joined = pairs.join(rows.select(on, "row"), on).select("search_id", "row").unique()
    return joined.sort("search_id", "row").group_by("search_id", maintain_order=True).agg("row")


def _last_time(shop: Shop) -> datetime:
    times = [
        frame.select(pl.col("time").max()).collect().item()
        for frame in (shop.searches, shop.impressions)
    ]
    return max((time for time in times if time is not None), default=shop.test_time)


def _to_unit(vectors: np.ndarray, ids: pl.Series, name: str) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=1)
    if (norms == 0).any():
        at = int(np.flatnonzero(norms == 0)[0])
        raise TableError(
            f"the vector of {name} {ids[at]} is all zeros; leave an item or search without content out of the table"
        )
    return vectors / norms[:, None]
