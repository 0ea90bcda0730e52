"""What stands in a shop twice: pages of the log, rows of train in test, products and pictures on both sides of the cut.

Notable choices
- Pages are known by what was shown and done on them, whatever their ids (`moon_rec.shop.log_rules`).
- A page of test that repeats one of train, outcomes included, has at least two rows and a click to count: a user may well
  see the same list again, but hardly answers it alike.
- Users do buy the same thing again, so single rows count only from `SHARE_COPIED` on and where they are twice as frequent in
  test as in validation.
- Pictures are compared by a hash of 64 bits, texts as they are; variants of one product (`spu_id`) may look alike.
"""

from collections.abc import Iterator

import polars as pl

from moon_rec.shop.log_rules import SHARE_DOUBLED, doubled, pages_of
from moon_rec.shop.own_ids import Kind, with_own_ids
from moon_rec.shop.problem import Problem
from moon_rec.shop.shop import Shop

SHARE_REPEATED = 0.01
SHARE_COPIED = 0.05
SHARE_OF_TITLES = 0.05


def doubled_pages(shop: Shop) -> Iterator[Problem]:
    """Fewer doubled pages than break the rule."""
    found = doubled(shop.impressions)
    if 0 < found.copies < SHARE_DOUBLED * found.pages:
        yield found.problem()


def repeated_pages(shop: Shop) -> Iterator[Problem]:
    """Pages and rows of train that stand in test again."""
    pages = pages_of(shop.impressions).filter(pl.col("rows") > 1, pl.col("clicks") > 0)
    keys = ["user_id", "rows", "content"]
    train = shop.in_period(pages, "train").select(keys).unique()
    test = shop.in_period(pages, "test")
    number = _count(test)
    repeated = _count(test.join(train, on=keys, how="semi"))
    if repeated and repeated >= SHARE_REPEATED * number:
        yield Problem(
            "impressions",
            f"of {number:,} pages of the test period with a click, {repeated:,} ({repeated / number:.1%}) repeat a page of "
            "train: user, items, positions and outcomes",
            "drop copied rows: what was trained on is no test",
        )
        return
    share, of_validation, rows = _copied_rows(shop)
    if share >= SHARE_COPIED and share >= 2 * of_validation:
        yield Problem(
            "impressions",
            f"of {rows:,} clicked rows of the test period {share:.1%} are rows of train in all but their time and request "
            f"({of_validation:.1%} of the validation period's)",
            "drop copied rows: what was trained on is no test",
        )


def _copied_rows(shop: Shop) -> tuple[float, float, int]:
    """Shares of the clicked rows of test and of validation that train has, too, and the former's rows."""
    ids = ("request_id", "search_id", "time")
    keys = [name for name in shop.impressions.collect_schema() if name not in ids]
    clicked = shop.impressions.filter(pl.col("clicked"))
    clicked = clicked.select("time", row=pl.struct(keys).hash(0))
    train = shop.in_period(clicked, "train").select("row").unique()
    shares, number = [], 0
    for period in ("validation", "test"):
        rows = shop.in_period(clicked, period)
        number = _count(rows)
        shares.append(_count(rows.join(train, on="row", how="semi")) / max(number, 1))
    return shares[1], shares[0], number


def catalogue_copies(shop: Shop) -> Iterator[Problem]:
    """Items listed after the cut with the picture or the title of another product listed before."""
    values = {"image": "picture_hash", "title": pl.when(pl.col("title") != "").then("title")}
    known = shop.items.select("item_id", "spu_id", "listed_at", "title")
    known = known.join(shop.pictured("items"), on="item_id")
    for column, least in (("image", 0.0), ("title", SHARE_OF_TITLES)):
        items = known.select("item_id", "spu_id", "listed_at", value=values[column])
        items = items.filter(pl.col("value").is_not_null())
        is_late = pl.col("listed_at") >= pl.lit(shop.cut_time)
        first = pl.col("item_id", "spu_id").sort_by("item_id").first()  # the engine keeps no order
        early = items.filter(~is_late).group_by("value").agg(first)
        late = items.filter(is_late)
        alike = late.join(early, on="value", suffix=" early")
        alike = alike.filter(pl.col("spu_id") != pl.col("spu_id early")).collect(engine="streaming")
        number = _count(late)
        if alike.height and alike.height >= least * number:
            row = alike.sort("item_id").row(0, named=True)
            yield Problem(
                "items",
                f"of {number:,} items listed after the cut {alike.height:,} ({alike.height / number:.1%}) have that of "
                f"another product listed before, such as {_own(shop, 'item', row['item_id'])} of {_own(shop, 'item', row['item_id early'])}",
                "give one product's variants one spu_id, or drop relisted products: they are not new",
                column,
            )


def query_copies(shop: Shop) -> Iterator[Problem]:
    """Searches whose picture is an item's own, byte by byte: finding it is no search."""
    asked = shop.pictured("searches").filter("has_picture")
    asked = asked.select("search_id", picture="picture_hash")
    pictures = shop.pictured("items").filter("has_picture")
    pictures = pictures.group_by(picture="picture_hash").agg(pl.col("item_id").min())
    found = asked.join(pictures, on="picture").collect(engine="streaming")
    if found.height:
        number, row = _count(asked), found.sort("search_id").row(0, named=True)
        yield Problem(
            "searches",
            f"of {number:,} pictures {found.height:,} ({found.height / number:.1%}) are an item's own, byte by byte, such "
            f"as that of search {_own(shop, 'search', row['search_id'])}, which is item {_own(shop, 'item', row['item_id'])}'s",
            "search with photos of shoppers; recall by catalogue pictures is near 1 for any encoder",
            "query_image",
        )


def _own(shop: Shop, kind: Kind, number: int) -> object:
    """An id as its owner wrote it."""
    return with_own_ids(pl.DataFrame({f"{kind}_id": [number]}), shop.path).item()


def _count(frame: pl.LazyFrame) -> int:
    return frame.select(pl.len()).collect(engine="streaming").item()
