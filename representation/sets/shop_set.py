"""A period of a shop as a benchmark set.

Notable choices:
- Searches, gallery, answers and what is left out are those of `representation.recall`, to the row: `search_cases` makes both, here with a table
  in which every product and every search has a vector.
- A product is a query where a shopper engaged with it (`query_engagement`, clicks by default) after a search of the period; its answers are the other products
  engaged with (`engagement`) after the same search, over all its searches. How MBE pairs products is not public. So that no answer shows the query, products
  with the query's picture (the same bytes) or title are taken out, as when training (`posttraining.pairs`). It is asked by title and picture; without a
  picture it is no query.
- A search with nothing to find is counted in `left_out`, and so is a product whose searches led to no other product.
"""

from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import ShopError
from moon_rec.files import digest_file, digest_of
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement, engagements
from moon_rec.shop.shop import Period
from moon_rec.texts import normal_text
from representation.core_region.crops import box_columns
from representation.sets.benchmark_set import BenchmarkSet, Labelled, QueryType, Rows
from representation.sets.relations import (
    WINDOW_DAYS,
    Related,
    Relation,
    pairs_of_log,
    pairs_of_table,
    related,
)
from representation.sets.search_cases import gallery_of, search_cases

BY: dict[QueryType, str] = {
    "text": "by words alone",
    "image": "by picture alone",
    "mixed": "by picture and words",
}


def shop_benchmark_set(
    shop: Shop,
    period: Period = "test",
    engagement: Engagement = "purchased",
    query_engagement: Engagement = "clicked",
    labelled: Labelled = "new",
    pairs: Path | None = None,
) -> BenchmarkSet:
    """Searches and products of a period, and the gallery at its end.

    Args:
        period: whose searches; only `validation` may choose anything.
        engagement: what makes a product an answer.
        query_engagement: what makes a product a query.
        pairs: file of pairs of products, see `relations.pairs_of_table`; None: what the period's log says (`relations.pairs_of_log`).
        labelled: rows for classification: `new`, listed since the cut, which no encoder of this shop was trained on, or the whole `gallery`.

    Raises:
        ShopError: an unknown period, engagement or choice of labelled rows; a shop without products by then.
    """
    if labelled not in ("new", "gallery"):
        raise ShopError(f"labelled {labelled!r}: wanted new or gallery")
    hidden = gallery_of(shop, _all_ones(shop.items, "item_id"), period)
    gallery = (
        shop.items.join(hidden.frame.lazy().select("item_id"), "item_id", "semi")
        .sort("item_id")
        .collect(engine="streaming")
    )
    cases = search_cases(shop, hidden, _all_ones(shop.searches, "search_id"), period, engagement)
    queries: dict[QueryType, pl.DataFrame] = {}
    relevant: dict[QueryType, Rows] = {}
    excluded: dict[QueryType, Rows] = {}
    left_out: dict[QueryType, int] = {}
    asked: dict[QueryType, str] = {}
    for kind, by in BY.items():
        found = cases[str(kind)]
        queries[kind] = _searches(shop, found.search_ids)
        relevant[kind], excluded[kind] = found.relevant, found.excluded
        left_out[kind] = found.num_left_out
        asked[kind] = (
            f"searches {by} in the {period} period; an answer is a product {engagement} after it"
        )
    queries["product"], relevant["product"], excluded["product"], left_out["product"] = _products(
        shop, gallery, period, engagement, query_engagement
    )
    asked["product"] = (
        f"products {query_engagement} after a search of the {period} period, by title and picture; an answer is another product {engagement} after the same search"
        " (products of the same title or picture are left out)"
    )
    of_pairs = _related(shop, gallery, period, pairs)
    new = gallery.select(pl.col("listed_at") >= shop.cut_time).to_series().to_numpy()
    return BenchmarkSet(
        name=shop.name,
        source=shop.source,
        is_simulated=shop.is_simulated,
        gallery=gallery,
        queries=queries,
        relevant=relevant,
        excluded=excluded,
        asked=asked,
        left_out=left_out,
        labelled=np.flatnonzero(new) if labelled == "new" else None,
        labelled_are=f"products listed since the cut ({shop.cut_time:%Y-%m-%d}), none of which an encoder of this shop was trained on"
        if labelled == "new"
        else "all products of the gallery, those that an encoder was trained on among them",
        related=of_pairs,
        digest=digest_of(
            [shop.digest, period, engagement, query_engagement, labelled]
            + ([] if pairs is None else [digest_file(pairs)])
        ),
    )


