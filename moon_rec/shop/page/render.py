"""The description as one HTML page: what its template prints of each number."""

from datetime import datetime
from typing import Any

from moon_rec.pages import own, page_environment
from moon_rec.shop.description import Description
from moon_rec.shop.description.headline import percent
from moon_rec.shop.description.results import Funnel
from moon_rec.shop.page.products import Product
from moon_rec.shown import visible

SECTIONS = (
    ("periods", "Train, validation and test"),
    ("time", "Over time"),
    ("funnels", "From impression to purchase"),
    ("positions", "Clicks by position"),
    ("spreads", "Prices, requests, users, items"),
    ("content", "Texts and pictures"),
    ("drift", "Drift"),
    ("checks", "What the check found"),
    ("origin", "Where the numbers come from"),
)
PERIOD_COUNTS = tuple(
    (one, one) for one in ("impressions", "requests", "searches", "users", "items")
)
PERIOD_SHARES = (
    ("clicked", "click_rate"),
    ("carted", "cart_rate"),
    ("purchased", "purchase_rate"),
    ("on cold items", "cold_impressions"),
    ("items that are cold", "cold_items"),
    ("users that are cold", "cold_users"),
    ("with history", "with_history"),
)


def render(found: Description, figures: dict[str, str], shown: list[Product]) -> str:
    """The page; whatever the description and the products hold is shown as text.

    Args:
        figures: name -> `<svg>` element.
    """
    environment = page_environment("moon_rec", visible)
    for words in (percent, thousands, plain, index, moment):
        environment.filters[words.__name__] = own(words)
    return environment.get_template("shop.html.j2").render(
        data=found,
        figures=figures,
        products=shown,
        sections=SECTIONS,
        period_counts=PERIOD_COUNTS,
        period_shares=PERIOD_SHARES,
        tiles=_tiles(found),
        funnels=_funnels(found),
        wide_name=_of_all,
        wide=lambda periods: [(_of_all(period), True) for period in periods],
        tone=_tone(found),
    )


def thousands(number: int) -> str:
    """`12,345`."""
    return f"{number:,}"


def plain(number: float | None) -> str:
    """A number in four figures, whole ones without a point; a dash where there is none."""
    if number is None:
        return "–"
    return f"{number:,.0f}" if abs(number) >= 1000 or number == int(number) else f"{number:.4g}"


def index(number: float | None) -> str:
    """A stability index."""
    return "–" if number is None else f"{number:.3f}"


def moment(time: datetime | None) -> str:
    """A time without its fractions of a second; midnight is a day."""
    if time is None:
        return "–"
    read = time.replace(microsecond=0)
    return f"{read:%Y-%m-%d}" if f"{read:%H%M%S}" == "000000" else f"{read:%Y-%m-%d %H:%M:%S}"


def _tiles(found: Description) -> list[tuple[str, str]]:
    counts = found.counts
    tiles: list[tuple[str, Any]] = [
        ("impressions", counts.impressions),
        ("requests", counts.requests),
        ("users", counts.users),
        ("items", counts.items),
        ("categories", counts.categories),
        ("searches", counts.searches),
        ("events", counts.events),
        ("user profiles", counts.profiles),
    ]
    return [(name, thousands(number)) for name, number in tiles if number is not None]


def _tone(found: Description) -> str:
    """Of the answer: caution where something drifts or was found, or nothing can be measured."""
    drifts = any(one.verdict in ("large", "moderate") for one in found.drift.columns)
    faults = any(one.found for one in found.checks or ())
    return "caution" if drifts or faults or not found.periods[-1].impressions else "good"


def _funnels(found: Description) -> dict[str, dict[str, Funnel]]:
    """Name -> period -> funnel."""
    groups: dict[str, dict[str, Funnel]] = {}
    for one in found.funnels:
        groups.setdefault(one.name, {})[one.period] = one
    return groups


def _of_all(period: str) -> str:
    """The head of a column of a funnel."""
    return "of all, %" if period == "all" else f"of all in {period}, %"
