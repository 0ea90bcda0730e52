"""From a shop's tables and two embedding tables to what a search recall is measured on.

Notable choices:
- The gallery is every item listed by the period's end that has a vector, ascending by item_id (so ties go to the lower id). The test period has no end of
  its own: it ends with the shop's last search or impression.
- A search is by picture, by words or by both ("image", "text", "mixed"): by which of `query_image` and `query_text` it has; a text that shows nothing is
  none (`moon_rec.texts`), as in training.
- The query's own picture: gallery items whose picture has the very bytes of `query_image` (compared by 64-bit hash). A photo of a product is another
  picture than the catalogue's and excludes nothing.
- A search counts where it lies in the period, has a vector, and its searcher engaged in the period, after it, with a gallery item that is not excluded.
  The others are left out and counted.
- Vectors are brought to unit length (int8 and float16 tables are a little off it), so inner products are cosines.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.shop.engagement import Engagement, engagements
from moon_rec.shop.shop import Period, Shop
from moon_rec.texts import has_text, normal_text

MODALITIES = ("image", "text", "mixed")


@dataclass(frozen=True)
class Gallery:
    """Items that searches look through.

    Attributes:
        frame: one row an item, ascending by item_id: item_id, spu_id, category, picture (hash of its bytes, null without one).
        vectors: `(items, dim)` float32 unit rows, aligned with `frame`.
    """

    frame: pl.DataFrame
    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True)
class SearchCases:
    """Searches of one modality with what they should find.

    Attributes:
        search_ids: `(searches,)` int64, ascending.
        queries: `(searches, dim)` float32 unit rows.
        users: `(searches,)` int64, who searched.
        relevant, excluded: gallery rows of each search, ascending; at least one in `relevant`, and none in both.
        num_left_out: searches of the modality in the period that are not here: no vector, or nothing to find.
    """

    search_ids: np.ndarray
    queries: np.ndarray
    users: np.ndarray
    relevant: list[list[int]]
    excluded: list[list[int]]
    num_left_out: int

    def __len__(self) -> int:
        return len(self.search_ids)


def check_tables(shop: Shop, items: EmbeddingTable, queries: EmbeddingTable) -> None:
    """Refuse tables of another shop or of two encoders; tables that name neither pass.

    Raises:
        TableError: with both digests.
    """
    for name, table in (("items", items), ("queries", queries)):
        if table.shop and table.shop != shop.digest:
            raise TableError(
                f"the {name} table was made from shop {table.shop}, this shop is {shop.digest}: embed this shop"
            )
    if items.encoder and queries.encoder and items.encoder != queries.encoder:
        raise TableError(
            f"items come from encoder {items.encoder} and queries from {queries.encoder}: embed both with one"
        )
    if items.dim != queries.dim:
        raise TableError(
            f"items have dim {items.dim} and queries {queries.dim}: embed both with one encoder"
        )


def gallery_of(shop: Shop, items: EmbeddingTable, period: Period) -> Gallery:
    """The gallery at the end of a period."""
    listed = pl.col("listed_at")
    if period == "test":
        by_then = listed <= _last_time(shop)
    else:
        by_then = listed < (shop.cut_time if period == "train" else shop.test_time)
    frame = (
        shop.items.filter(by_then)
        .select(
            "item_id", "spu_id", category=normal_text("category"), picture=_picture_hash("image")
        )
        .collect(engine="streaming")
        .sort("item_id")
    )
    vectors, present = items.lookup(frame["item_id"].to_numpy())
    frame = frame.filter(pl.Series(present))
    return Gallery(frame, _to_unit(vectors[present], frame["item_id"], "item"))


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
        .select(
            "search_id",
            "user_id",
            has_text=has_text("query_text"),
            has_image=pl.col("query_image").is_not_null(),
            picture=_picture_hash("query_image"),
        )
        .collect(engine="streaming")
        .sort("search_id")
    )
    rows = gallery.frame.with_row_index("row").select(
        "item_id", "picture", pl.col("row").cast(pl.Int64)
    )
    engaged = engagements(shop, kind=engagement, period=period)
    relevant = _rows_by_search(engaged.select("search_id", "item_id").collect(), rows, "item_id")
    own = searches.filter(pl.col("picture").is_not_null()).select("search_id", "picture")
    excluded = _rows_by_search(own, rows.filter(pl.col("picture").is_not_null()), "picture")
    searches = (
        searches.join(relevant.rename({"row": "relevant"}), "search_id", "left")
        .join(excluded.rename({"row": "excluded"}), "search_id", "left")
        .with_columns(pl.col("relevant", "excluded").fill_null([]))
        .sort("search_id")
    )
    is_kind = {
        "image": pl.col("has_image") & ~pl.col("has_text"),
        "text": pl.col("has_text") & ~pl.col("has_image"),
        "mixed": pl.col("has_image") & pl.col("has_text"),
    }
    return {name: _cases(searches.filter(is_kind[name]), queries) for name in MODALITIES}


def _cases(searches: pl.DataFrame, queries: EmbeddingTable) -> SearchCases:
    to_find = pl.col("relevant").list.set_difference("excluded").list.sort()
    kept = searches.with_columns(relevant=to_find).filter(pl.col("relevant").list.len() > 0)
    vectors, present = queries.lookup(kept["search_id"].to_numpy())
    kept = kept.filter(pl.Series(present, dtype=pl.Boolean))
    return SearchCases(
        search_ids=kept["search_id"].to_numpy(),
        queries=_to_unit(vectors[present], kept["search_id"], "search"),
        users=kept["user_id"].to_numpy(),
        relevant=kept["relevant"].to_list(),
        excluded=kept["excluded"].to_list(),
        num_left_out=len(searches) - len(kept),
    )


def _rows_by_search(pairs: pl.DataFrame, rows: pl.DataFrame, on: str) -> pl.DataFrame:
    """search_id and its gallery rows, ascending."""
    joined = pairs.join(rows.select(on, "row"), on).select("search_id", "row").unique()
    return joined.sort("search_id", "row").group_by("search_id", maintain_order=True).agg("row")


def _picture_hash(column: str) -> pl.Expr:
    return pl.when(pl.col(column).is_not_null()).then(pl.col(column).hash(seed=0))


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
