"""What real logs hold: each is either handled right or refused by name, in one line."""

import dataclasses
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moon_rec.errors import MoonRecError, RankingError, ShopError
from ranking.evaluate import score
from ranking.features import FeatureConfig, RankingTables
from ranking.features.context import ContextColumn
from ranking.metrics import gauc
from ranking.train import RankerConfig, train_ranker
from ranking.training import prepare

FEATURES = FeatureConfig(history_length=8, query_history_length=4)
SMALL = {"epochs": 1, "batch_size": 64, "tower": (8,), "attention_dim": 4, "embedding_dim": 4}
CUBE = RankerConfig(content="cube", projection_dim=4, **SMALL)
LONG = 50_000


@pytest.fixture(scope="module")
def with_impressions(planted, make_shop, tmp_path_factory):
    """The planted shop with other impressions, or rows beside its own."""

    def make(change=None, more=None, **tables):
        shown = planted.frames["impressions"]
        if change is not None:
            shown = change(shown)
        if more is not None:
            shown = pl.concat([shown, more.select(shown.columns)], how="vertical_relaxed")
        frames = {**planted.frames, "impressions": shown, **tables}
        return make_shop(frames, tmp_path_factory.mktemp("odd") / "shop")

    return make


def rows(times, users, items, clicked=False, requests=None, **columns):
    """Impressions made by hand, without searches."""
    number = len(items)
    return pl.DataFrame(
        {
            "request_id": requests if requests is not None else 10**6 + np.arange(number),
            "search_id": pl.Series([None] * number, dtype=pl.Int64),
            "user_id": users,
            "item_id": items,
            "time": times,
            "position": [0] * number,
            "clicked": [clicked] * number,
            "carted": [False] * number,
            "purchased": [False] * number,
            "dwell": [0.0] * number,
            **columns,
        }
    )


# ---- histories


