"""Sampled non-clicks against a literal reading of the rules, the distribution that each way promises, and time."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moon_rec.config import make_config
from moon_rec.errors import ConfigError, ShopError
from moon_rec.shop.non_click_recipe import non_clicks_said
from moon_rec.shop.non_clicks import NonClickConfig, sample_non_clicks

START = datetime(2024, 1, 1)


def log_of(rows):
    """A log of (request, user, item, day)."""
    return pl.DataFrame(
        [(r, u, i, START + timedelta(days=d)) for r, u, i, d in rows],
        schema={
            "request_id": pl.Int64,
            "user_id": pl.Int64,
            "item_id": pl.Int64,
            "time": pl.Datetime("us"),
        },
        orient="row",
    )


def items_of(days, categories=None):
    """Items from 0 on, by the day on which each is listed."""
    return pl.DataFrame(
        {
            "item_id": range(len(days)),
            "listed_at": [START + timedelta(days=day) for day in days],
            "category": categories or ["all"] * len(days),
        }
    ).cast({"item_id": pl.Int64, "listed_at": pl.Datetime("us")})


def random_log(seed, num_rows=120, num_items=25, num_users=8):
    """Requests of one to three items, items that come up over time, users that come back to what they had."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 60, num_items))
    days[:3] = 0
    rows = []
    for request in range(num_rows):
        day = int(random.integers(0, 60))
        listed = np.flatnonzero(days <= day)
        chosen = random.choice(listed, min(len(listed), int(random.integers(1, 4))), replace=False)
        user = int(random.integers(0, num_users))
        rows += [(request, user, int(item), day) for item in chosen]
    categories = [f"c{number % 3}" for number in range(num_items)]
    return log_of(rows), items_of(days.tolist(), categories)


WAYS = [
    NonClickConfig(num_negatives=3),
    NonClickConfig(num_negatives=5, popular_share=0.2, category_share=0.5, excluded="before"),
    NonClickConfig(num_negatives=2, popular_share=0, excluded="request"),
    NonClickConfig(num_negatives=40, popular_share=1.0),
]


@pytest.mark.parametrize("config", WAYS, ids=lambda config: config.excluded)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_every_non_click_keeps_every_rule(config, seed):
    positives, items = random_log(seed)
    found = sample_non_clicks(positives, items, config)
    rows = found.rows
    assert found.num_wanted == positives.height * config.num_negatives
    assert rows.height == found.num_wanted - found.num_empty
    both = pl.concat([positives, rows.select(positives.columns)])
    assert both.select("request_id", "item_id").is_unique().all()
    listed = dict(items.select("item_id", "listed_at").iter_rows())
    engaged = {}
    for user, item, time in positives.select("user_id", "item_id", "time").iter_rows():
        engaged[user, item] = min(time, engaged.get((user, item), time))
    for user, item, time in rows.select("user_id", "item_id", "time").iter_rows():
        assert listed[item] <= time
        if config.excluded == "ever":
            assert (user, item) not in engaged
        if config.excluded == "before":
            assert engaged.get((user, item), time) >= time


