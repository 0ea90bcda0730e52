"""Tables against the frames they come from, and nothing after the cut in what is learnt."""

import dataclasses
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moon_rec.errors import RankingError
from ranking.features import PERIODS, FeatureConfig, RankingTables
from ranking.features.impressions import cheapest_cut
from ranking.features.vocabulary import Vocabulary

CONFIG = FeatureConfig(history_length=6, query_history_length=3, context=("dwell",))


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, CONFIG)


def test_every_impression_is_a_row_of_its_period(planted, tables):
    for period in PERIODS:
        frame = planted.shop.in_period(planted.shop.impressions, period).collect()
        requests = tables.periods[period]
        found = pl.DataFrame(
            {
                "request_id": requests.request_ids[requests.row_requests()],
                "item_id": tables.items.ids[requests.items],
                "clicked": requests.labels > 0,
            }
        )
        wanted = frame.select("request_id", "item_id", "clicked")
        assert found.sort("request_id", "item_id").equals(wanted.sort("request_id", "item_id"))


def test_histories_are_the_last_clicks_strictly_before_the_request(planted, tables):
    clicks = planted.frames["impressions"].filter(pl.col("clicked")).sort("time")
    searches = planted.frames["searches"].sort("time")
    times = dict(planted.frames["impressions"].select("request_id", "time").iter_rows())
    for period in PERIODS:
        requests = tables.periods[period]
        for number in range(0, requests.request_ids.size, 7):
            request, user = int(requests.request_ids[number]), int(requests.user_ids[number])
            before = (pl.col("user_id") == user) & (pl.col("time") < times[request])
            start, end = requests.history_starts[number], requests.history_ends[number]
            found = tables.items.ids[tables.history_events[start:end]].tolist()
            wanted = clicks.filter(before)
            assert len(found) == min(6, wanted.height)
            # clicks of one request share a moment: compare as sets a moment, here the whole
            earliest = wanted["time"].tail(6).min() if found else None
            if earliest is not None:
                assert set(found) <= set(wanted.filter(pl.col("time") >= earliest)["item_id"])
            start, end = requests.query_starts[number], requests.query_ends[number]
            past = tables.queries.ids[tables.query_events[start:end]].tolist()
            own = searches.filter(before & (pl.col("search_id") != request))
            assert past == own["search_id"].tail(3).to_list()


def test_vocabularies_know_train_alone(planted, tables):
    train = planted.shop.in_period(planted.shop.impressions, "train").collect()
    assert tables.vocabularies["item"].values.to_list() == sorted(train["item_id"].unique())
    assert tables.vocabularies["user"].values.to_list() == sorted(train["user_id"].unique())
    test = tables.periods["test"]
    assert test.is_cold.any()
    unknown = tables.items.features["item"][test.items] == 0
    assert (unknown == test.is_cold).all()
    assert not tables.periods["train"].is_cold.any()


