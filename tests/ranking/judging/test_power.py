"""The power table: its formula, its shape, and a simulation in which the planted effect is found as often as it says."""

from dataclasses import replace
from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from moon_rec.errors import RankingError
from ranking.judging.power import (
    Noise,
    noise_of_one_ranker,
    power_table,
    power_text,
    standard_errors,
)
from ranking.metrics import auc
from ranking.significance import compare_seeds

NOISE = Noise(shared=2.0, each=1.0, seeds=1e-7, num_users=1000, num_seeds=3, of="AUC")
amounts = st.floats(1e-3, 10)


def test_the_formula_by_hand():
    # 1.95996 + 0.84162; variance 2 / 1000 + 1e-7 / 4 + 1 / 4000
    assert standard_errors() == pytest.approx(2.80159, abs=1e-5)
    assert NOISE.smallest_difference(1000, 4) == pytest.approx(2.80159 * 0.00225002**0.5, rel=1e-5)
    assert NOISE.smallest_difference(inf, 1) == pytest.approx(2.80159 * 1e-7**0.5, rel=1e-5)


@given(amounts, amounts, st.floats(0, 1e-6), st.integers(1, 12), st.floats(1e-3, 0.1))
def test_the_users_needed_are_just_enough(shared, each, seeds, num_seeds, difference):
    noise = Noise(shared, each, seeds, 100, 3, "")
    users = noise.users_needed(difference, num_seeds)
    if users is None:
        assert noise.smallest_difference(inf, num_seeds) >= difference
        return
    assert noise.smallest_difference(users, num_seeds) <= difference * (1 + 1e-9)
    if users > 1:
        assert noise.smallest_difference(users - 1, num_seeds) > difference


@given(amounts, amounts, st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 50))
def test_more_users_or_seeds_never_show_less(shared, each, seeds, users, num_seeds):
    noise = Noise(shared, each, seeds, 100, 3, "")
    now = noise.smallest_difference(users, num_seeds)
    assert noise.smallest_difference(2 * users, num_seeds) < now
    assert noise.smallest_difference(users, num_seeds + 1) < now
    assert noise.smallest_difference(users, num_seeds, power=0.9) > now
    assert noise.cautious().smallest_difference(users, num_seeds) >= now


def test_seed_noise_can_make_it_impossible_and_says_so():
    noise = replace(NOISE, seeds=1e-6)
    needed = noise.seeds_needed(0.001)
    assert needed == 8  # more than 2.80159^2 = 7.849
    assert noise.users_needed(0.001, needed - 1) is None
    assert noise.users_needed(0.001, needed) is not None
    text = power_text(power_table(noise))
    assert "never" in text and "it takes 8 seeds" in text
    assert "standard deviation 0.00100" in text


def test_the_upper_limit_of_seed_noise_covers_it_eight_times_in_ten():
    random = np.random.default_rng(1)
    spreads = random.normal(size=(4000, 3)).std(axis=1, ddof=1)
    limits = [Noise(0, 0, spread**2, 10, 3, "").seed_deviation_at(0.8) for spread in spreads]
    assert np.mean(np.array(limits) >= 1) == pytest.approx(0.8, abs=0.02)


def test_one_seed_measures_no_seed_noise_and_says_so():
    labels, a, b, users = rankers(np.random.default_rng(0), 60, 1)
    noise = Noise.of_comparison(compare_seeds(labels, a, b, users, num_resamples=50))
    assert isnan(noise.seeds) and noise.each == 0 and noise.shared > 0
    assert noise.seeds_needed(0.001) is None
    table = power_table(noise)
    assert table.seeds == (1,) and inf not in table.users
    assert "seed noise is not measured" in power_text(table)


def rankers(random, users, num_seeds, edge=0.0, rows_per_user=12):
    """Labels, scores of A and B a seed, users. Each side has faults that all its seeds share, each seed
    noise of its own, more or less of it; `edge` takes away some of B's faults."""
    user = np.repeat(np.arange(users), rows_per_user)
    true = random.normal(size=user.size) + random.normal(size=users)[user]
    labels = (random.random(user.size) < 1 / (1 + np.exp(1 - true))).astype(int)
    faults = random.normal(size=(2, user.size))
    sizes = np.exp(0.12 * random.normal(size=(2, num_seeds)))
    noise = random.normal(size=(2, num_seeds, user.size)) * sizes[:, :, None]
    a = true + faults[0] + noise[0]
    b = true + (1 - edge) * faults[1] + noise[1]
    return labels, list(a), list(b), user


