"""Engagements and exposures against a literal loop; nothing after the cut in what is learnt from."""

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moon_rec.errors import ShopError
from moon_rec.shop import Shop, ShopWriter, engagements, exposure_counts

from .conftest import CUT, START, TEST, items

PLANTED = 16
"""An item whose every event is at the cut or later."""


def write_events(out, rows):
    """A shop of (search hour or None, delay in hours, item_id, clicked, purchased), a request each, and some ground."""
    searches, impressions = [], []
    ground = [(day * 24, 1, 11, False, False) for day in range(10)]
    for number, (hour, delay, item, clicked, purchased) in enumerate([*ground, *rows]):
        search = None if hour is None else number
        made = START + timedelta(hours=hour or 0)
        if search is not None:
            searches.append((search, 1, made, "cup"))
        time = (
            max(made + timedelta(hours=delay), CUT)
            if item == PLANTED
            else made + timedelta(hours=delay)
        )
        impressions.append(
            (number, search, 1, item, time, 0, clicked or purchased, purchased, purchased)
        )
    with ShopWriter(
        out,
        name="n",
        source="s",
        is_simulated=False,
        cut_time=CUT,
        test_time=TEST,
        overwrite=True,
    ) as writer:
        writer.write("items", items().with_columns(listed_at=pl.lit(START)))
        columns = ["search_id", "user_id", "time", "query_text"]
        writer.write("searches", pl.DataFrame(searches, columns, orient="row"))
        columns = [
            "request_id",
            "search_id",
            "user_id",
            "item_id",
            "time",
            "position",
            "clicked",
            "carted",
            "purchased",
        ]
        writer.write("impressions", pl.DataFrame(impressions, columns, orient="row"))
    return Shop.open(out), searches, impressions


event = st.tuples(
    st.one_of(st.none(), st.integers(0, 230)),
    st.integers(0, 30),
    st.sampled_from([11, 12, 13, PLANTED]),
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(event, max_size=15))
def test_engagements_and_exposures_are_the_literal_loop(tmp_path, rows):
    shop, searches, impressions = write_events(tmp_path / "shop", rows)
    made = {search[0]: search[2] for search in searches}
    bounds = {"train": (START, CUT), "validation": (CUT, TEST), "test": (TEST, None)}
    for period, (low, high) in bounds.items():

        def is_in(time, low=low, high=high):
            return time >= low and (high is None or time < high)

        wanted = {
            (row[1], row[2], row[3], row[4])
            for row in impressions
            if row[8] and row[1] is not None and is_in(row[4]) and is_in(made[row[1]])
        }
        found = engagements(shop, "purchased", period).collect()
        assert found.columns == ["search_id", "user_id", "item_id", "time"]
        assert set(found.rows()) == wanted and found.height == len(wanted)
    counts = {}
    for row in impressions:
        if row[4] < CUT:
            counts[row[3]] = counts.get(row[3], 0) + 1
    assert dict(exposure_counts(shop).collect().rows()) == counts


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(event, max_size=15))
def test_what_was_planted_after_the_cut_is_nowhere_in_train(tmp_path, rows):
    planted = [(hour, delay, PLANTED, True, True) for hour, delay, *_ in rows]
    shop, _, _ = write_events(tmp_path / "shop", [*rows, *planted, (143, 0, PLANTED, True, True)])
    for kind in ("clicked", "carted", "purchased"):
        assert PLANTED not in engagements(shop, kind, "train").collect()["item_id"]
    assert PLANTED not in exposure_counts(shop).collect()["item_id"]


def test_an_item_answering_a_search_twice_is_one_engagement(make_shop):
    def again(frame):
        later = pl.col("time") + pl.duration(seconds=1)
        return pl.concat([frame, frame.with_columns(pl.col("request_id") + 50, later)])

    found = engagements(Shop.open(make_shop(impressions=again)), "clicked", "train").collect()
    assert found["search_id"].to_list() == [100, 101, 102, 103, 104, 105]
    assert found["time"][0] == START + timedelta(hours=12, seconds=5)


def test_unknown_kind(shop):
    with pytest.raises(ShopError, match="engagement 'liked' is unknown: choose one of clicked"):
        engagements(shop, "liked")