def test_cold_is_fewer_train_impressions_than_asked(planted):
    train = planted.shop.in_period(planted.shop.impressions, "train").collect()
    shown = dict(train["item_id"].value_counts().iter_rows())
    edge = sorted(shown.values())[len(shown) // 2]
    tables = RankingTables.build(planted.shop, FeatureConfig(cold_below=edge))
    for requests in tables.periods.values():
        wanted = [shown.get(item, 0) < edge for item in requests.item_ids.tolist()]
        assert requests.is_cold.tolist() == wanted


def test_texts_that_look_alike_have_one_row_and_blank_ones_none():
    texts = ["Café", "Cafe\u0301", "Caf\u00ade\u0301 ", "ＡＢＣ", "ABC", "", " \u200b", None, "m²"]
    vocabulary = Vocabulary.of(pl.Series(texts))
    assert vocabulary.values.to_list() == ["ABC", "Café", "m²"]
    assert vocabulary.rows(pl.Series(texts)).tolist() == [2, 2, 2, 1, 1, 0, 0, 0, 3]
    assert Vocabulary.of(pl.Series(texts[:3]), min_count=3).num_rows == 2  # counted together
    assert vocabulary.rows(pl.Series(["m2", "café"])).tolist() == [0, 0]


def test_unknown_values_have_row_zero():
    vocabulary = Vocabulary.of(pl.Series(["b", "a", None, "b"]), min_count=2)
    assert vocabulary.rows(pl.Series(["a", "b", None, "c"])).tolist() == [0, 1, 0, 0]
    assert vocabulary.num_rows == 2


def test_prices_fall_into_quantiles_of_train(planted, tables):
    bucket = tables.items.features["price"][:-1]
    prices = planted.frames["items"]["price"].to_numpy()
    assert (bucket[np.isnan(prices)] == 0).all()
    assert (np.diff(bucket[~np.isnan(prices)][np.argsort(prices[~np.isnan(prices)])]) >= 0).all()
    assert bucket.max() < tables.num_embeddings["price"]


def test_context_is_standardised_by_train(tables):
    train = tables.periods["train"].context
    assert train.mean() == pytest.approx(0, abs=1e-5)
    assert train.std() == pytest.approx(1, abs=1e-5)


def test_position_is_seen_in_training_only(planted):
    config = FeatureConfig(use_position=True, counters="none")
    periods = RankingTables.build(planted.shop, config).periods
    assert periods["train"].context.std() > 0.5
    assert not periods["test"].context.any()


def test_long_requests_are_cut_and_keep_their_history(planted):
    short = RankingTables.build(planted.shop, FeatureConfig(max_candidates=4)).periods["train"]
    assert np.diff(short.offsets).max() == 4
    twice = np.flatnonzero(short.request_ids[1:] == short.request_ids[:-1])
    assert twice.size
    assert (short.history_ends[twice] == short.history_ends[twice + 1]).all()


def test_requests_are_cut_where_it_costs_least(planted):
    assert cheapest_cut(np.full(100, 10)) == 10
    assert cheapest_cut(np.r_[np.ones(990), np.full(10, 30)].astype(int)) == 1
    assert cheapest_cut(np.array([500])) <= 64
    sizes = np.diff(RankingTables.build(planted.shop).periods["train"].offsets)
    assert (sizes == 6).all()
    assert FeatureConfig().max_candidates is None


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 30),
    known_user=st.booleans(),
    known_item=st.booleans(),
    seed=st.integers(0, 99),
)
def test_marked_events_after_the_cut_change_nothing_that_is_learnt(
    planted, tables, make_shop, times, tmp_path_factory, count, known_user, known_item, seed
):
    """Clicks, searches, items, brands, prices and users after the cut: train is the same, bit for bit."""
    random, cut = np.random.default_rng(seed), times[1]
    moments = [cut + timedelta(seconds=float(s)) for s in random.uniform(0, 250_000, count)]
    ids = np.arange(count)
    items = (
        planted.frames["items"]
        .sample(count, with_replacement=True, seed=seed)
        .with_columns(
            item_id=pl.Series(ids * 7 + 3),
            spu_id=pl.Series(ids + 9_000),
            category=pl.lit("all/marked"),
            brand=pl.lit("marked"),
            price=pl.lit(1e9),
            listed_at=pl.lit(cut),
        )
    )
    marked = planted.frames["impressions"].sample(count, with_replacement=True, seed=seed)
    marked = marked.with_columns(
        request_id=pl.Series(ids + 50_000),
        search_id=pl.Series(ids + 50_000),
        user_id=pl.lit(1001, pl.Int64) if known_user else pl.Series(ids + 9_000),
        item_id=pl.lit(7 * 7, pl.Int64) if known_item else pl.Series(ids * 7 + 3),
        time=pl.Series(moments),
        clicked=pl.lit(True),
        dwell=pl.lit(1e6),
    )
    searches = pl.DataFrame(
        {
            "search_id": ids + 50_000,
            "user_id": marked["user_id"],
            "time": moments,
            "query_text": ["marked"] * count,
        }
    )
    frames = {
        "items": pl.concat(
            [planted.frames["items"], items.select(planted.frames["items"].columns)]
        ),
        "searches": pl.concat([planted.frames["searches"], searches]),
        "impressions": pl.concat([planted.frames["impressions"], marked], how="vertical_relaxed"),
    }
    after = RankingTables.build(
        make_shop(frames, tmp_path_factory.mktemp("marked") / "shop"), CONFIG
    )
    assert after.num_embeddings == tables.num_embeddings
    for name, vocabulary in tables.vocabularies.items():
        assert after.vocabularies[name].values.equals(vocabulary.values)
    old, new = tables.periods["train"], after.periods["train"]
    assert learnt(after) == learnt(tables)
    for name in ("request_ids", "user_ids", "users", "offsets", "labels", "context", "is_cold"):
        assert np.array_equal(getattr(old, name), getattr(new, name)), name
    # and the marked clicks do reach histories of later requests of that user: serving-time histories
    if known_user and known_item:
        assert np.isin(7 * 7, after.items.ids[after.history_events])


def learnt(tables):
    """What training reads of items, histories and queries, by raw id and vocabulary rows."""
    train = tables.periods["train"]

    def rows(catalogue, chosen):
        ids = np.append(catalogue.ids, -1)[chosen]
        return [ids.tolist(), *(column[chosen].tolist() for column in catalogue.features.values())]

    def events(catalogue, stored, starts, ends):
        return [rows(catalogue, stored[start:end]) for start, end in zip(starts, ends, strict=True)]

    return (
        rows(tables.items, train.items),
        rows(tables.queries, train.queries),
        events(tables.items, tables.history_events, train.history_starts, train.history_ends),
        events(tables.queries, tables.query_events, train.query_starts, train.query_ends),
    )


def test_file_order_is_of_no_matter(planted, tables, make_shop, tmp_path):
    frames = {
        name: frame.sample(fraction=1, shuffle=True, seed=5)
        for name, frame in planted.frames.items()
    }
    again = RankingTables.build(make_shop(frames, tmp_path / "shop"), CONFIG)
    for period in PERIODS:
        for field in dataclasses.fields(again.periods[period]):
            one, other = (getattr(t.periods[period], field.name) for t in (tables, again))
            assert np.array_equal(one, other), field.name


def test_errors(planted, make_shop, times, tmp_path):
    with pytest.raises(RankingError, match="context column 'nothing' of impressions is absent"):
        RankingTables.build(planted.shop, FeatureConfig(context=("nothing",)))
    with pytest.raises(RankingError, match="wanted numbers"):
        RankingTables.build(planted.shop, FeatureConfig(context=("time",)))
    quiet = planted.frames["impressions"].with_columns(clicked=pl.lit(False))
    shop = make_shop({**planted.frames, "impressions": quiet}, tmp_path / "quiet")
    with pytest.raises(RankingError, match="a ranker needs both"):
        RankingTables.build(shop)
    early = planted.frames["impressions"].filter(pl.col("time") < times[2])
    shop = make_shop({**planted.frames, "impressions": early}, tmp_path / "early")
    with pytest.raises(RankingError, match="no impression in the test period"):
        RankingTables.build(shop)
