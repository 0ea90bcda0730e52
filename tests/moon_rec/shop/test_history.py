"""Histories against a literal loop over all events."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moon_rec.errors import ShopError
from moon_rec.shop import Histories, Shop, ShopWriter

from .conftest import START, items

MICROSECONDS = timedelta(microseconds=1)

events_of_few_users = st.lists(
    st.tuples(st.integers(-2, 3), st.integers(-3, 3), st.integers(0, 9)), max_size=30
)
questions = st.lists(st.tuples(st.integers(-3, 4), st.integers(-4, 4)), min_size=1, max_size=12)


def literal(events, user, time, length):
    """The last `length` items of the user's events strictly before the time, newest last."""
    earlier = [event for event in sorted(events) if event[0] == user and event[1] < time]
    return [event[2] for event in earlier][max(len(earlier) - length, 0) :]


def in_order(events):
    ordered = sorted(events)
    return pl.DataFrame(
        {
            "user_id": [event[0] for event in ordered],
            "time": [event[1] for event in ordered],
            "item_id": [event[2] for event in ordered],
        },
        schema={"user_id": pl.Int64, "time": pl.Datetime("us"), "item_id": pl.Int64},
    )


@given(events_of_few_users, questions, st.integers(0, 6))
def test_before_is_the_literal_loop(events, asked, length):
    histories = Histories.from_events(in_order(events))
    users, times = (np.array(column, dtype=np.int64) for column in zip(*asked, strict=True))
    starts, ends = histories.before(users, times, length)
    assert starts.dtype == ends.dtype == np.int64
    for user, time, start, end in zip(users, times, starts, ends, strict=True):
        assert histories.item_ids[start:end].tolist() == literal(events, user, time, length)
        assert (histories.times[start:end] < time).all()


def clicks_shop(out, rows):
    """A shop of the given (request_id, user_id, item_id, hour, clicked) impressions, in that order in its file."""
    frame = pl.DataFrame(
        {
            "request_id": [row[0] for row in rows],
            "user_id": [row[1] for row in rows],
            "item_id": [row[2] for row in rows],
            "time": [START + timedelta(hours=row[3]) for row in rows],
            "position": [0] * len(rows),
            "clicked": [row[4] for row in rows],
            "carted": [False] * len(rows),
            "purchased": [False] * len(rows),
        }
    )
    with ShopWriter(
        out,
        name="n",
        source="s",
        is_simulated=False,
        cut_time=START + timedelta(hours=3),
        test_time=START + timedelta(hours=4),
    ) as writer:
        writer.write("items", items())
        writer.write("impressions", frame)
    return Shop.open(out)


ROWS = [
    (3, 1, 13, 2, True),
    (1, 1, 12, 1, True),
    (1, 1, 11, 1, True),
    (2, 2, 14, 1, True),
    (4, 1, 14, 3, False),
    (5, 1, 15, 5, True),
]


def test_only_clicks_count_and_the_same_request_does_not(tmp_path):
    histories = Histories.of(clicks_shop(tmp_path / "a", ROWS), "clicked")
    hours = np.array([1, 2, 3, 6, 6])
    times = np.array([np.datetime64(START + timedelta(hours=int(hour))) for hour in hours])
    starts, ends = histories.before(np.array([1, 1, 1, 1, 9]), times, 50)
    found = [histories.item_ids[a:b].tolist() for a, b in zip(starts, ends, strict=True)]
    assert found == [[], [11, 12], [11, 12, 13], [11, 12, 13, 15], []]


def test_the_order_of_the_file_does_not_matter(tmp_path):
    forward = Histories.of(clicks_shop(tmp_path / "a", ROWS))
    backward = Histories.of(clicks_shop(tmp_path / "b", ROWS[::-1]))
    assert forward.item_ids.tolist() == backward.item_ids.tolist() == [11, 12, 13, 15, 14]
    assert forward.times.tolist() == backward.times.tolist()


def test_times_are_microseconds_since_1970(shop):
    histories = Histories.of(shop, "purchased")
    first = (START + timedelta(hours=12, seconds=5) - datetime(1970, 1, 1)) // MICROSECONDS
    assert first in histories.times.tolist()
    assert len(histories.item_ids) == 5


def test_histories_of_searches(shop):
    histories = Histories.of_searches(shop)
    noon = np.array([np.datetime64(START + timedelta(days=9, hours=12))])
    starts, ends = histories.before(np.array([1]), noon, 2)
    assert histories.item_ids[starts[0] : ends[0]].tolist() == [103, 106]


def test_no_events_no_histories(tmp_path):
    shop = clicks_shop(tmp_path / "a", ROWS)
    histories = Histories.of(shop, "purchased")
    starts, ends = histories.before(np.array([1, 2]), np.array([0, 10**18]), 5)
    assert starts.tolist() == ends.tolist() == [0, 0]


def test_unknown_kind(shop):
    with pytest.raises(ShopError, match="engagement 'liked' is unknown"):
        Histories.of(shop, "liked")
