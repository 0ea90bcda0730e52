"""Rankers read a shop's events in histories, strictly before each request, and nowhere else."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from moon_rec.shop.description import describe
from ranking.evaluate import score
from ranking.features import FeatureConfig, RankingTables
from ranking.features.preparation import Preparation
from ranking.score import score_impressions
from ranking.train import RankerConfig, train_ranker

from .conftest import draw_frames

FEATURES = FeatureConfig(history_length=12, query_history_length=4, context=("dwell",))
SMALL = {"epochs": 1, "batch_size": 64, "tower": (16,), "attention_dim": 8, "embedding_dim": 8}
RANKERS = {
    "din": {"content": "none"},
    "cube": {"content": "cube"},
    "content search": {"content": "vector", "search": "content", "search_length": 4},
    "category search": {"content": "none", "search": "category", "search_length": 4},
}
KEYS = ["request_id", "item_id"]


@pytest.fixture(scope="module")
def acts(planted, times) -> pl.DataFrame:
    """Some 600 events at any time of the log, half of them of items that are hardly shown."""
    random = np.random.default_rng(5)
    start = times[0]
    number = 600
    return pl.DataFrame(
        {
            "user_id": random.integers(1000, 1020, number),  # the other half of the users has none
            "item_id": np.where(random.random(number) < 0.5, random.integers(0, 96, number), 5) * 7,
            "time": [start + timedelta(days=float(day)) for day in random.uniform(0, 9, number)],
            "clicked": True,
            "carted": False,
            "purchased": random.random(number) < 0.5,
        }
    ).unique(["user_id", "item_id", "time"], maintain_order=True)


@pytest.fixture(scope="module")
def with_events(planted, acts, make_shop, tmp_path_factory):
    return make_shop({**planted.frames, "events": acts}, tmp_path_factory.mktemp("events") / "shop")


@pytest.fixture(scope="module", params=RANKERS, ids=str)
def ranker(request, planted, with_events):
    """Trained on the shop with events."""
    config = RankerConfig(**RANKERS[request.param], **SMALL)
    vectors = (planted.items, planted.queries) if config.reads_vectors else ()
    return train_ranker(RankingTables.build(with_events, FEATURES), config, *vectors)


def test_new_impressions_are_scored_as_the_period_was(ranker, with_events, planted, tmp_path):
    tables = RankingTables.build(with_events, preparation=ranker.preparation)
    wanted = score(ranker, tables, "test").select(*KEYS, "score")
    shown = planted.frames["impressions"].drop("clicked", "carted", "purchased", "position")
    shown.write_parquet(tmp_path / "new.parquet")
    out = tmp_path / "scores.parquet"
    score_impressions(ranker, with_events, out, [tmp_path / "new.parquet"], "test", chunk_rows=100)
    found = pl.read_parquet(out).join(wanted, on=KEYS, suffix=" wanted")
    assert found.height == wanted.height
    assert np.allclose(found["score"], found["score wanted"], rtol=0, atol=1e-6)


def test_an_event_moves_later_requests_of_its_user_alone(
    ranker, with_events, planted, acts, make_shop, tmp_path
):
    """One more event, at the time of a request: that request and all earlier ones keep their scores to the bit."""
    request = planted.frames["impressions"].filter(pl.col("user_id") == 1003)
    request = request.filter(pl.col("time") > with_events.cut_time).sort("time").row(0, named=True)
    one = acts.head(1).with_columns(
        user_id=pl.lit(1003, pl.Int64),
        item_id=pl.lit(14 * 7, pl.Int64),
        time=pl.lit(request["time"]),
    )
    more = make_shop({**planted.frames, "events": pl.concat([acts, one])}, tmp_path / "more")
    scores = []
    for shop in (with_events, more):
        tables = RankingTables.build(shop, preparation=ranker.preparation)
        found = [score(ranker, tables, period) for period in ("validation", "test")]
        scores.append(pl.concat(found).sort(KEYS))
    moved = scores[0].filter(scores[0]["score"] != scores[1]["score"])
    log = planted.frames["impressions"].select(*KEYS, "time")
    moved = moved.join(log, on=KEYS)
    assert set(moved["user_id"]) == {1003}
    assert moved["time"].min() > request["time"]


def test_what_is_said_of_impressions_stays(planted, with_events):
    plain, other = (RankingTables.build(shop, FEATURES) for shop in (planted.shop, with_events))
    for period in plain.periods:
        one, two = plain.periods[period], other.periods[period]
        for name in ("request_ids", "item_ids", "labels", "is_cold", "context", "offsets"):
            assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True), name
        starts = [each.history_ends - each.history_starts for each in (one, two)]
        grown = np.isin(one.user_ids, np.arange(1000, 1020))
        assert (starts[0] <= starts[1]).all() and (starts[0] == starts[1])[~grown].all()
        assert period != "train" or (starts[0] < starts[1])[grown].any()  # by then all are full


def test_items_of_events_alone_are_known_to_histories_and_cold(planted, make_shop, tmp_path):
    """Item 5 * 7 was never shown before the cut, but users had it elsewhere."""
    frames = dict(planted.frames)
    log = frames["impressions"]
    frames["impressions"] = log.filter((pl.col("item_id") != 35) | (pl.col("time") > planted.shop.cut_time))  # fmt: skip
    keys = ["user_id", "item_id", "time"]
    act = log.filter(pl.col("item_id") == 35).head(3).select(*keys, "carted", "purchased")
    act = act.with_columns(clicked=pl.lit(True))
    plain = Preparation.fit(make_shop(frames, tmp_path / "plain"), FEATURES)
    other = Preparation.fit(make_shop({**frames, "events": act}, tmp_path / "other"), FEATURES)
    item = pl.Series([35])
    assert plain.vocabularies["item"].rows(item)[0] == 0 < other.vocabularies["item"].rows(item)[0]
    assert other.item_counts[other.vocabularies["item"].rows(item)[0]] == 0
    assert plain.price_edges.tolist() == other.price_edges.tolist()
    shown = plain.vocabularies["item"].values
    counts = [each.item_counts[each.vocabularies["item"].rows(shown)] for each in (plain, other)]
    assert counts[0].tolist() == counts[1].tolist()


def test_written_as_impressions_they_move_click_rates_and_calibration_as_events_they_do_not(
    times, make_shop, tmp_path
):
    """A history of clicks from before the cut, as EB-NeRD and MIND ship it, beside pages with one click in ten.

    As clicked impressions it makes the click rates of train and test .58 and .10 and predictions far too high.
    """
    start, cut, _ = times
    frames, act = few_clicks(start, cut)
    keys = ["user_id", "item_id", "time"]
    first = int(frames["impressions"]["request_id"].to_numpy().max()) + 1
    rows = {"request_id": pl.int_range(pl.len()) + first, "search_id": pl.lit(None, pl.Int64), "position": 0, "dwell": 0.0}  # fmt: skip
    as_rows = act.with_columns(**rows).select(frames["impressions"].columns)
    joined = pl.concat([frames["impressions"], as_rows.cast(frames["impressions"].schema)])
    shops = {
        "plain": make_shop(frames, tmp_path / "plain"),
        "impressions": make_shop({**frames, "impressions": joined}, tmp_path / "impressions"),
        "events": make_shop({**frames, "events": act.select(*keys, "clicked", "carted", "purchased")}, tmp_path / "events"),
    }  # fmt: skip
    rates, calibrations = {}, {}
    for name, shop in shops.items():
        periods = describe(shop).periods
        rates[name] = (round(periods[0].click_rate.value, 2), round(periods[2].click_rate.value, 2))
        tables = RankingTables.build(shop, FeatureConfig(history_length=12))
        config = RankerConfig(**{**SMALL, "epochs": 2, "learning_rate": 0.01})
        found = score(train_ranker(tables, config), tables, "test")
        calibrations[name] = float(
            found["score"].to_numpy().sum() / found["label"].to_numpy().sum()
        )
    assert rates["plain"] == rates["events"] == (0.1, 0.1)
    assert rates["impressions"] == (0.58, 0.1)
    assert abs(calibrations["events"] - 1) < 0.3 and abs(calibrations["plain"] - 1) < 0.3
    assert calibrations["impressions"] > 1.5


def few_clicks(start, cut):
    """Pages of which one row in ten is clicked, and as many earlier clicks as make .58 of the rows before the cut."""
    frames, _ = draw_frames()
    log = frames["impressions"].sort("time", "request_id", "item_id")
    clicked = (
        pl.int_range(pl.len()) * 7 % 10 == 0
    )  # in every period one row in ten, at any place of a page
    log = log.with_columns(clicked=clicked, carted=pl.lit(False), purchased=pl.lit(False))
    train = log.filter(pl.col("time") < cut)
    number = round((0.58 * train.height - train.filter("clicked").height) / 0.42)
    random = np.random.default_rng(3)
    act = pl.DataFrame(
        {
            "user_id": random.integers(1000, 1040, number),
            "item_id": random.integers(0, 96, number) * 7,
            "time": start + pl.Series(random.integers(1, 6 * 86_400 * 10**6, number)).cast(pl.Duration("us")),
        }
    ).unique(maintain_order=True)  # fmt: skip
    done = {"clicked": pl.lit(True), "carted": pl.lit(False), "purchased": pl.lit(False)}
    return {**frames, "impressions": log}, act.with_columns(**done)
