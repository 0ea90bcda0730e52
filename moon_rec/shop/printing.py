"""A shop's description as tables in the terminal."""

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moon_rec.shop.description import Description
from moon_rec.shop.description.headline import percent
from moon_rec.shop.shop import Shop
from moon_rec.shown import as_console_text

WIDTH = 100
MOST_COLUMNS = 12
"""Columns printed of the drift; the page has all."""


def summary(shop: Shop) -> str:
    """One line: counts, the two times, simulated or not."""
    counts = ", ".join(
        f"{shop.table(table).select(pl.len()).collect().item():,} {table}"
        for table in ("items", "searches", "impressions", "events")
        if shop.has(table)
    )
    simulated = "simulated, " if shop.is_simulated else ""
    return f"{simulated}{counts}; cut {shop.cut_time}, test {shop.test_time}; digest {shop.digest}"


def print_description(found: Description) -> None:
    """Print what a shop is, what it holds, its three periods, and what drifts."""
    console = Console(width=WIDTH)
    origin = found.provenance
    console.print(Text(f"{origin.name}: {origin.source}", style="bold"))
    if origin.is_simulated:
        console.print(
            Text("SIMULATED: every number below is of a simulated shop", style="bold red")
        )
    for sentence in found.headline:
        console.print(as_console_text(sentence))
    console.print(_whole(found))
    console.print(_periods(found))
    console.print(
        "cold: never shown before the cut. history: what the user engaged with, events included, strictly before the impression."
    )
    console.print(_drift(found))
    for check in found.checks or ():
        for one in check.found:
            console.print(as_console_text(f"{'broken' if check.is_rule else 'warning'}: {one}"))


def _whole(found: Description) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    counts, origin, items = found.counts, found.provenance, found.coverage.overall[0]
    queries = found.queries
    rows = {
        "folder": origin.folder,
        "digest": origin.digest,
        "items": f"{counts.items:,} ({counts.spus:,} SPUs, {counts.categories:,} categories)",
        "  with picture, with price": f"{percent(items.picture)}, {percent(items.price)}",
        "users": f"{counts.users:,}",
        "searches": f"{counts.searches:,}",
        "  by text, picture, both": ", ".join(
            percent(share) for share in (queries.text_only, queries.image_only, queries.both)
        ),
        "impressions": f"{counts.impressions:,}, from {origin.first} to {origin.last}",
        "non-clicks": origin.non_click_recipe or origin.non_clicks,
    }
    if counts.events is not None:
        rows["events"] = f"{counts.events:,}, from {origin.first_event} to {origin.last_event}"
    for name, value in rows.items():
        table.add_row(as_console_text(name), as_console_text(value))
    return table


def _periods(found: Description) -> Table:
    table = Table(title="by period", title_justify="left")
    table.add_column("")
    origin, periods = found.provenance, found.periods
    begins = {
        "train": "",
        "validation": f"\nfrom {origin.cut_time}",
        "test": f"\nfrom {origin.test_time}",
    }
    for period in periods:
        table.add_column(Text(period.period + begins[period.period]), justify="right")
    for name in ("impressions", "requests", "searches", "users", "items"):
        table.add_row(name, *(f"{getattr(period, name):,}" for period in periods))
    shares = {
        "click rate": "click_rate",
        "cart rate": "cart_rate",
        "purchase rate": "purchase_rate",
        "on cold items": "cold_impressions",
        "items cold": "cold_items",
        "users cold": "cold_users",
        "with history": "with_history",
    }
    for label, name in shares.items():
        table.add_row(label, *(percent(getattr(period, name)) for period in periods))
    medians = (period.median_history for period in periods)
    table.add_row("median history", *("none" if one is None else f"{one:.0f}" for one in medians))
    return table


def _drift(found: Description) -> Table:
    table = Table(
        title="drift from train to test (population stability index)", title_justify="left"
    )
    for name in ("column", "index", "by chance up to", "drift"):
        table.add_column(name, justify="left" if name in ("column", "drift") else "right")
    columns = found.drift.columns
    for one in columns[:MOST_COLUMNS]:
        numbers = ("none" if each is None else f"{each:.3f}" for each in (one.index, one.chance))
        table.add_row(as_console_text(f"{one.table}: {one.column}"), *numbers, one.verdict)
    if len(columns) > MOST_COLUMNS:
        table.caption = (
            f"and {len(columns) - MOST_COLUMNS} more columns; --out writes a page with all"
        )
    return table
