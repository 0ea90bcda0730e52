"""Requests: what is shown, clicked and bought comes as planned."""

import hypothesis
import hypothesis.extra.numpy
import numpy as np
import pytest
from hypothesis import strategies

from moon_rec.shop.simulate.requests import BOTH, IMAGE, World, _bias, _clock, _distinct


@pytest.fixture(scope="module")
def requests(world):
    """More requests of the same world than its pilot saw, from another stream."""
    rng = np.random.default_rng(3)
    return world.requests(np.sort(rng.random(8_000)), rng)


def bought(world, requests):
    """(requests, slots) expected purchases."""
    return world.click_probability(requests) * world.purchase_probability(requests) * requests.shown


def test_searches_by_photo_buy_as_planned(world, requests, config):
    photo = np.isin(requests.kind, (IMAGE, BOTH))
    amount = bought(world, requests)[photo]
    rows, wanted = requests.rows[photo], requests.wanted[photo][:, None]
    same_spu = world.catalogue.spu_ids[rows] == world.catalogue.spu_ids[wanted]
    of_wanted, of_sibling = amount[rows == wanted].sum(), amount[same_spu & (rows != wanted)].sum()
    assert of_wanted / amount.sum() == pytest.approx(config.buys_wanted, abs=0.03)
    assert of_sibling / amount.sum() == pytest.approx(config.buys_sibling, abs=0.03)
    assert amount.sum() / photo.sum() == pytest.approx(config.purchases_per_search, abs=0.04)


def test_other_shares_are_followed_too(catalogue, config):
    other = config.model_copy(update={"buys_wanted": 0.3, "buys_sibling": 0.1, "buys_near": 0.6})
    world = World(catalogue, other)
    rng = np.random.default_rng(4)
    sample = world.requests(np.sort(rng.random(4_000)), rng)
    amount = bought(world, sample) * sample.is_search[:, None]
    assert amount[sample.rows == sample.wanted[:, None]].sum() / amount.sum() == pytest.approx(
        0.3, abs=0.03
    )


def test_probabilities_are_probabilities(world, requests):
    for values in (world.click_probability(requests), world.purchase_probability(requests)):
        assert values.min() >= 0 and values.max() <= 1


def test_the_wanted_product_is_shown_as_often_as_planned(requests, config):
    shown = (requests.rows == requests.wanted[:, None]) & requests.shown
    assert shown.any(axis=1)[requests.is_search].mean() == pytest.approx(
        config.share_wanted_shown, abs=0.03
    )


def test_wanted_products_suit_their_shopper(world, requests):
    taste = world.shoppers.taste(
        requests.users, requests.wanted[:, None], requests.searched_at / 86_400_000_000
    )
    assert taste.mean() > 1.0


def test_what_the_wanted_product_is_matters_only_after_a_search(world, requests):
    probability = world.click_probability(requests)
    wanted = (requests.rows == requests.wanted[:, None]) & requests.shown
    searched, browsed = (
        probability[wanted & kind[:, None]].mean()
        for kind in (requests.is_search, ~requests.is_search)
    )
    assert searched > browsed + 0.1


def test_no_item_twice_in_a_request(requests):
    for rows, shown in zip(requests.rows[:500], requests.shown[:500], strict=True):
        assert len(set(rows[shown])) == shown.sum()


@hypothesis.given(
    rows=hypothesis.extra.numpy.arrays(np.int64, (4, 9), elements=strategies.integers(-1, 6)),
    count=strategies.integers(1, 9),
)
def test_distinct_is_the_literal_loop(rows, count):
    kept, shown = _distinct(rows, count)
    for line in range(len(rows)):
        expected = [row for row in dict.fromkeys(rows[line].tolist()) if row >= 0][:count]
        assert kept[line][shown[line]].tolist() == expected
        assert shown[line].sum() == len(expected)


@hypothesis.given(rate=strategies.floats(0.01, 0.9), scale=strategies.floats(0.0, 4.0))
def test_the_bias_gives_the_rate(rate, scale):
    logits = scale * np.random.default_rng(0).standard_normal(500)
    assert (1 / (1 + np.exp(-(logits + _bias(logits, rate))))).mean() == pytest.approx(
        rate, abs=1e-6
    )


def test_the_clock_keeps_the_order_and_the_days():
    when = np.sort(np.random.default_rng(0).random(5_000))
    time = _clock(when, 30)
    assert (np.diff(time) >= 0).all() and time.min() >= 0 and time.max() < 30 * 86_400_000_000
    assert (time // 86_400_000_000 == np.floor(when * 30)).all()
    hour = time // 3_600_000_000 % 24
    assert np.bincount(hour).max() > 1.8 * np.bincount(hour).min()
