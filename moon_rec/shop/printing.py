"""A shop's description as tables in the terminal."""

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

from moon_rec.shop.description import Description, PeriodNumbers
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.shop.shop import Shop
from moon_rec.shown import as_console_text

WIDTH = 100


def summary(shop: Shop) -> str:
    """One line: counts, the two times, simulated or not."""
    counts = ", ".join(
        f"{shop.table(table).select(pl.len()).collect().item():,} {table}"
        for table in ("items", "searches", "impressions", "events")
        if shop.has(table)
    )
    simulated = "simulated, " if shop.is_simulated else ""
    return f"{simulated}{counts}; cut {shop.cut_time}, test {shop.test_time}; digest {shop.digest}"


def print_description(shop: Shop, description: Description) -> None:
    """Print what the shop is, what it holds, and its three periods."""
    console = Console(width=WIDTH)
    console.print(Text(f"{shop.name}: {shop.source}", style="bold"))
    if shop.is_simulated:
        console.print(
            Text("SIMULATED: every number below is of a simulated shop", style="bold red")
        )
    if shop.non_clicks is not None:
        console.print(Text(non_clicks_said(shop.non_clicks), style="bold"))
    console.print(_whole(shop, description))
    console.print(_periods(shop, description.periods))
    console.print(
        "cold: never shown before the cut. history: the user's clicks, events "
        "included, strictly before the impression."
    )


def _whole(shop: Shop, found: Description) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {
        "folder": str(shop.path),
        "digest": shop.digest,
        "items": f"{found.items:,} ({found.spus:,} SPUs, {found.categories:,} categories)",
        "  with picture, with price": f"{_percent(found.share_with_picture)}, {_percent(found.share_with_price)}",
        "users": f"{found.users:,}",
        "searches": f"{found.searches:,}",
        "  by text, picture, both": ", ".join(
            _percent(share)
            for share in (found.share_text_only, found.share_image_only, found.share_both)
        ),
        "impressions": f"{found.impressions:,}, from {found.first} to {found.last}",
    }
    if found.events:
        rows["events"] = f"{found.events:,}, from {found.first_event} to {found.last_event}"
    for name, value in rows.items():
        table.add_row(as_console_text(name), as_console_text(value))
    return table


def _periods(shop: Shop, periods: tuple[PeriodNumbers, ...]) -> Table:
    table = Table(title="by period", title_justify="left")
    table.add_column("")
    begins = {
        "train": "",
        "validation": f"\nfrom {shop.cut_time}",
        "test": f"\nfrom {shop.test_time}",
    }
    for period in periods:
        table.add_column(Text(period.period + begins[period.period]), justify="right")
    for name in ("impressions", "requests", "searches", "users"):
        table.add_row(name, *(f"{getattr(period, name):,}" for period in periods))
    shares = {
        "click rate": "click_rate",
        "purchase rate": "purchase_rate",
        "on cold items": "share_cold",
        "with history": "share_with_history",
    }
    for label, name in shares.items():
        table.add_row(label, *(_percent(getattr(period, name)) for period in periods))
    table.add_row("median history", *(f"{period.median_history:.0f}" for period in periods))
    return table


def _percent(share: float) -> str:
    return "none" if share != share else f"{share:.1%}"
