"""Which items have which content, of all items, as they are shown, and by category."""

import polars as pl

from moon_rec.shop.description.periods import Log
from moon_rec.shop.description.results import Coverage, Covered, Pictures, Queries
from moon_rec.shop.description.sample import PERIODS
from moon_rec.shop.shop import Shop
from moon_rec.texts import has_text

MOST_CATEGORIES = 20
CONTENT = ("title", "description", "brand", "attributes", "price", "picture")
DEFINITION = (
    "Share of items with a text that shows something (title, description, brand), at least one attribute, a price, a picture. Of impressions: each item as often as it was "
    "shown. All are counted, so there is no interval."
)


def item_content(shop: Shop, log: Log) -> pl.DataFrame:
    """One row an item: `item_id`, `category`, whether it has each of `CONTENT`, and its impressions of all and each period."""
    has = shop.items.select(
        "item_id",
        "category",
        title=has_text("title"),
        description=has_text("description"),
        brand=has_text("brand"),
        attributes=pl.col("attributes").list.len().fill_null(0) > 0,
        price=pl.col("price").is_not_null(),
    )
    pictures = shop.pictured("items").select("item_id", picture="has_picture")
    counts = log.items.lazy().select("item_id", "rows", *PERIODS)
    found = has.join(pictures, on="item_id", how="left").join(counts, on="item_id", how="left")
    return found.with_columns(pl.col("rows", *PERIODS).fill_null(0)).collect(engine="streaming")


def coverage_of(items: pl.DataFrame) -> Coverage:
    """Coverage of the items of `item_content`."""
    overall = [_covered("all items", items), _covered("impressions, all periods", items, "rows")]
    overall += [_covered(f"impressions, {period}", items, period) for period in PERIODS]
    sizes = items.group_by("category").agg(pl.col("rows").sum(), items=pl.len())
    order = sizes.sort("rows", "items", "category", descending=[True, True, False])["category"]
    groups = [
        _covered(one, items.filter(pl.col("category") == one))
        for one in order.head(MOST_CATEGORIES)
    ]
    rest = items.filter(pl.col("category").is_in(order.slice(MOST_CATEGORIES).implode()))
    if rest.height:
        groups.append(_covered(f"the other {len(order) - MOST_CATEGORIES:,} categories", rest))
    return Coverage(definition=DEFINITION, overall=tuple(overall), categories=tuple(groups))


def pictures_of(shop: Shop, items: pl.DataFrame, broken: int | None) -> Pictures:
    """How many items and searches have a picture."""
    searches = shop.pictured("searches").select(pl.col("has_picture").sum()).collect().item()
    there = int(items["picture"].sum())
    return Pictures(
        items=there, items_missing=items.height - there, searches=searches, broken=broken
    )


def queries_of(shop: Shop) -> Queries:
    """What searches ask with."""
    by_words, by_picture = has_text("query_text"), pl.col("has_picture")
    searches = shop.searches.select("search_id", "query_text")
    searches = searches.join(shop.pictured("searches"), on="search_id")
    found = searches.select(
        text_only=(by_words & ~by_picture).mean(),
        image_only=(by_picture & ~by_words).mean(),
        both=(by_words & by_picture).mean(),
    )
    return Queries(**found.collect(engine="streaming").row(0, named=True))


def _covered(name: str, items: pl.DataFrame, weight: str | None = None) -> Covered:
    """Shares of items, or of their impressions by the column `weight`."""
    each = pl.lit(1) if weight is None else pl.col(weight)
    count = items.height if weight is None else int(items[weight].sum())
    sums = items.select((pl.col(one).cast(pl.Int64) * each).sum() for one in CONTENT)
    shares = {one: sums[one][0] / count if count else None for one in CONTENT}
    return Covered(name=name, count=count, impressions=int(items["rows"].sum()), **shares)
