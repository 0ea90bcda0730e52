"""What drift is looked for in: every column of the log, and of its items, users and searches, as it stands beside each row of train and test.

Notable choices
- Columns of items and users are read by impressions: an item counts as often as it was shown, for that is what a ranker reads.
- A moment in time is another in test by its nature; it is read as days before the impression. Texts are read by their length where hardly one is like another (title,
  description, query).
- Keys are not read: what of them is new after the cut stands under cold items and users.
"""

from collections.abc import Iterator

import polars as pl

from moon_rec.shop.description.drift import DEFINITION, Blocks, column_drift
from moon_rec.shop.description.results import ColumnDrift, Drift
from moon_rec.shop.description.sample import HISTORY, PERIOD, Sample, period_of
from moon_rec.shop.schema import TABLES
from moon_rec.shop.shop import Shop
from moon_rec.texts import has_text

_ORDER = {"large": 0, "moderate": 1, "slight": 2, "not shown": 3, "cannot be told": 4}


def drift_of(shop: Shop, sample: Sample) -> Drift:
    """The drift of every column, on the sampled users' rows.

    Args:
        sample: with `HISTORY`.
    """
    rows = sample.rows.filter(pl.col(PERIOD) != "validation")
    unread: list[str] = []
    found = list(_log_drifts(shop, rows, unread))
    if shop.searches.select(pl.len()).collect().item():
        found += _search_drifts(shop, sample)
    found.sort(key=lambda one: (_ORDER[one.verdict], -(one.index or 0), one.table, one.column))
    return Drift(
        definition=DEFINITION,
        source=f"train and test rows of {sample.source}; columns of items and users by impressions, of searches by search",
        columns=tuple(found),
        unread=tuple(unread),
    )


def _log_drifts(shop: Shop, rows: pl.DataFrame, unread: list[str]) -> Iterator[ColumnDrift]:
    blocks = Blocks(rows["user_id"].to_numpy(), (rows[PERIOD] == "test").to_numpy())
    when = pl.col("time")
    declared = {
        "position": pl.col("position"),
        "clicked": pl.col("clicked"),
        "carted": pl.col("carted"),
        "purchased": pl.col("purchased"),
        "answers a search": pl.col("search_id").is_not_null(),
        "hour of the day": when.dt.hour(),
        "impressions in the request": pl.len().over("request_id"),
        "history at the impression": pl.col(HISTORY),
    }
    further = [
        name
        for name in shop.impressions.collect_schema()
        if name not in {column.name for column in TABLES["impressions"]}
    ]
    yield from _drifts("impressions", rows.select(**declared), blocks)
    log = rows.select(when.alias(_WHEN), *further)
    yield from _drifts("impressions", _readable("impressions", log, unread), blocks)
    yield from _drifts("items", _beside(rows, _items(shop), "item_id", "items", unread), blocks)
    if shop.has("users"):
        users = shop.table("users").collect(engine="streaming")
        yield from _drifts("users", _beside(rows, users, "user_id", "users", unread), blocks)


def _search_drifts(shop: Shop, sample: Sample) -> Iterator[ColumnDrift]:
    """Of the sampled users' searches."""
    has = shop.pictured("searches").select("search_id", "has_picture")
    columns = [name for name in shop.searches.collect_schema() if name != "query_image"]
    searches = shop.searches.select(columns).join(sample.users.lazy(), on="user_id", how="semi")
    searches = searches.join(has, on="search_id", how="left").with_columns(period=period_of(shop))
    rows = searches.filter(pl.col("period") != "validation").collect(engine="streaming")
    blocks = Blocks(rows["user_id"].to_numpy(), (rows["period"] == "test").to_numpy())
    words = pl.when(has_text("query_text")).then(pl.col("query_text").str.count_matches(r"\S+"))
    found = rows.select(
        pl.col("has_picture").alias("has a picture"), words.alias("words of the query")
    )
    return _drifts("searches", found, blocks)


def _drifts(table: str, columns: pl.DataFrame, blocks: Blocks) -> Iterator[ColumnDrift]:
    for values in columns:
        yield column_drift(table, values.name, values, blocks)


def _items(shop: Shop) -> pl.DataFrame:
    """What drift is looked for in of each item, under the names that are printed."""
    declared = {column.name for column in TABLES["items"]}
    further = [name for name in shop.items.collect_schema() if name not in declared]
    known = shop.items.select(
        "item_id",
        "category",
        "brand",
        "price",
        "listed_at",
        *further,
        pl.col("title").str.len_chars().alias("letters of the title"),
        has_text("description").alias("has a description"),
        pl.col("attributes").list.len().alias("attributes"),
    )
    pictures = shop.pictured("items").select(
        "item_id", pl.col("has_picture").alias("has a picture")
    )
    return known.join(pictures, on="item_id", how="left").collect(engine="streaming")


def _beside(
    rows: pl.DataFrame, there: pl.DataFrame, key: str, table: str, unread: list[str]
) -> pl.DataFrame:
    """The columns of another table beside each row of the log."""
    found = rows.select(key, pl.col("time").alias(_WHEN)).join(
        there, on=key, how="left", maintain_order="left"
    )
    return _readable(table, found.drop(key), unread)


_WHEN = "time of the impression"


def _readable(table: str, found: pl.DataFrame, unread: list[str]) -> pl.DataFrame:
    """Columns that bins can be made of, moments as days before the impression; the others are named in `unread`.

    Args:
        found: with the impression's time as `_WHEN`.
    """
    chosen = []
    for name, dtype in found.drop(_WHEN).schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime | pl.Date):
            age = (pl.col(_WHEN) - column.cast(pl.Datetime("us"))).dt.total_seconds() / 86_400
            chosen.append(age.alias(f"days since {name}"))
        elif dtype.is_numeric() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum):
            chosen.append(column)
        else:
            unread.append(f"{table}.{name} ({dtype})")
    return found.select(chosen)
