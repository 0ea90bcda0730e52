"""The probe finds a sampling that gives itself away, and nothing where there is nothing."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from moon_rec.shop.leaks.knowledge import auc_of
from moon_rec.shop.non_click_probe import _count_before, _fit, probe_non_clicks
from moon_rec.shop.non_clicks import NonClickConfig, sample_non_clicks

START = datetime(2024, 1, 1)
CUT = START + timedelta(days=80)


def positives(seed, num_rows=6000, num_items=300, num_users=200, exponent=1.0, repeats=0.0):
    """Days 0 to 100; items come up over time, `exponent` says how unequally they are chosen."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 90, num_items))
    days[:30] = 0
    weight = random.permutation(1 / np.arange(1, num_items + 1) ** exponent)
    had, rows = {}, []
    for request, day in enumerate(np.sort(random.integers(0, 100, num_rows))):
        user = int(random.integers(0, num_users))
        listed = np.flatnonzero(days <= day)
        if had.get(user) and random.random() < repeats:
            item = int(random.choice(had[user]))
        else:
            item = int(random.choice(listed, p=weight[listed] / weight[listed].sum()))
        had.setdefault(user, []).append(item)
        rows.append((request, user, item, START + timedelta(days=int(day))))
    log = pl.DataFrame(rows, schema=["request_id", "user_id", "item_id", "time"], orient="row")
    items = pl.DataFrame(
        {
            "item_id": range(num_items),
            "listed_at": [START + timedelta(days=int(day)) for day in days],
            "category": [f"c{number % 5}" for number in range(num_items)],
        }
    )
    return log, items


def probed(log, items, **config):
    others = sample_non_clicks(log, items, NonClickConfig(**config)).rows
    rows = pl.concat(
        [
            log.with_columns(clicked=pl.lit(True)),
            others.select(log.columns).with_columns(clicked=pl.lit(False)),
        ]
    )
    return probe_non_clicks(rows, items, CUT)


def test_counts_before_against_a_literal_count():
    random = np.random.default_rng(0)
    keys, time = random.integers(0, 5, 200), random.integers(0, 20, 200)
    counted = random.random(200) < 0.5
    expected = [
        sum(counted[j] for j in range(200) if keys[j] == keys[i] and time[j] < time[i])
        for i in range(200)
    ]
    assert _count_before(keys, time, counted).tolist() == expected


def test_the_fit_is_scikit_learns_logistic_regression():
    random = np.random.default_rng(1)
    codes = np.column_stack([random.integers(0, 17, 500), 17 + random.integers(0, 17, 500)])
    labels = random.random(500) < 1 / (1 + np.exp(-(codes[:, 0] - 8) / 4))
    weights = _fit(codes, labels)
    hot = np.zeros((500, 34))
    for column in codes.T:
        hot[np.arange(500), column] = 1
    peer = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(hot, labels)
    assert np.abs(weights[:-1] - peer.coef_[0]).max() < 5e-3


def test_auc_is_that_of_scikit_learn():
    random = np.random.default_rng(2)
    scores, labels = random.integers(0, 30, 400), random.random(400) < 0.3
    assert auc_of(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_a_uniform_log_sampled_uniformly_gives_nothing_away():
    log, items = positives(3, exponent=0.0)
    found = probed(log, items, popular_share=0, excluded="request")
    assert found.all_rows.low < 0.5 < found.all_rows.high
    assert abs(found.all_rows.value - 0.5) < 0.03 and not found.warnings()


def test_uniform_non_clicks_of_an_unequal_log_are_told():
    log, items = positives(4, exponent=1.5)
    found = probed(log, items, popular_share=0, excluded="request")
    (warning,) = found.warnings()
    assert found.all_rows.low > 0.75
    assert "can be learnt without content" in warning and "positives of the item so far" in warning


def test_never_what_one_had_is_told_where_users_come_back():
    log, items = positives(5, exponent=0.5, repeats=0.7)
    ever = probed(log, items, popular_share=0.5, excluded="ever")
    request = probed(log, items, popular_share=0.5, excluded="request")
    assert any("whether the user had it before" in warning for warning in ever.warnings())
    assert ever.all_rows.low > request.all_rows.high


def test_cold_items_that_popular_draws_never_reach_are_told():
    log, items = positives(6, exponent=0.3)
    found = probed(log, items, popular_share=1.0, excluded="request")
    assert found.cold is not None and found.cold.count < found.all_rows.count
    assert found.single["positives of the item so far"] < 0.5


def test_too_few_rows_say_nothing():
    log, items = positives(7, num_rows=30)
    found = probed(log, items)
    assert found.all_rows is None and not found.warnings()
