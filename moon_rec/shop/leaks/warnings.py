"""All that makes a shop's figures better than they are and breaks no rule: told by `shop check`, its owner decides."""

from pathlib import Path

from moon_rec.progress import progress
from moon_rec.shop.leaks.columns import label_columns, mean_columns
from moon_rec.shop.leaks.copies import catalogue_copies, doubled_pages, query_copies, repeated_pages
from moon_rec.shop.leaks.events import early_events
from moon_rec.shop.leaks.periods import one_sided_periods, unknown_users
from moon_rec.shop.problem import Problem
from moon_rec.shop.shop import Shop

CHECKS = {
    "columns that know the label": label_columns,
    "means of the label": mean_columns,
    "events that know the label": early_events,
    "doubled pages": doubled_pages,
    "pages of train in test": repeated_pages,
    "products on both sides of the cut": catalogue_copies,
    "pictures of searches": query_copies,
    "classes": one_sided_periods,
    "users": unknown_users,
}


def leak_warnings(shop: Shop | Path | str) -> list[Problem]:
    """What a shop that keeps every rule has better been told of, each with its numbers; empty where there is nothing."""
    shop = shop if isinstance(shop, Shop) else Shop.open(shop)
    return [problem for found in leaks_by_check(shop).values() for problem in found]


def leaks_by_check(shop: Shop) -> dict[str, list[Problem]]:
    """The same by the name of the check; those that found nothing are there, too."""
    found: dict[str, list[Problem]] = {}
    with progress("leaks", len(CHECKS)) as bar:
        for name, check in CHECKS.items():
            found[name] = list(check(shop))
            bar.advance(note=name)
    return found
