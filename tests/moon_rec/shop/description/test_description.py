"""A description against counts worked out by loops over the rows, on shops that lack this or that."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from moon_rec.shares import mean_share
from moon_rec.shop import Shop
from moon_rec.shop.description import describe
from moon_rec.shop.description.rates import design_effects, share
from moon_rec.shop.description.sample import PERIODS, sample_users
from moon_rec.shop.description.spreads import spread
from tests.moon_rec.shop.conftest import CUT, START, TEST, impressions, searches


def period_of(time):
    return "train" if time < CUT else "validation" if time < TEST else "test"


def test_funnels_are_those_of_a_loop(make_shop):
    found = {(one.name, one.period): one for one in describe(Shop.open(make_shop())).funnels}
    log, asked = impressions().to_dicts(), searches().to_dicts()
    for period in ("all", *PERIODS):
        rows = [row for row in log if period in ("all", period_of(row["time"]))]
        clicked = [row for row in rows if row["clicked"]]
        carted = [row for row in clicked if row["carted"] or row["purchased"]]
        bought = [row for row in clicked if row["purchased"]]
        steps = found["impressions", period].steps
        assert [one.count for one in steps] == [len(rows), len(clicked), len(carted), len(bought)]
        assert steps[2].of_previous.value == len(carted) / len(clicked)
        assert steps[3].of_first.value == len(bought) / len(rows)
        there = [one for one in asked if period in ("all", period_of(one["time"]))]
        answers = {
            one["search_id"]: [row for row in log if row["search_id"] == one["search_id"]]
            for one in there
        }
        wanted = [
            len(there),
            sum(bool(rows) for rows in answers.values()),
            sum(any(row["clicked"] for row in rows) for rows in answers.values()),
            sum(any(row["purchased"] for row in rows) for rows in answers.values()),
        ]
        assert [one.count for one in found["searches", period].steps] == wanted


def test_a_purchase_without_a_cart_passes_through_the_funnel(make_shop):
    path = make_shop(impressions=lambda frame: frame.with_columns(carted=pl.lit(False)))
    steps = describe(Shop.open(path)).funnels[0].steps
    assert [one.count for one in steps] == [20, 10, 5, 5]


def test_days_positions_and_histories_are_those_of_a_loop(make_shop):
    found = describe(Shop.open(make_shop()))
    log = impressions().to_dicts()
    assert found.days.unit == "day"
    for day, step in enumerate(found.days.steps):
        rows = [row for row in log if (row["time"] - START).days == day]
        lengths = [
            sum(
                old["clicked"] and old["user_id"] == row["user_id"] and old["time"] < row["time"]
                for old in log
            )
            for row in rows
        ]
        assert step.start == START + timedelta(days=day) and step.impressions == len(rows)
        assert step.click_rate.value == np.mean([row["clicked"] for row in rows])
        assert step.median_history == np.median(lengths)
        assert step.with_history.value == np.mean([length > 0 for length in lengths])
    for place in found.places.positions:
        rows = [row for row in log if row["position"] == int(place.position)]
        assert place.impressions == len(rows)
        assert place.click_rate.value == np.mean([row["clicked"] for row in rows])


def test_cold_items_and_users_and_coverage(make_shop):
    """User 3 has no row before the cut; item 16 is shown on the last two days alone."""
    found = describe(
        Shop.open(
            make_shop(
                impressions=lambda frame: frame.with_columns(
                    user_id=pl.when((pl.col("user_id") == 3) & (pl.col("time") < CUT))
                    .then(1)
                    .otherwise("user_id")
                )
            )
        )
    )
    test = found.periods[2]
    assert test.cold_items.value == pytest.approx(1 / test.items)
    assert test.cold_users.value == 1 / test.users and test.cold_users.low is None
    assert "50.0% of test impressions are of items never shown before the cut" in found.headline[1]
    overall = {one.name: one for one in found.coverage.overall}
    assert overall["all items"].price == 5 / 6 and overall["all items"].description == 0
    assert overall["impressions, all periods"].count == 20
    shown = impressions().filter(pl.col("time") >= TEST)
    assert overall["impressions, test"].picture == (shown["item_id"] != 13).mean()
    assert [one.name for one in found.coverage.categories] == ["home/cup", "home/hat"]
    assert sum(one.impressions for one in found.coverage.categories) == 20
    assert (found.pictures.items, found.pictures.items_missing) == (5, 1)


def test_intervals_are_those_of_the_rows_grouped_by_user():
    random = np.random.default_rng(3)
    users = random.integers(0, 40, 900)
    hits = random.random(900) < random.random(40)[users]
    rows = pl.DataFrame({"key": 7, "user_id": users, "hit": hits})
    found = share(int(hits.sum()), 900, design_effects(rows, "key", "hit")[7])
    wanted = mean_share(hits.astype(float), groups=users)
    assert (found.value, found.low, found.high) == pytest.approx(
        (wanted.value, wanted.low, wanted.high)
    )


def test_a_large_log_is_sampled_by_whole_users(make_shop):
    shop = Shop.open(make_shop())
    sizes = shop.impressions.group_by("user_id").len("rows").collect()
    some = sample_users(shop, sizes, most=14)
    assert some.users.height == 2 and some.source.endswith("of 2 users drawn of 3")
    kept = impressions().filter(pl.col("user_id").is_in(some.users["user_id"].to_list()))
    assert some.rows.height == kept.height <= 14
    assert sample_users(shop, sizes, most=1).users.height == 1
    assert sample_users(shop, sizes.reverse(), most=14).users.equals(some.users)


@pytest.mark.parametrize(
    "values, bins",
    [
        ([0, 0, 1, 3], [(0, 0, 2), (1, 1, 1), (2, 2, 0), (3, 3, 1)]),
        ([0, 2, 49, 50, 99.5], [(0, 1, 1), (1, 2, 0), (2, 5, 1), (5, 10, 0), (10, 20, 0), (20, 50, 1), (50, 100, 2)]),
        ([0.25, 0.3], [(0.2, 0.5, 2)]),
        ([-3.5, 40], [(-5, -2, 1), (-2, -1, 0), (-1, 0, 0), (0, 1, 0), (1, 2, 0), (2, 5, 0), (5, 10, 0), (10, 20, 0), (20, 50, 1)]),
        ([7.5], [(5, 10, 1)]),
        ([0.0, 0.0], [(0, 0, 2)]),
        ([], []),
    ],
)  # fmt: skip
def test_bins_hold_every_value_once(values, bins):
    found = spread("n", "d", "s", pl.Series(values, dtype=pl.Float64))
    assert [(one.low, one.high, one.count) for one in found.bins] == bins


def test_a_spread_tells_missing_values_and_the_value_that_nine_of_ten_are_at_or_below():
    found = spread(
        "n", "d", "s", pl.Series([*range(1, 11), None, float("nan"), float("inf")], strict=False)
    )
    assert (found.count, found.missing) == (10, 3)
    assert (found.least, found.median, found.p90, found.most, found.mean) == (1, 5, 9, 10, 5.5)


def test_a_context_column_of_any_type_is_read_or_named(make_shop):
    """One of our own names, a text, a moment, a list that no bins are made of."""

    def add(frame):
        return frame.with_columns(
            period=pl.lit("x"),
            history=pl.col("position") * 2.5,
            seen=pl.col("time") - timedelta(days=3),
            tags=pl.lit(["a"]),
        )

    found = describe(Shop.open(make_shop(impressions=add)))
    columns = {(one.table, one.column): one for one in found.drift.columns}
    assert columns["impressions", "period"].kind == "categorical"
    assert columns["impressions", "history"].kind == "numeric"
    assert columns["impressions", "days since seen"].bins[0].label == "to 3"
    assert ("users", "age") in columns and ("items", "brand") in columns
    assert found.drift.unread == ("impressions.tags (List(String))",)


def test_a_shop_with_the_least_there_is(make_shop, tmp_path):
    """No searches, no profiles, no pictures, no prices, no test period: everything else is told."""
    path = make_shop(
        searches=lambda frame: frame.clear(),
        items=lambda frame: frame.with_columns(
            image=pl.lit(None, pl.Binary), price=pl.lit(None, pl.Float64)
        ),
        impressions=lambda frame: frame.filter(pl.col("time") < TEST).with_columns(
            search_id=pl.lit(None, pl.Int64)
        ),
    )
    (path / "users.parquet").unlink()
    found = describe(Shop.open(path))
    assert (
        found.counts.searches == 0 and found.counts.profiles is None and found.counts.events is None
    )
    assert {one.name for one in found.funnels} == {"impressions"}
    assert found.queries.both is None and found.pictures.items == 0
    assert found.spreads[0].count == 0 and found.spreads[0].missing == 6
    test = found.periods[2]
    assert test.impressions == 0 and test.click_rate.value is None and test.median_history is None
    assert "The test period has no impressions" in found.headline[1]
    assert all(one.index is None for one in found.drift.columns)


def test_what_check_finds_is_told(make_shop):
    assert describe(Shop.open(make_shop())).checks is None
    good = describe(Shop.open(make_shop()), checked=True)
    assert good.checks[0].found == () and len(good.checks) > 5
    assert good.pictures.broken == 0
    broken = make_shop(items=lambda frame: frame.with_columns(image=pl.lit(b"nothing")))
    bad = describe(Shop.open(broken), checked=True)
    assert "do not decode" in bad.checks[0].found[0] and len(bad.checks) == 1
    assert bad.pictures.broken == 6
    assert "The shop breaks 1 rule" in bad.headline[-1]
