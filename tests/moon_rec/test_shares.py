"""Intervals of shares: SciPy's Wilson where it applies, never without width, groups counted as what they are worth."""

import numpy as np
import pytest
from scipy import stats

from moon_rec.shares import effective_count, mean_share, ratio_of_shares, wilson


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(
    ("right", "count"), [(0, 1), (0, 3), (3, 3), (1, 7), (50, 100), (999, 1000)]
)
def test_wilsons_interval_is_scipys(right, count, level):
    theirs = stats.binomtest(right, count).proportion_ci(level, method="wilson")
    assert wilson(right / count, count, level) == pytest.approx(tuple(theirs), abs=1e-12)
    values = np.arange(count) < right
    ours = mean_share(values, level)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=1e-12)
    assert ours.value == pytest.approx(right / count) and ours.count == count


def test_none_of_three_and_three_of_three_are_no_certainty():
    none, all_ = mean_share(np.zeros(3)), mean_share(np.ones(3))
    assert (none.low, none.high) == pytest.approx((0, 0.5615), abs=1e-4)
    assert (all_.low, all_.high) == pytest.approx((0.4385, 1), abs=1e-4)
    assert none.low == 0 and all_.high == 1  # to the bit
    assert none.standard_error == pytest.approx(0.5615 / 3.92, abs=1e-4)


def test_a_share_of_nothing_is_nan():
    assert np.isnan(wilson(0.0, 0)).all()
    assert np.isnan(mean_share(np.empty(0)).standard_error)


def test_values_that_are_all_alike_have_an_interval_that_narrows_with_their_number():
    widths = [2 * mean_share(np.full(n, 0.3)).standard_error for n in (3, 30, 300, 3000)]
    assert all(width > 0 for width in widths)
    # no spread seen: the width falls as 1 / n, ten times faster than 1 / sqrt(n) would have it
    assert widths[2] / widths[3] == pytest.approx(10, rel=0.05)


def test_values_between_are_worth_more_than_hits_and_never_less():
    random = np.random.default_rng(0)
    values = random.beta(2, 2, 400)
    own, hits = mean_share(values), mean_share(random.random(400) < values.mean())
    # Beta(2, 2) has a variance of 1 / 20 where 0-or-1 values have 1 / 4
    assert own.standard_error == pytest.approx(np.sqrt(1 / 20 / 400), rel=0.1)
    assert own.standard_error < hits.standard_error


def test_copies_of_searches_by_one_user_are_worth_one():
    values = np.random.default_rng(1).random(200) < 0.4
    once = mean_share(values)
    users = np.repeat(np.arange(200), 20)
    copied = mean_share(np.repeat(values, 20), groups=users)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), rel=0.01)
    blind = mean_share(np.repeat(values, 20))
    assert blind.standard_error == pytest.approx(copied.standard_error / np.sqrt(20), rel=0.02)


def test_all_searches_of_one_user_are_one_value_and_each_its_own_user_are_many():
    values = np.arange(50) % 2
    one = mean_share(values, groups=np.zeros(50))
    assert (one.low, one.high) == pytest.approx(tuple(map(float, wilson(0.5, 1))))
    assert mean_share(values, groups=np.arange(50)) == mean_share(values)
    # the names of users and the order of searches are nothing
    drawn = np.random.default_rng(2).permutation(50)
    users = np.arange(50) // 5
    found, again = mean_share(values, groups=users), mean_share(values[drawn], groups=-users[drawn])
    assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=1e-12)


def test_an_effective_count_divides_by_the_design_effect():
    # Kish 1965: 100 groups of 5, alike by r, have 1 + 4 r times the variance
    share, effect = 0.5, 1 + 4 * 0.3
    variance = share * (1 - share) * effect / 500
    assert effective_count(share, variance, 500, 100, 5.0) == pytest.approx(500 / effect, rel=0.03)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-3.0, 5.0)])
def test_bounds_only_change_the_scale(bounds):
    values, width = np.random.default_rng(3).random(40), bounds[1] - bounds[0]
    plain, scaled = mean_share(values), mean_share(bounds[0] + width * values, bounds=bounds)
    assert (scaled.low, scaled.high) == pytest.approx(
        (bounds[0] + width * plain.low, bounds[0] + width * plain.high)
    )


def test_a_ratio_agrees_with_the_bootstrap_where_there_are_many():
    random = np.random.default_rng(4)
    below = random.random(2000) < 0.6
    above = below & (random.random(2000) < 0.3)
    found = ratio_of_shares(above, below)
    rows = random.integers(0, 2000, (1000, 2000))
    drawn = above[rows].mean(axis=1) / below[rows].mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.006)
    same = ratio_of_shares(below, below)  # paired: a ratio of independent shares would vary by .03
    assert same.value == 1 and 0.995 < same.low < 1 < same.high < 1.005
    chance = ratio_of_shares(above, below, less=(0.05, 0.05))
    assert chance.value == pytest.approx((above.mean() - 0.05) / (below.mean() - 0.05))


def test_a_ratio_of_few_is_no_certainty_and_one_over_nothing_has_no_end():
    none = ratio_of_shares(np.zeros(3), np.ones(3))
    assert none.value == none.low == 0 and none.high > 0.5
    endless = ratio_of_shares(np.ones(3), np.zeros(3))
    assert endless.value == endless.high == np.inf and 0 < endless.low < 1
    assert np.isnan(ratio_of_shares(np.zeros(3), np.zeros(3)).low)