def _related(
    shop: Shop, gallery: pl.DataFrame, period: Period, pairs: Path | None
) -> dict[Relation, Related]:
    """What the gallery's products are substitutes of, and complements to."""
    found = pairs_of_log(shop, period) if pairs is None else pairs_of_table(pairs, shop)
    asked: dict[Relation, str] = {
        "substitute": f"products; an answer is another that was clicked after the same search of the {period} period, and never bought by one user within {WINDOW_DAYS} days of it",
        "complement": f"products; an answer is one of another category that a user bought within {WINDOW_DAYS} days of it in the {period} period",
    }
    made = {}
    for name, of_name in found.items():
        words = asked[name] if pairs is None else f"products; an answer is a {name} by {pairs.name}"
        one = related(gallery, of_name, words)
        if one.rows:
            made[name] = one
    return made


def _products(
    shop: Shop,
    gallery: pl.DataFrame,
    period: Period,
    engagement: Engagement,
    query_engagement: Engagement,
) -> tuple[pl.DataFrame, Rows, Rows, int]:
    """Product queries, their answers, the rows that show them, and how many have no answer."""
    rows = gallery.select(
        "item_id",
        title=normal_text("title"),
        has_image=pl.col("image").is_not_null(),
        picture=pl.col("image").hash(seed=0),
    ).with_row_index("row")
    asking = engagements(shop, query_engagement, period).select(
        "search_id", query_item_id="item_id"
    )
    answers = engagements(shop, engagement, period).select("search_id", "item_id")
    pairs = (
        asking.join(answers, "search_id")
        .select("query_item_id", "item_id")
        .unique()
        .collect()
        .join(rows.filter("has_image").rename({"item_id": "query_item_id"}), "query_item_id")
        .join(rows.select("item_id", "title", "picture", answer="row"), "item_id", suffix="_answer")
        .filter(
            (pl.col("title") != pl.col("title_answer"))
            & pl.col("picture").ne_missing(pl.col("picture_answer"))
        )
    )
    found = pairs.sort("row", "answer").group_by("row", maintain_order=True).agg("answer")
    asked_rows = found["row"].to_list()
    products = rows[asked_rows]
    pictured = rows.filter("has_image")
    alike = [
        products.join(others.select(by, alike="row"), by).select("row", "alike")
        for by, others in (("picture", pictured), ("title", rows))
    ]
    removed = pl.concat(alike).unique().sort("row", "alike")
    removed = removed.group_by("row", maintain_order=True).agg("alike")["alike"].to_list()
    queries = gallery[asked_rows].select(
        *box_columns(gallery.columns),
        query_id=pl.col("item_id"),
        query_text=pl.col("title"),
        query_image=pl.col("image"),
        query_item_id=pl.col("item_id"),
    )
    with_picture = rows.filter("has_image").select(query_item_id="item_id").lazy()
    num_asking = asking.select("query_item_id").unique().join(with_picture, "query_item_id", "semi")
    num_all = num_asking.select(pl.len()).collect().item()
    return queries, found["answer"].to_list(), removed, num_all - queries.height


def _searches(shop: Shop, search_ids: np.ndarray) -> pl.DataFrame:
    wanted = pl.DataFrame({"search_id": search_ids}, schema={"search_id": pl.Int64})
    box = box_columns(shop.searches.collect_schema().names())
    return (
        shop.searches.join(wanted.lazy(), "search_id", "semi")
        .sort("search_id")
        .select("query_text", "query_image", "user_id", *box, query_id="search_id")
        .collect(engine="streaming")
    )


def _all_ones(table: pl.LazyFrame, key: str) -> EmbeddingTable:
    """A vector for everything, so that nothing is left out for want of one."""
    ids = table.select(key).collect()[key].to_numpy()
    return EmbeddingTable.from_arrays(ids, np.ones((len(ids), 1), np.float32))