@pytest.fixture(scope="module")
def long_shop(with_impressions, times):
    """User 1 clicked 50,000 times (twelve items, over and over), user 2 once, user 3 never."""
    start, _, test = times
    clicks = rows(
        [start + timedelta(seconds=second) for second in range(LONG)],
        [1] * LONG,
        [7 * (second % 12) for second in range(LONG)],
        clicked=True,
    )
    one = rows([start], [2], [35], clicked=True, requests=[2 * 10**6])
    shown = rows(
        [test + timedelta(days=1)] * 6,
        [1, 1, 2, 2, 3, 3],
        [14, 700, 14, 700, 14, 700],
        requests=[3 * 10**6 + number // 2 for number in range(6)],
    )
    return with_impressions(more=pl.concat([clicks, one, shown]))


@pytest.fixture(scope="module")
def long_tables(long_shop):
    """With room for all of the history; trained on the planted shop's rows, so that it takes a moment."""
    config = FeatureConfig(history_length=LONG, max_candidates=8)
    tables = RankingTables.build(long_shop, config)
    train, first = tables.periods["train"], 40
    last = np.flatnonzero(train.user_ids > 3)[:first]
    assert last.size == first
    return tables, last


def test_histories_of_length_0_1_and_50_000_with_repeats(long_tables):
    tables, _ = long_tables
    requests = tables.periods["test"]
    sizes = (requests.history_ends - requests.history_starts)[requests.user_ids <= 3]
    assert sorted(sizes) == [0, 1, LONG]
    place = int(np.flatnonzero(requests.user_ids == 1)[0])
    held = slice(requests.history_starts[place], requests.history_ends[place])
    found = tables.items.ids[tables.history_events[held]]
    assert np.array_equal(found, 7 * (np.arange(LONG) % 12))


def test_a_history_of_50_000_scores_as_it_does_alone(planted, long_tables):
    """Beside short ones or alone, with room to spare or none: padding changes nothing."""
    tables, trained_on = long_tables
    few = dataclasses.replace(
        tables, periods={**tables.periods, "train": chosen(tables.periods["train"], trained_on)}
    )
    ranker = train_ranker(few, CUBE, planted.items, planted.queries)
    test = tables.periods["test"]
    ours = np.flatnonzero(test.user_ids <= 3)
    together = ranker.predict(with_test(tables, chosen(test, ours)), "test", 100)
    alone = [ranker.predict(with_test(tables, chosen(test, ours[[n]])), "test") for n in range(3)]
    assert np.isfinite(together).all()
    assert np.abs(together - np.concatenate(alone)).max() < 1e-6
    assert ranker.scoring_rows(test) == 10  # 2**19 behaviours, 50,000 a row
    # three histories, two targets: none is taken for another
    assert np.unique(together).size == 6


@pytest.mark.parametrize("search", ["none", "content", "category"])
def test_a_history_of_50_000_is_trained_on(planted, long_tables, search):
    """Beside histories of 0 and 1, in one batch: weights move, and stay numbers."""
    tables, _ = long_tables
    test = tables.periods["test"]
    ours = chosen(test, np.flatnonzero(test.user_ids <= 3))
    few = dataclasses.replace(tables, periods={**tables.periods, "train": ours})
    config = CUBE.model_copy(update={"search": search})
    ranker = train_ranker(few, config, planted.items, planted.queries)
    untrained, *_ = prepare(few, config, planted.items, planted.queries)
    moved = [
        not torch.equal(weight, untrained.state_dict()[name])
        for name, weight in ranker.model.state_dict().items()
    ]
    assert any(moved)
    assert all(torch.isfinite(weight).all() for weight in ranker.model.parameters())
    assert np.isfinite(ranker.predict(few, "train")).all()


def chosen(requests, which):
    """Some requests of a period."""
    sizes = np.diff(requests.offsets)[which]
    places = [np.arange(*requests.offsets[[number, number + 1]]) for number in which]
    places = np.concatenate(places)
    by_row = ("item_ids", "items", "labels", "context", "is_cold")
    names = [field.name for field in dataclasses.fields(requests) if field.name != "offsets"]
    values = {name: getattr(requests, name)[places if name in by_row else which] for name in names}
    return dataclasses.replace(requests, offsets=np.append(0, np.cumsum(sizes)), **values)


def with_test(tables, requests):
    return dataclasses.replace(tables, periods={"test": requests})


# ---- targets and users that nobody has seen


@pytest.fixture(scope="module")
def planted_tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def cube(planted, planted_tables):
    return train_ranker(planted_tables, CUBE, planted.items, planted.queries)


def test_unknown_targets_and_users_have_row_zero_and_a_score(
    planted, cube, with_impressions, times
):
    """An item without a vector, one outside the catalogue, a user never seen, and all at once."""
    later = times[2] + timedelta(days=1)
    shown = rows([later] * 4, [1001, 1001, 9_999, 9_999], [0, 424_242, 49, 424_242])
    tables = RankingTables.build(with_impressions(more=shown), preparation=cube.preparation)
    found = score(cube, tables).filter(pl.col("request_id") >= 10**6)
    requests = tables.periods["test"]
    users = requests.users[requests.request_ids >= 10**6]
    assert users[:2].all() and not users[2:].any()
    items = requests.items[
        np.isin(requests.request_ids[requests.row_requests()], 10**6 + np.arange(4))
    ]
    assert (items == tables.items.nothing).tolist() == [False, True, False, True]
    assert found["score"].is_finite().all()
    assert found["is_cold"].to_list() == [False, True, False, True]
    assert found["item_id"].to_list() == [0, 424_242, 49, 424_242]


def test_users_of_one_class_are_counted_and_left_out(planted, cube, with_impressions, times):
    later = times[2] + timedelta(days=1)
    all_clicks = rows([later] * 4, [50_001] * 4, [7, 14, 21, 28], clicked=True)
    none = rows([later] * 4, [50_002] * 4, [7, 14, 21, 28], requests=2 * 10**6 + np.arange(4))
    shop = with_impressions(more=pl.concat([all_clicks, none]))
    both = score(cube, RankingTables.build(shop, preparation=cube.preparation))
    plain = both.filter(pl.col("user_id") < 50_000)
    one, other = (
        gauc(*(frame[name].to_numpy() for name in ("label", "score", "user_id")))
        for frame in (plain, both)
    )
    assert one.value == other.value
    assert (other.num_groups, other.num_left_out) == (one.num_groups, one.num_left_out + 2)


# ---- labels and rows


def test_labels_other_than_true_and_false_are_named(planted, with_impressions, tmp_path):
    with pytest.raises(ShopError, match="has type Int64, wanted Boolean") as caught:
        shop = with_impressions()
        file = shop.path / "impressions.parquet"
        frame = pl.read_parquet(file)
        frame.with_columns(pl.col("clicked").cast(pl.Int64) * 2).write_parquet(file)
        type(shop).open(shop.path)
    assert "\n" not in str(caught.value)
    null = pl.when(pl.col("item_id") == 7).then(None).otherwise(pl.col("clicked"))
    shop = with_impressions(lambda shown: shown.with_columns(clicked=null))
    with pytest.raises(RankingError, match=r"train impressions: clicked is null in \d+ of"):
        RankingTables.build(shop, FEATURES)


def test_a_row_that_is_there_twice_is_named(with_impressions):
    shop = with_impressions(lambda shown: pl.concat([shown, shown.tail(3)]))
    with pytest.raises(
        RankingError, match=r"test impressions: request \d+ shows item \d+ twice \(3 "
    ):
        RankingTables.build(shop, FEATURES)


def test_null_ids_are_named(with_impressions):
    null = pl.when(pl.col("item_id") == 7).then(None).otherwise(pl.col("user_id"))
    shop = with_impressions(lambda shown: shown.with_columns(user_id=null))
    with pytest.raises(RankingError, match="user_id is null"):
        RankingTables.build(shop, FEATURES)


def test_one_request_of_5_000_candidates(planted, cube, make_shop, tmp_path, times):
    """Cut into pieces or whole: the same scores."""
    number = 5_000
    extra = planted.frames["items"][np.zeros(number, dtype=int)].with_columns(
        item_id=pl.Series(10_000 + np.arange(number)), price=pl.Series(np.arange(number) / 500)
    )
    shown = rows(
        [times[2] + timedelta(days=1)] * number,
        [1001] * number,
        10_000 + np.arange(number),
        requests=[10**6] * number,
    )
    frames = {
        **planted.frames,
        "items": pl.concat([planted.frames["items"], extra]),
        "impressions": pl.concat(
            [
                planted.frames["impressions"],
                shown.select(planted.frames["impressions"].columns),
            ],
            how="vertical_relaxed",
        ),
    }
    shop = make_shop(frames, tmp_path / "shop")
    found = []
    for cut in (cube.preparation.max_candidates, 100_000):
        prepared = dataclasses.replace(cube.preparation, max_candidates=cut)
        ranker = dataclasses.replace(cube, preparation=prepared)
        tables = RankingTables.build(shop, preparation=prepared)
        found.append(score(ranker, tables).filter(pl.col("request_id") == 10**6))
        sizes = np.diff(tables.periods["test"].offsets)
        assert sizes.max() == min(cut, number)
    assert found[0].height == number
    assert found[0].drop("score").equals(found[1].drop("score"))
    assert (found[0]["score"] - found[1]["score"]).abs().max() < 1e-6
    assert found[0]["score"].n_unique() > 3


# ---- context


CONTEXT = FeatureConfig(context=("dwell",), counters="none")


def missing_in(period_from, value):
    """dwell is `value` at every fifth row from a time on."""
    where = (pl.col("time") >= period_from) & (pl.int_range(pl.len()) % 5 == 0)
    return lambda shown: shown.with_columns(
        dwell=pl.when(where).then(pl.lit(value, pl.Float64)).otherwise(pl.col("dwell"))
    )


@pytest.mark.parametrize("value", [None, float("nan")])
def test_missing_context_takes_the_mean_and_says_so(planted, with_impressions, times, value):
    shop = with_impressions(missing_in(times[0], value))
    flagged = RankingTables.build(shop, CONTEXT)
    assert flagged.num_context == 2
    plain = RankingTables.build(shop, CONTEXT.model_copy(update={"missing_context": "mean"}))
    assert plain.num_context == 1
    for period, requests in flagged.periods.items():
        dwell, is_missing = requests.context.T
        assert set(np.unique(is_missing)) == {0, 1}, period
        assert not dwell[is_missing == 1].any()
        assert np.array_equal(plain.periods[period].context[:, 0], dwell)
    known = shop.in_period(shop.impressions, "train").select("dwell").collect()["dwell"]
    known = known.fill_nan(None).drop_nulls()
    column = flagged.preparation.context[0]
    assert column.mean == pytest.approx(known.mean(), abs=1e-12)
    assert column.deviation == pytest.approx(known.std(ddof=0), abs=1e-12)
    train = flagged.periods["train"].context
    present = train[train[:, 1] == 0, 0]
    assert present.std() == pytest.approx(1, abs=1e-5)


def test_context_first_missing_after_the_cut_takes_the_mean(planted, with_impressions, times):
    tables = RankingTables.build(with_impressions(missing_in(times[1], None)), CONTEXT)
    assert tables.num_context == 1
    assert (tables.periods["test"].context == 0).mean() == pytest.approx(0.2, abs=0.05)


def test_missing_and_infinite_context_can_be_refused(with_impressions, times):
    config = CONTEXT.model_copy(update={"missing_context": "error"})
    refused = [
        (None, config, "'dwell' misses"),
        (float("nan"), config, "'dwell' misses"),
        (float("inf"), CONTEXT, "'dwell' is infinite in"),
        (-float("inf"), CONTEXT, "'dwell' is infinite in"),
    ]
    for since in times:
        for value, settings_, reason in refused:
            shop = with_impressions(missing_in(since, value))
            with pytest.raises(
                RankingError, match=reason + r".*first: request \d+, item"
            ) as caught:
                RankingTables.build(shop, settings_)
            assert "\n" not in str(caught.value)


def test_a_column_without_any_value_is_named(with_impressions):
    shop = with_impressions(lambda shown: shown.with_columns(dwell=pl.lit(None, pl.Float64)))
    with pytest.raises(RankingError, match="'dwell' has no value in the train period"):
        RankingTables.build(shop, CONTEXT)


def test_a_constant_column_is_zero_everywhere(with_impressions, times):
    """1.1 is no binary fraction: its deviation over many rows is a bit above 0."""
    value = pl.when(pl.col("time") < times[1]).then(1.1).otherwise(7.0)
    shop = with_impressions(lambda shown: shown.with_columns(dwell=value))
    tables = RankingTables.build(shop, CONTEXT)
    assert np.full(tables.periods["train"].num_rows, 1.1).std() > 0
    assert not any(requests.context.any() for requests in tables.periods.values())


def test_a_column_of_text_is_named(with_impressions):
    shop = with_impressions(lambda shown: shown.with_columns(dwell=pl.lit("long")))
    with pytest.raises(RankingError, match=r"'dwell' of impressions is String: wanted numbers"):
        RankingTables.build(shop, CONTEXT)


@settings(max_examples=60)
@given(
    train=st.lists(st.none() | st.floats(-1e6, 1e6), min_size=2, max_size=30),
    later=st.lists(st.none() | st.just(float("nan")) | st.floats(-1e6, 1e6), max_size=30),
    how=st.sampled_from(["flag", "mean"]),
)
def test_context_is_always_finite(train, later, how):
    config = FeatureConfig(context=("dwell",), missing_context=how, counters="none")
    frames = [
        pl.DataFrame({"dwell": values}, schema={"dwell": pl.Float64}).with_columns(
            request_id=pl.lit(1), item_id=pl.lit(2)
        )
        for values in (train, later)
    ]
    if all(value is None for value in train):
        with pytest.raises(RankingError, match="no value"):
            ContextColumn.fit(frames[0], "dwell", config)
        return
    column = ContextColumn.fit(frames[0], "dwell", config)
    assert column.has_flag == (how == "flag" and None in train)
    for frame in frames:
        found = column.standardise(frame, config)
        assert found.shape == (frame.height, column.width)
        assert np.isfinite(found).all()


# ---- periods


def test_an_empty_test_period_is_named(planted, with_impressions, times):
    shop = with_impressions(lambda shown: shown.filter(pl.col("time") < times[2]))
    with pytest.raises(MoonRecError, match="no impression in the test period; move"):
        RankingTables.build(shop, FEATURES)
