"""The power table: its formula, its shape, and a simulation in which the planted effect is found as often as it says."""

import functools
from dataclasses import replace
from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from moon_rec.errors import RankingError
from ranking.comparison import half_width
from ranking.judging.noise import MIN_USERS, Noise, noise_of_one_ranker
from ranking.judging.power import power_table, power_text
from ranking.metrics import auc
from ranking.significance import compare_seeds

NOISE = Noise(shared=2.0, each=1.0, seeds=1e-7, num_users=1000, num_seeds=3, of="AUC")
amounts = st.floats(1e-3, 10)


def test_the_power_is_that_of_t_where_seeds_are_all_and_of_z_where_they_are_nothing():
    alone = Noise(0.0, 0.0, 1.0, 100, 3, "")
    for seeds in (2, 3, 5, 10):
        difference = alone.smallest_difference(inf, seeds)
        bar, away = stats.t(seeds - 1).ppf(0.975), stats.nct(seeds - 1, difference * seeds**0.5)
        assert away.sf(bar) + away.cdf(-bar) == pytest.approx(0.8, abs=1e-3)
        assert alone.power(0.0, inf, seeds) == pytest.approx(0.05, abs=1e-3)
    # 1.95996 + 0.84162 standard errors; variance 2 / 1000
    known = Noise(2.0, 0.0, 0.0, 1000, 3, "")
    assert known.smallest_difference(1000, 4) == pytest.approx(2.80159 * 0.002**0.5, rel=1e-5)
    one = replace(known, seeds=float("nan"))
    assert one.smallest_difference(1000, 1) == pytest.approx(2.80159 * 0.002**0.5, rel=1e-5)


def test_the_power_is_how_often_the_verdict_is_found_in_the_model():
    """Drawn differences, each judged by the interval that verdicts are made with: .80, whatever the seeds."""
    random = np.random.default_rng(4)
    for seeds in (2, 3, 5, 10):
        for shared, each, between in ((1.0, 0.0, 1.0), (0.3, 0.3, 1.0), (4.0, 1.0, 0.5)):
            noise = Noise(shared * 100, each * 100, between, 100, seeds, "")
            planted = noise.smallest_difference(100, seeds)
            shape = (20_000, seeds)
            found = planted + random.normal(size=(20_000, 1)) * shared**0.5
            found = found + random.normal(size=shape) * (each + between) ** 0.5
            half = half_width(shared + each / seeds, each, found.var(axis=1, ddof=1), seeds, 0.95)
            # sd .003
            assert np.mean(np.abs(found.mean(axis=1)) > half) == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.13), (3, 0.08), (5, 0.06), (10, 0.055)])
def test_a_verdict_errs_as_often_as_is_said(seeds, most):
    """At a difference of zero, whatever makes the noise; two seeds are said to err more."""
    errors = [
        Noise(shared * 100, each * 100, 1.0, 100, seeds, "").power(0.0, 100, seeds)
        for shared in (0, 0.01, 0.03, 0.1, 0.3, 1, 10)
        for each in (0, 0.1, 1, 10)
    ]
    assert most - 0.015 < max(errors) < most


def test_there_is_no_verdict_to_plan_for_with_one_seed_or_too_few_users():
    assert NOISE.smallest_difference(10**6, 1) == inf and NOISE.users_needed(1.0, 1) is None
    assert NOISE.smallest_difference(MIN_USERS - 1, 5) == inf
    nothing = Noise(0.0, 0.0, 0.0, 1000, 3, "")
    assert nothing.users_needed(0.001, 3) == MIN_USERS
    assert nothing.smallest_difference(1000, 3) == 0


@given(amounts, amounts, st.floats(0, 1e-6), st.integers(2, 12), st.floats(1e-3, 0.1))
@settings(max_examples=25)
def test_the_users_needed_are_just_enough(shared, each, seeds, num_seeds, difference):
    noise = Noise(shared, each, seeds, 100, 3, "")
    users = noise.users_needed(difference, num_seeds)
    if users is None:
        assert noise.power(difference, inf, num_seeds) < 0.8
        return
    assert noise.smallest_difference(users, num_seeds) <= difference * (1 + 1e-6)
    if users > MIN_USERS:
        assert noise.smallest_difference(users - 1, num_seeds) > difference * (1 - 1e-6)


