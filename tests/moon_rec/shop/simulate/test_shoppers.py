"""Tastes: standardised, in part shared, drifting."""

import numpy as np
import pytest

from moon_rec.shop.simulate.shoppers import Shoppers


@pytest.fixture(scope="module")
def asked(world):
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(world.config.num_users), 3)
    return users, rng.integers(len(world.catalogue), size=(len(users), 40))


def taste(shoppers, asked, day):
    users, rows = asked
    return shoppers.taste(users, rows, np.full(len(users), float(day)))


def test_tastes_are_about_standard_normal(world, asked):
    for day in (0, 15, 30):
        values = taste(world.shoppers, asked, day)
        assert abs(values.mean()) < 0.15
        assert values.std() == pytest.approx(1.0, abs=0.1)


def test_taste_is_the_sum_over_traits(world, asked):
    """At the first moment, by a literal loop."""
    users, rows = asked
    shoppers, got = world.shoppers, taste(world.shoppers, asked, 0)
    for line in (0, 17, 200):
        for slot in (0, 5):
            total, offset = 0.0, 0
            for k, trait in enumerate(world.catalogue.traits):
                total += shoppers._first[
                    users[line], offset + world.catalogue.codes[rows[line, slot], k]
                ]
                offset += len(trait.values)
            assert got[line, slot] == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(("drift", "expected"), [(0.0, 1.0), (0.5, np.cos(np.pi / 4)), (1.0, 0.0)])
def test_tastes_turn_as_far_as_asked(catalogue, config, asked, drift, expected):
    shoppers = Shoppers(catalogue, config.model_copy(update={"drift": drift}))
    first, last = taste(shoppers, asked, 0), taste(shoppers, asked, config.days)
    assert np.corrcoef(first.ravel(), last.ravel())[0, 1] == pytest.approx(expected, abs=0.08)


def test_a_segment_shares_tastes(world):
    rng = np.random.default_rng(2)
    rows = np.repeat(rng.integers(len(world.catalogue), size=(1, 400)), 300, axis=0)
    values = world.shoppers.taste(np.arange(300), rows, np.zeros(300))
    correlation = np.corrcoef(values)
    same = world.shoppers.segment[:300, None] == world.shoppers.segment[None, :300]
    off = ~np.eye(300, dtype=bool)
    assert correlation[same & off].mean() > correlation[~same].mean() + 0.2


def test_likeness_is_the_weighted_share_of_common_traits(world):
    traits, codes = world.catalogue.traits, world.catalogue.codes
    wanted, rows = np.array([3, 50]), np.array([[3, 4, 9], [1, 50, 60]])
    got = world.shoppers.likeness(rows, wanted)
    for line in range(2):
        for slot in range(3):
            common = sum(
                t.weight
                for k, t in enumerate(traits)
                if codes[rows[line, slot], k] == codes[wanted[line], k]
            )
            assert got[line, slot] == pytest.approx(common / sum(t.weight for t in traits))
    assert got[0, 0] == got[1, 1] == pytest.approx(1.0)


def test_the_price_fit_is_standardised_and_best_at_the_liked_price(world, asked):
    users, rows = asked
    fit = world.shoppers.price_fit(users, rows)
    assert abs(fit.mean()) < 0.15 and fit.std() == pytest.approx(1.0, abs=0.15)
    away = np.abs(world.shoppers.price[rows] - world.shoppers.price_level[users][:, None])
    assert np.corrcoef(fit.ravel(), away.ravel())[0, 1] == pytest.approx(-1.0)