def test_the_wider_interval_has_the_variance_that_the_table_plans_with():
    found = compare_seeds(*rankers(np.random.default_rng(2), 150, 4), num_resamples=100)
    variance = Noise.of_comparison(found).variance(150, 4)
    of_seeds = found.seed_spread**2 / 4
    half = stats.t(3 * (variance / of_seeds) ** 2).ppf(0.975) * variance**0.5
    assert found.seed_variance > 0
    assert (found.wide_low, found.wide_high) == pytest.approx(
        (min(found.low, found.value - half), max(found.high, found.value + half)), rel=1e-9
    )
    assert found.wide_low < found.low


def gain(edge):
    """What `edge` is worth in AUC: B with it minus B without, all else equal, on many users and seeds."""
    found = []
    for values in (edge, 0.0):
        labels, _, b, _ = rankers(np.random.default_rng(77), 2500, 6, values)
        found.append(np.mean([auc(labels, one) for one in b]))
    return found[0] - found[1]


def test_an_effect_of_the_smallest_difference_is_shown_four_times_in_five():
    """Noise from a pilot of 600 users and 30 seeds; 300 trials of 240 users and 4 seeds, by the z test."""
    pilot = rankers(np.random.default_rng(5), 600, 30)
    noise = Noise.of_comparison(compare_seeds(*pilot, num_resamples=150))
    users, num_seeds = 240, 4
    smallest = noise.smallest_difference(users, num_seeds)
    ends = [0.0, 1.0]
    for _ in range(9):
        edge = sum(ends) / 2
        ends[int(gain(edge) > smallest)] = edge
    assert gain(edge) == pytest.approx(smallest, rel=0.02)
    bar = 1.959964 * noise.variance(users, num_seeds) ** 0.5
    shown = {}
    for planted in (edge, 0.0):
        shown[planted] = 0
        for trial in range(300):
            labels, a, b, _ = rankers(
                np.random.default_rng(1000 + trial), users, num_seeds, planted
            )
            mean = np.mean([auc(labels, y) - auc(labels, x) for x, y in zip(a, b, strict=True)])
            shown[planted] += abs(mean) > bar
    # of 300: sd .023 at 80 %, .013 at 5 %; the pilot's own error moves the rate by about as much
    assert shown[edge] / 300 == pytest.approx(0.8, abs=0.06)
    assert shown[0.0] / 300 == pytest.approx(0.05, abs=0.035)


def test_a_ranker_against_itself_foretells_the_noise_of_equal_rankers():
    """A and B of one kind, nothing shared: seeds of A alone give the variance of B minus A."""
    random = np.random.default_rng(3)
    labels, a, _, users = rankers(random, 400, 24)
    noise = noise_of_one_ranker(labels, a, users, num_resamples=150)
    assert noise.shared == 0
    differences = [auc(labels, a[seed]) - auc(labels, a[seed + 12]) for seed in range(12)]
    foretold = noise.variance(400, 1) ** 0.5
    # from 12 differences: within a factor of 1.6 nineteen times of twenty
    assert 1 / 1.6 < np.std(differences, ddof=1) / foretold < 1.6
    with pytest.raises(RankingError, match="1 seed of one ranker"):
        noise_of_one_ranker(labels, a[:1], users)


def test_the_table_holds_the_measured_users_and_infinitely_many():
    table = power_table(NOISE, users=(10, 5000), seeds=(1, 2))
    assert table.users == (10, 1000, 5000, inf)
    assert table.differences[1][1] == NOISE.smallest_difference(1000, 2)
    assert table.as_dict()["users"][-1] is None
    assert "<- these" in power_text(table).splitlines()[3]


def test_errors():
    with pytest.raises(RankingError, match="power 1"):
        standard_errors(power=1)
    with pytest.raises(RankingError, match="difference 0"):
        NOISE.users_needed(0, 1)
    with pytest.raises(RankingError, match="users 0"):
        NOISE.smallest_difference(0, 1)