def test_places_stay_empty_only_where_nothing_is_allowed():
    positives, items = random_log(3)
    config = NonClickConfig(num_negatives=40, popular_share=0.5)
    found = sample_non_clicks(positives, items, config)
    listed = dict(items.select("item_id", "listed_at").iter_rows())
    ever = set(positives.select("user_id", "item_id").iter_rows())
    allowed = 0
    for (request, user, time), rows in positives.group_by("request_id", "user_id", "time"):
        can = [item for item, day in listed.items() if day <= time and (user, item) not in ever]
        allowed += min(len(can), 40 * rows.height)
        got = found.rows.filter(pl.col("request_id") == request)["item_id"].to_list()
        if 40 * rows.height >= len(can):
            assert sorted(got) == sorted(can)
    assert found.rows.height == allowed and found.num_empty and found.num_listed


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        (NonClickConfig(num_negatives=1, popular_share=0, excluded="request"), [1, 1, 1, 1, 1]),
        (NonClickConfig(num_negatives=1, popular_share=1, excluded="request"), [4, 3, 2, 1, 0]),
        (
            NonClickConfig(num_negatives=1, popular_share=0, category_share=1, excluded="request"),
            [1, 0, 1, 0, 1],
        ),
    ],
    ids=["uniform", "popular", "category"],
)
def test_each_way_has_the_distribution_it_promises(config, weights):
    past = [(n, n, item, 1) for n, item in enumerate([0] * 4 + [1] * 3 + [2] * 2 + [3])]
    now = [(100 + n, 100 + n, 5, 2) for n in range(4000)]
    items = items_of([0, 0, 0, 0, 0, 0], ["a", "b", "a", "b", "a", "a"])
    found = sample_non_clicks(log_of(past + now), items, config).rows
    drawn = found.filter(pl.col("request_id") >= 100)["item_id"].to_numpy()
    observed = np.bincount(drawn, minlength=6)
    assert observed[5] == 0, "the positive itself"
    expected = 4000 * np.array(weights) / sum(weights)
    assert (observed[:5][expected == 0] == 0).all()
    kept = expected > 0
    assert stats.chisquare(observed[:5][kept], expected[kept]).pvalue > 1e-4


@pytest.mark.parametrize("excluded", ["request", "before"])
def test_what_comes_later_changes_no_draw(excluded):
    positives, items = random_log(5)
    config = NonClickConfig(excluded=excluded, category_share=0.3)
    middle = START + timedelta(days=30)
    early = positives.filter(pl.col("time") < middle)
    there = items.filter(pl.col("listed_at") < middle)
    alone = sample_non_clicks(early, there, config).rows.drop("positive")
    both = sample_non_clicks(positives, items, config).rows.drop("positive")
    both = both.filter(pl.col("time") < middle)
    assert alone.height and alone.sort(pl.all()).equals(both.sort(pl.all()))


def test_the_order_of_the_file_and_the_seed():
    positives, items = random_log(7)
    one = sample_non_clicks(positives, items).rows
    order = positives.sample(fraction=1, shuffle=True, seed=1)
    shuffled = sample_non_clicks(order, items.reverse()).rows
    assert one.drop("positive").equals(shuffled.drop("positive"))
    assert order[shuffled["positive"]].equals(positives[one["positive"]])
    other = sample_non_clicks(positives, items, NonClickConfig(seed=1)).rows
    assert not one.equals(other)


def test_behaviour_that_was_no_positive_is_excluded_too():
    positives, items = log_of([(0, 7, 0, 5)]), items_of([0, 0, 0])
    engaged = log_of([(0, 7, 0, 5), (1, 7, 1, 2)])
    found = sample_non_clicks(positives, items, NonClickConfig(num_negatives=2), engaged)
    assert found.rows["item_id"].to_list() == [2] and found.num_empty == 1


def test_what_is_refused():
    items = items_of([0, 3])
    with pytest.raises(ShopError, match="item 9 of the log is not among the items"):
        sample_non_clicks(log_of([(0, 0, 9, 1)]), items)
    with pytest.raises(ShopError, match=r"item 1 is engaged with at .* before it is listed"):
        sample_non_clicks(log_of([(0, 0, 1, 1)]), items)
    with pytest.raises(ConfigError, match="more than 1 together"):
        make_config(NonClickConfig, {"popular_share": 0.6, "category_share": 0.6})
    with pytest.raises(ShopError, match="have no category"):
        sample_non_clicks(
            log_of([(0, 0, 0, 1)]), items.drop("category"), NonClickConfig(category_share=0.5)
        )


def test_the_recipe_says_how():
    recipe = NonClickConfig(popular_share=0.25, category_share=0.25, excluded="before").recipe()
    assert non_clicks_said(recipe) == (
        "non-clicks sampled (4 a positive among items listed by then, 25% by positives so far, "
        "25% from the same category, 50% uniformly; never what the user engaged with before; seed 0)"
    )
