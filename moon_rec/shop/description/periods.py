"""Counts of a shop, and of each of its periods.

Cold: never shown before the cut. History: at least one engagement of the user strictly before the impression.
"""

from dataclasses import dataclass

import polars as pl

from moon_rec.shop.description.rates import NOTHING, rates, share
from moon_rec.shop.description.results import Counts, PeriodNumbers, Share
from moon_rec.shop.description.sample import HISTORY, LABELS, PERIOD, PERIODS, Sample, period_of
from moon_rec.shop.history import Histories, microseconds
from moon_rec.shop.shop import Period, Shop

NO_CUT = 1_000_000
"""A history length that cuts none: the description counts all earlier engagements."""


@dataclass(frozen=True)
class Log:
    """The log counted by its three keys.

    Attributes:
        users, items: one row each: the key, and `rows`, `train`, `validation`, `test` (impressions), `clicks`.
        periods: `period`, `rows`, `requests`, `clicked`, `carted`, `purchased`, `first`, `last` (times).
    """

    users: pl.DataFrame
    items: pl.DataFrame
    periods: pl.DataFrame

    @classmethod
    def of(cls, shop: Shop) -> "Log":
        """Three streaming passes over the impressions."""
        log = shop.impressions.with_columns(period=period_of(shop))
        in_periods = {name: (pl.col("period") == name).sum() for name in PERIODS}
        counts = {"rows": pl.len(), **in_periods, "clicks": pl.col("clicked").sum()}
        users, items = (
            log.group_by(key).agg(**counts).collect(engine="streaming").sort(key)
            for key in ("user_id", "item_id")
        )
        sums = {name: pl.col(name).sum() for name in LABELS}
        periods = log.group_by("period").agg(
            rows=pl.len(),
            requests=pl.col("request_id").n_unique(),
            first=pl.col("time").min(),
            last=pl.col("time").max(),
            **sums,
        )
        return cls(users, items, periods.collect(engine="streaming"))


def with_histories(shop: Shop, sample: Sample) -> Sample:
    """The sample with `HISTORY`: how many engagements of the user came strictly before each row."""
    users, times = sample.rows["user_id"].to_numpy(), microseconds(sample.rows["time"])
    starts, ends = Histories.of(shop).before(users, times, NO_CUT)
    history = pl.Series(HISTORY, ends - starts, dtype=pl.Int64)
    return Sample(sample.rows.with_columns(history), sample.users, sample.source)


def count_tables(shop: Shop, log: Log) -> Counts:
    """Rows and distinct keys of all tables."""
    items = shop.items.select(
        items=pl.len(), spus=pl.col("spu_id").n_unique(), categories=pl.col("category").n_unique()
    )
    whole = shop.impressions.select(requests=pl.col("request_id").n_unique())
    return Counts(
        **items.collect(engine="streaming").row(0, named=True),
        **whole.collect(engine="streaming").row(0, named=True),
        users=log.users.height,
        impressions=int(log.users["rows"].sum()),
        searches=_rows(shop.searches),
        profiles=_rows(shop.table("users")) if shop.has("users") else None,
        events=None if shop.events is None else _rows(shop.events),
    )


def period_numbers(shop: Shop, log: Log, sample: Sample) -> tuple[PeriodNumbers, ...]:
    """Every period's counts and shares.

    Args:
        sample: with `HISTORY`.
    """
    medians = dict(sample.rows.group_by(PERIOD).agg(pl.col(HISTORY).median()).rows())
    counts = {row["period"]: row for row in log.periods.iter_rows(named=True)}
    shares = _shares(log, sample)
    return tuple(
        _period(shop, log, name, counts.get(name, {}), shares[name], medians.get(name))
        for name in PERIODS
    )


def _shares(log: Log, sample: Sample) -> dict[Period, dict[str, Share]]:
    """Of each period: `clicked`, `carted`, `purchased`, `cold`, `with_history`."""
    never = log.items.filter(pl.col("train") == 0)
    rows = sample.rows.select(
        "user_id",
        *LABELS,
        period=pl.col(PERIOD),
        cold=pl.col("item_id").is_in(never["item_id"].implode()),
        with_history=pl.col(HISTORY) > 0,
    )
    cold = pl.DataFrame({"period": PERIODS, "cold": [never[name].sum() for name in PERIODS]})
    of_log = log.periods.join(cold, on="period", how="left")
    of_sample = rows.group_by("period").agg(
        rows=pl.len(), with_history=pl.col("with_history").sum()
    )
    # before the cut nothing is cold by its definition, which is no estimate
    late = rows.filter(pl.col("period") != "train")
    found: dict[Period, dict[str, Share]] = {
        name: dict.fromkeys((*LABELS, "cold", "with_history"), NOTHING) for name in PERIODS
    }
    for some in (
        rates(of_log, rows, "period", LABELS),
        rates(of_log, late, "period", ("cold",)),
        rates(of_sample, rows, "period", ("with_history",)),
    ):
        for name, shares in some.items():
            found[name] |= shares
    return found


def _period(
    shop: Shop,
    log: Log,
    name: Period,
    counts: dict[str, int],
    shares: dict[str, Share],
    median: float | None,
) -> PeriodNumbers:
    users, items = (frame.filter(pl.col(name) > 0) for frame in (log.users, log.items))
    cold_users, cold_items = (frame.filter(pl.col("train") == 0).height for frame in (users, items))
    return PeriodNumbers(
        period=name,
        requests=counts.get("requests", 0),
        impressions=counts.get("rows", 0),
        users=users.height,
        items=items.height,
        searches=_rows(shop.in_period(shop.searches, name)),
        click_rate=shares["clicked"],
        cart_rate=shares["carted"],
        purchase_rate=shares["purchased"],
        cold_impressions=shares["cold"],
        cold_items=share(cold_items, items.height),
        cold_users=share(cold_users, users.height),
        with_history=shares["with_history"],
        median_history=median,
    )


def _rows(frame: pl.LazyFrame) -> int:
    return frame.select(pl.len()).collect(engine="streaming").item()