@given(amounts, amounts, st.floats(0, 1), st.integers(MIN_USERS, 10**6), st.integers(5, 30))
@settings(max_examples=25)
def test_more_users_or_seeds_never_show_less(shared, each, seeds, users, num_seeds):
    noise = Noise(shared, each, seeds, 100, 3, "")
    now = noise.smallest_difference(users, num_seeds)
    assert noise.smallest_difference(2 * users, num_seeds) < now * 1.01
    assert noise.smallest_difference(users, num_seeds + 1) < now
    assert noise.smallest_difference(users, num_seeds, power=0.9) > now
    assert noise.cautious().smallest_difference(users, num_seeds) >= now * (1 - 1e-6)


def test_two_seeds_may_show_less_on_more_users_and_the_table_says_so():
    noise = replace(NOISE, seeds=1e-4)
    assert noise.smallest_difference(inf, 2) > 2 * noise.smallest_difference(20_000, 2)
    assert "more users show less with so few seeds" in power_text(power_table(noise))
    assert "more users show less" not in power_text(power_table(noise, seeds=(5, 10)))


def test_seed_noise_can_make_it_impossible_and_says_so():
    noise = replace(NOISE, seeds=1e-6)
    needed = noise.seeds_needed(0.001)
    # the one-sample t test at 80 % of a difference of one standard deviation: 10 by the textbooks
    assert needed == 10
    assert noise.users_needed(0.001, needed - 1) is None
    assert noise.users_needed(0.001, needed) is not None
    text = power_text(power_table(noise))
    assert "never" in text and "with 10 seeds enough users" in text
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


@functools.cache
def mean_auc(edge):
    """Of B, on many users and seeds."""
    labels, _, b, _ = rankers(np.random.default_rng(77), 2500, 6, edge)
    return np.mean([auc(labels, one) for one in b])


def gain(edge):
    """What `edge` is worth in AUC: B with it minus B without, all else equal."""
    return mean_auc(edge) - mean_auc(0.0)


def test_an_effect_of_the_smallest_difference_is_shown_four_times_in_five():
    """Noise from a pilot of 600 users and 30 seeds; 150 trials of 240 users and 4 seeds, by the verdict itself."""
    pilot = rankers(np.random.default_rng(5), 600, 30)
    noise = Noise.of_comparison(compare_seeds(*pilot, num_resamples=150))
    users, num_seeds = 240, 4
    smallest = noise.smallest_difference(users, num_seeds)
    ends = [0.0, 1.0]
    for _ in range(9):
        edge = sum(ends) / 2
        ends[int(gain(edge) > smallest)] = edge
    assert gain(edge) == pytest.approx(smallest, rel=0.02)
    shown = {}
    for planted in (edge, 0.0):
        shown[planted] = sum(
            compare_seeds(
                *rankers(np.random.default_rng(1000 + trial), users, num_seeds, planted),
                num_resamples=60,
            ).is_shown
            for trial in range(150)
        )
    # of 150: sd .033 at 80 %, .018 at 5 %; the pilot's own error moves the rate by about as much
    assert shown[edge] / 150 == pytest.approx(0.8, abs=0.08)
    assert shown[0.0] / 150 == pytest.approx(0.05, abs=0.045)


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
        NOISE.smallest_difference(100, 2, power=1)
    few = compare_seeds(*rankers(np.random.default_rng(0), 12, 2), num_resamples=5)
    with pytest.raises(RankingError, match=r"no power table of AUC.*: 11 counted users, 20 needed"):
        Noise.of_comparison(few)
    with pytest.raises(RankingError, match="difference 0"):
        NOISE.users_needed(0, 1)
    with pytest.raises(RankingError, match="users 0"):
        NOISE.smallest_difference(0, 1)
