"""Rules of the log as a whole: no page stands twice, no period is without a click.

Notable choices
- A page is one request: known by its user and time and a hash of its rows (item, position, outcomes, further columns),
  whatever ids it has. One page written twice is an accident, and told by `leaks`; from `SHARE_DOUBLED` of all pages on the
  log is counted double, which is a broken rule.
- A period in which everything shown was clicked breaks no rule: recall can be measured on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from moon_rec.shop.key_parts import parts_by
from moon_rec.shop.manifest import Manifest
from moon_rec.shop.problem import Problem
from moon_rec.shop.schema import MANIFEST

SHARE_DOUBLED = 0.01
IDS = ("request_id", "search_id", "user_id", "time")
NEEDED = {"request_id", "user_id", "time", "clicked"}
"""Without these columns there is no log to judge; that they are missing is told elsewhere."""


@dataclass(frozen=True)
class Doubled:
    """Pages that stand twice.

    Attributes:
        copies: pages beyond the first of their kind.
        pages: all of them.
        one, other: request ids of a pair that is alike, None where there is none.
    """

    copies: int
    pages: int
    one: int | None = None
    other: int | None = None

    def problem(self) -> Problem:
        """Them in words."""
        return Problem(
            "impressions",
            f"of {self.pages:,} requests {self.copies:,} ({self.copies / self.pages:.1%}) are another one under a new id, such "
            f"as {self.other} of {self.one}: same user, time, items, positions and outcomes",
            "keep one of each",
            "request_id",
        )


def doubled_problems(impressions: pl.LazyFrame) -> Iterator[Problem]:
    """A log in which pages stand twice under other request ids."""
    if not set(impressions.collect_schema()) >= NEEDED:
        return
    found = doubled(impressions)
    if found.copies and found.copies >= SHARE_DOUBLED * found.pages:
        yield found.problem()


def doubled(impressions: pl.LazyFrame) -> Doubled:
    """Count the pages that stand twice: streaming group-bys over the pages of a part of the users at a time."""
    found = Doubled(0, 0)
    for part in parts_by(impressions, "user_id"):
        here = _doubled(part)
        is_first = found.one is None or (here.one is not None and here.one < found.one)
        one, other = (here.one, here.other) if is_first else (found.one, found.other)
        found = Doubled(found.copies + here.copies, found.pages + here.pages, one, other)
    return found


def _doubled(impressions: pl.LazyFrame) -> Doubled:
    alike = (
        pages_of(impressions)
        .group_by("user_id", "time", "rows", "content")
        .agg(copies=pl.len(), one=pl.col("request_id").min(), other=pl.col("request_id").max())
    )
    twice = pl.col("copies") > 1
    found = alike.select(
        copies=(pl.col("copies") - 1).sum(),
        pages=pl.col("copies").sum(),
        one=pl.col("one").filter(twice).min(),
    )
    copies, pages, one = found.collect(engine="streaming").row(0)
    if not copies:
        return Doubled(0, pages)
    pair = alike.filter(twice, pl.col("one") == one).select("other").collect(engine="streaming")
    return Doubled(copies, pages, one, pair["other"][0])


def pages_of(impressions: pl.LazyFrame) -> pl.LazyFrame:
    """A row a request: id, user, time, number of rows, clicks, and a hash of what was shown and done."""
    names = [name for name in impressions.collect_schema() if name not in IDS]
    return (
        impressions.with_columns(content=pl.struct(names).hash(0))
        .group_by("request_id")
        .agg(
            pl.col("user_id").first(),
            pl.col("time").first(),
            rows=pl.len(),
            clicks=pl.col("clicked").sum(),
            content=pl.col("content").bitwise_xor(),
        )
    )


def silent_periods(manifest: Manifest, impressions: pl.LazyFrame) -> Iterator[Problem]:
    """Periods with impressions and no click: nothing is learnt, chosen or scored on them, for AUC is undefined."""
    if not set(impressions.collect_schema()) >= NEEDED:
        return
    cut, test = pl.lit(manifest.cut_time), pl.lit(manifest.test_time)
    time, clicks = pl.col("time"), pl.col("clicked").fill_null(False)
    inside = {
        "train": time < cut,
        "validation": (time >= cut) & (time < test),
        "test": time >= test,
    }
    wanted = []
    for name, rows in inside.items():
        wanted += [rows.sum().alias(name), (rows & clicks).sum().alias(f"{name} clicks")]
    found = impressions.select(wanted).collect(engine="streaming").row(0, named=True)
    for name in inside:
        if found[name] and not found[f"{name} clicks"]:
            yield Problem(
                "impressions",
                f"is false in all {found[name]:,} rows of the {name} period, so AUC is undefined there",
                f"write the outcomes, or move cut_time or test_time of {MANIFEST}",
                "clicked",
            )
