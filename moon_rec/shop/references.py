"""Rules between tables: every reference is known, and nothing happens before what it needs.

Each rule is one streaming join or group-by over ids and times; pictures and texts are never read.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl

from moon_rec.shop.problem import Problem, first_of

Frames = dict[str, pl.LazyFrame]
OUTCOME_KEYS = ("user_id", "item_id", "time", "clicked")


def reference_problems(frames: Frames) -> Iterator[Problem]:
    """Broken rules between the given tables; a rule is skipped whose tables or columns are not there."""
    columns = {table: frame.collect_schema().names() for table, frame in frames.items()}

    def has(table: str, *names: str) -> bool:
        return set(names) <= set(columns.get(table, ()))

    yield from _unknown_references(frames, has)
    if has("impressions", "request_id"):
        yield from _request_problems(frames["impressions"], has)
    for table in ("impressions", "events"):
        if has(table, "item_id", "time") and has("items", "item_id", "listed_at"):
            yield from _listing_problems(frames, table)
    if has("events", *OUTCOME_KEYS) and has("impressions", *OUTCOME_KEYS):
        yield from _events_again(frames)
    if has("impressions", "search_id", "user_id", "time") and has(
        "searches", "search_id", "user_id", "time"
    ):
        yield from _search_problems(frames)


def _unknown_references(frames: Frames, has: Callable[..., bool]) -> Iterator[Problem]:
    links = [
        ("impressions", "item_id", "items"),
        ("impressions", "search_id", "searches"),
        ("impressions", "user_id", "users"),
        ("searches", "user_id", "users"),
        ("events", "item_id", "items"),
        ("events", "user_id", "users"),
    ]
    for table, column, target in links:
        if has(table, column) and has(target, column):
            known = frames[target].select(column)
            rows = _numbered(frames[table], column).drop_nulls(column)
            missing = rows.join(known, on=column, how="anti")
            mend = f"add it to {target} or drop the row"
            yield from first_of(missing, table, f"is not in {target}", mend, column, pl.col(column))
    keys = ["request_id", "item_id"]
    if has("truth", *keys) and has("impressions", *keys):
        for table, target in (("truth", "impressions"), ("impressions", "truth")):
            known = frames[target].select(keys)
            missing = _numbered(frames[table], *keys).drop_nulls().join(known, on=keys, how="anti")
            mend, column = "truth has exactly one row for each impression", f"({', '.join(keys)})"
            value = pl.format("{}, {}", *keys)
            yield from first_of(missing, table, f"is not in {target}", mend, column, value)


def _request_problems(impressions: pl.LazyFrame, has: Callable[..., bool]) -> Iterator[Problem]:
    """A request is one page shown to one user at one time, after at most one search."""
    shared = [name for name in ("user_id", "time", "search_id") if has("impressions", name)]
    values = [pl.col(name).min().alias(f"{name} low") for name in shared]
    values += [pl.col(name).max().alias(f"{name} high") for name in shared]
    if "search_id" in shared:
        search = pl.col("search_id")
        values.append((search.is_null().any() & search.is_not_null().any()).alias("mixed"))
    requests = (
        _numbered(impressions, "request_id", *shared)
        .drop_nulls("request_id")
        .group_by("request_id")
        .agg(*values, row=pl.col("row").min())
    )
    for name in shared:
        low, high = pl.col(f"{name} low"), pl.col(f"{name} high")
        differs = (low != high) | pl.col("mixed") if name == "search_id" else low != high
        yield from first_of(
            requests.filter(differs.fill_null(False)),
            "impressions",
            f"has rows of more than one {name}",
            "give each page that was shown a request_id of its own",
            "request_id",
            pl.col("request_id"),
        )


def _listing_problems(frames: Frames, table: str) -> Iterator[Problem]:
    late = (
        _numbered(frames[table], "item_id", "time")
        .join(frames["items"].select("item_id", "listed_at"), on="item_id", how="inner")
        .filter(pl.col("time") < pl.col("listed_at"))
    )
    value = pl.format("{} of item {}, listed at {}", "time", "item_id", "listed_at")
    mend = "set items.listed_at no later than the item's first event"
    yield from first_of(late, table, "is before its item was listed", mend, "time", value)


def _events_again(frames: Frames) -> Iterator[Problem]:
    """Events that are an impression's own act, written a second time: told, for histories count it once."""
    keys = ["user_id", "item_id", "time"]
    acts = frames["impressions"].filter(pl.col("clicked")).select(keys)
    again = _numbered(frames["events"], *keys).join(acts, on=keys, how="semi")
    value = pl.format("{} of user {} and item {}", "time", "user_id", "item_id")
    rule, told = "is that of an impression of the same item, clicked", "histories count it once"
    for problem in first_of(again, "events", rule, told, "time", value):
        yield replace(problem, is_told=True)


def _search_problems(frames: Frames) -> Iterator[Problem]:
    searches = frames["searches"].select("search_id", when="time", searcher="user_id")
    pairs = _numbered(frames["impressions"], "search_id", "user_id", "time").join(
        searches, on="search_id", how="inner"
    )
    early = pairs.filter(pl.col("time") < pl.col("when"))
    value = pl.format("{} of search {}, made at {}", "time", "search_id", "when")
    rule, mend = "is before the search that it answers", "correct one of the two times"
    yield from first_of(early, "impressions", rule, mend, "time", value)
    other = pairs.filter(pl.col("user_id") != pl.col("searcher"))
    value = pl.format("{} of search {}, made by {}", "user_id", "search_id", "searcher")
    rule, mend = "is not the user who searched", "correct the user_id or the search_id"
    yield from first_of(other, "impressions", rule, mend, "user_id", value)


def _numbered(frame: pl.LazyFrame, *columns: str) -> pl.LazyFrame:
    return frame.select(columns).with_row_index("row")
