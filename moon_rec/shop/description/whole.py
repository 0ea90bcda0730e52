"""A shop, described: what is worked out in which order."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar

import polars as pl

from moon_rec.files import digest_file
from moon_rec.progress import progress
from moon_rec.shop.description.checks import checks_of
from moon_rec.shop.description.columns import drift_of
from moon_rec.shop.description.coverage import coverage_of, item_content, pictures_of, queries_of
from moon_rec.shop.description.funnels import funnels
from moon_rec.shop.description.headline import headline
from moon_rec.shop.description.over_time import days_of, places_of
from moon_rec.shop.description.periods import Log, count_tables, period_numbers, with_histories
from moon_rec.shop.description.rates import INTERVAL
from moon_rec.shop.description.results import Description, Provenance
from moon_rec.shop.description.sample import sample_users
from moon_rec.shop.description.spreads import spreads
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.shop.own_ids import KINDS, read_own_ids
from moon_rec.shop.schema import FILES
from moon_rec.shop.shop import Shop
from moon_rec.shown import visible

NUM_STEPS = 11
T = TypeVar("T")


def describe(shop: Shop, checked: bool = False) -> Description:
    """Describe a shop.

    Args:
        checked: check every rule and look for leaks, too, as `shop check` does: pictures are decoded then.

    Raises:
        ShopError: a table is not the one that the manifest records.
    """
    checks, broken = checks_of(shop) if checked else (None, None)
    with progress("describe", NUM_STEPS) as bar:

        def step(name: str, make: Callable[..., T], *given: Any) -> T:
            found = make(*given)
            bar.advance(note=name)
            return found

        log = step("log", Log.of, shop)
        counts = step("tables", count_tables, shop, log)
        sample = sample_users(shop, log.users.select("user_id", "rows"))
        sample = step("histories", with_histories, shop, sample)
        periods = step("periods", period_numbers, shop, log, sample)
        items = step("items", item_content, shop, log)
        drift = step("drift", drift_of, shop, sample)
        origin = _origin(shop, log)
        return Description(
            headline=headline(origin, counts, periods, drift, checks),
            provenance=origin,
            interval=INTERVAL,
            sample=sample.source,
            counts=counts,
            periods=periods,
            funnels=step("funnels", funnels, shop, sample),
            days=step("days", days_of, shop, sample),
            queries=step("searches", queries_of, shop),
            pictures=pictures_of(shop, items, broken),
            coverage=coverage_of(items),
            spreads=step("distributions", spreads, shop, log, sample),
            places=step("positions", places_of, shop, sample),
            drift=drift,
            checks=checks,
        )


def _origin(shop: Shop, log: Log) -> Provenance:
    """Where the numbers come from."""
    files = {table: shop.path / file for table, file in FILES.items() if shop.has(table)}
    ends = log.periods.select(pl.col("first").min(), pl.col("last").max())
    first, last = ends.row(0)
    return Provenance(
        name=shop.name,
        source=shop.source,
        is_simulated=shop.is_simulated,
        non_clicks=_non_clicks(shop),
        non_click_recipe=non_clicks_said(shop.non_clicks),
        folder=visible(shop.path),
        digest=shop.digest,
        tables={table: digest_file(file) for table, file in files.items()},
        own_ids=tuple(kind for kind in KINDS if read_own_ids(shop.path, kind) is not None),
        first=first,
        last=last,
        first_event=_event_time(shop, pl.col("time").min()),
        last_event=_event_time(shop, pl.col("time").max()),
        cut_time=shop.cut_time,
        test_time=shop.test_time,
    )


def _event_time(shop: Shop, which: pl.Expr) -> datetime | None:
    return None if shop.events is None else shop.events.select(which).collect().item()


def _non_clicks(shop: Shop) -> Literal["simulated", "sampled", "observed"]:
    if shop.non_clicks is not None:
        return "sampled"
    return "simulated" if shop.is_simulated else "observed"
