"""Rules between tables: every reference is known, and nothing happens before what it needs.

Each rule is one streaming join or group-by over ids and times; pictures and texts are never read.
"""

from collections.abc import Iterator

import polars as pl

from moon_rec.shop.problem import Problem

Frames = dict[str, pl.LazyFrame]


def reference_problems(frames: Frames) -> Iterator[Problem]:
    """Broken rules between the given (structurally sound) tables; a rule whose tables are not given is skipped."""
    yield from _unknown_references(frames)
    if "impressions" in frames:
        yield from _request_problems(frames["impressions"])
        if "items" in frames:
            yield from _listing_problems(frames)
        if "searches" in frames:
            yield from _search_problems(frames)


def _unknown_references(frames: Frames) -> Iterator[Problem]:
    links = [
        ("impressions", "item_id", "items"),
        ("impressions", "search_id", "searches"),
        ("impressions", "user_id", "users"),
        ("searches", "user_id", "users"),
    ]
    for table, column, target in links:
        if table in frames and target in frames:
            rows = _numbered(frames[table], column).filter(pl.col(column).is_not_null())
            missing = rows.join(frames[target].select(column), on=column, how="anti")
            found = _first_of(missing, pl.col(column))
            if found:
                yield Problem(
                    table,
                    f"is not in {target}",
                    f"add it to {target} or drop the row",
                    column,
                    *found,
                )
    if "truth" in frames and "impressions" in frames:
        keys = ["request_id", "item_id"]
        for table, target in (("truth", "impressions"), ("impressions", "truth")):
            missing = _numbered(frames[table], *keys).join(
                frames[target].select(keys), on=keys, how="anti"
            )
            found = _first_of(missing, pl.format("{}, {}", *keys))
            if found:
                mend = "truth has exactly one row for each impression"
                yield Problem(table, f"is not in {target}", mend, f"({', '.join(keys)})", *found)


def _request_problems(impressions: pl.LazyFrame) -> Iterator[Problem]:
    """A request is one page shown to one user at one time, after at most one search."""
    shared = ["user_id", "time", "search_id"]
    values = [pl.col(name).min().alias(f"{name} low") for name in shared]
    values += [pl.col(name).max().alias(f"{name} high") for name in shared]
    requests = (
        _numbered(impressions, "request_id", *shared)
        .group_by("request_id")
        .agg(
            *values,
            row=pl.col("row").min(),
            mixed=pl.col("search_id").is_null().any() & pl.col("search_id").is_not_null().any(),
        )
    )
    for name in shared:
        low, high = pl.col(f"{name} low"), pl.col(f"{name} high")
        differs = (low != high) | pl.col("mixed") if name == "search_id" else low != high
        found = _first_of(requests.filter(differs.fill_null(False)), pl.col("request_id"))
        if found:
            yield Problem(
                "impressions",
                f"has rows of more than one {name}",
                "give each page that was shown a request_id of its own",
                "request_id",
                *found,
            )


def _listing_problems(frames: Frames) -> Iterator[Problem]:
    late = (
        _numbered(frames["impressions"], "item_id", "time")
        .join(frames["items"].select("item_id", "listed_at"), on="item_id", how="inner")
        .filter(pl.col("time") < pl.col("listed_at"))
    )
    found = _first_of(
        late, pl.format("{} of item {}, listed at {}", "time", "item_id", "listed_at")
    )
    if found:
        rule = "is before its item was listed"
        mend = "set items.listed_at no later than the item's first event"
        yield Problem("impressions", rule, mend, "time", *found)


def _search_problems(frames: Frames) -> Iterator[Problem]:
    searches = frames["searches"].select("search_id", when="time", searcher="user_id")
    pairs = _numbered(frames["impressions"], "search_id", "user_id", "time").join(
        searches, on="search_id", how="inner"
    )
    early = pairs.filter(pl.col("time") < pl.col("when"))
    found = _first_of(early, pl.format("{} of search {}, made at {}", "time", "search_id", "when"))
    if found:
        rule = "is before the search that it answers"
        yield Problem("impressions", rule, "correct one of the two times", "time", *found)
    other = pairs.filter(pl.col("user_id") != pl.col("searcher"))
    found = _first_of(
        other, pl.format("{} of search {}, made by {}", "user_id", "search_id", "searcher")
    )
    if found:
        rule = "is not the user who searched"
        yield Problem(
            "impressions", rule, "correct the user_id or the search_id", "user_id", *found
        )


def _numbered(frame: pl.LazyFrame, *columns: str) -> pl.LazyFrame:
    return frame.select(columns).with_row_index("row")


def _first_of(broken: pl.LazyFrame, value: pl.Expr) -> tuple[int, object, int] | None:
    """(row, value, count) of the broken row that comes first in its file; None where none is broken."""
    found = (
        broken.select(pl.col("row"), value.alias("value"))
        .select(pl.col("row").min(), pl.col("value").get(pl.col("row").arg_min()), count=pl.len())
        .collect(engine="streaming")
    )
    if found.height == 0 or not found["count"][0]:
        return None
    row, first, count = found.rows()[0]
    return row, first, count
