"""The bootstrap over users against naive resampling, and what its interval promises."""

import time

import numpy as np
import pytest
from scipy import stats

import ranking
from moon_rec.errors import RankingError
from ranking.judging.resampling import (
    WeightedAuc,
    WeightedRatio,
    interval,
    user_resamples,
    weighted_calibration,
    weighted_gauc,
    weighted_normalised_entropy,
)
from ranking.metrics import auc, calibration, gauc, normalised_entropy
from ranking.significance import Question, answer, compare_seeds


def simulate(seed, users=60, rows_per_user=12, edge=0.0):
    """Scores of two rankers, the second with less noise by `edge`; users differ in click rate and luck."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), rows_per_user)
    true = random.normal(size=user.size) + random.normal(size=users)[user]
    labels = (random.random(user.size) < 1 / (1 + np.exp(1 - true))).astype(int)
    luck = random.normal(size=(2, users))[:, user]
    noise = random.normal(size=(2, user.size)) + luck
    return labels, true + noise[0], true + (1 - edge) * noise[1], user


def repeated(labels, scores, users, weights):
    """The rows of a resample written out, each user's rows as often as it was drawn."""
    rows = np.repeat(np.arange(labels.size), weights[users].astype(int))
    return labels[rows], scores[rows], users[rows]


def test_weighted_statistics_are_those_of_the_rows_written_out():
    labels, scores, _, users = simulate(0)
    scores = np.round(scores, 1)  # ties
    fast = WeightedAuc(labels, scores, users)
    grouped = weighted_gauc(labels, scores, users, "impressions")
    chances = 1 / (1 + np.exp(-scores))
    ratio, error = weighted_calibration(labels, chances, users)
    entropy = weighted_normalised_entropy(labels, chances, users)
    for weights in user_resamples(60, 20, seed=3):
        drawn = repeated(labels, scores, users, weights)
        assert fast.value(weights) == pytest.approx(auc(drawn[0], drawn[1]), abs=1e-12)
        drawn_chances = repeated(labels, chances, users, weights)[1]
        assert ratio.value(weights) == pytest.approx(drawn_chances.sum() / drawn[0].sum())
        by_hand = normalised_entropy(drawn[0], drawn_chances)
        assert entropy.value(weights) == pytest.approx(by_hand, abs=1e-12)
        total = sum(
            weights[user]
            * gauc(labels[users == user], scores[users == user], users[users == user]).value
            * 12
            for user in range(60)
            if 0 < labels[users == user].sum() < 12
        )
        count = sum(
            weights[user] * 12 for user in range(60) if 0 < labels[users == user].sum() < 12
        )
        assert grouped.value(weights) == pytest.approx(total / count, abs=1e-12)
    whole = calibration(labels, chances, groups=users)
    assert error.value(np.ones(60)) == pytest.approx(whole.error, abs=1e-12)


def test_compare_is_paired_and_signed():
    labels, a, b, users = simulate(1, edge=0.5)
    found = ranking.compare(labels, a, b, users, num_resamples=300)
    assert found.value == pytest.approx(auc(labels, b) - auc(labels, a), abs=1e-12)
    assert found.low < found.value < found.high
    back = ranking.compare(labels, b, a, users, num_resamples=300)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    same = ranking.compare(labels, a, a + 3, users, num_resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_interval_does_not_depend_on_row_order_or_user_names():
    labels, a, b, users = simulate(2, edge=0.3)
    found = ranking.compare(labels, a, b, users, num_resamples=50)
    order = np.random.default_rng(0).permutation(labels.size)
    names = np.array([f"user {number:03}" for number in range(60)])
    again = ranking.compare(
        labels[order], a[order], b[order], names[users][order], num_resamples=50
    )
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_interval_covers_the_true_difference():
    """Two rankers of equal quality: zero must be inside about 95 times of 100."""
    inside = 0
    for seed in range(120):
        labels, a, b, users = simulate(100 + seed)
        found = ranking.compare(labels, a, b, users, num_resamples=120, seed=seed)
        inside += found.low <= 0 <= found.high
    # binomial of 120 at .95: sd 2.4; a row-wise bootstrap covers far less here
    assert 106 <= inside <= 120


def test_gauc_and_log_loss_can_be_compared():
    labels, a, b, users = simulate(3, edge=0.6)
    by_users = ranking.compare(labels, a, b, users, metric="gauc", weight="users", num_resamples=50)
    difference = gauc(labels, b, users, "users").value - gauc(labels, a, users, "users").value
    assert by_users.value == pytest.approx(difference, abs=1e-12)
    chances = [1 / (1 + np.exp(-scores)) for scores in (a, b)]
    assert ranking.compare(labels, *chances, users, metric="log_loss", num_resamples=50).value < 0


def test_seeds_are_averaged_and_their_spread_is_told():
    labels, a, b, users = simulate(4, edge=0.4)
    a2, b2 = a + 0.1 * np.sin(np.arange(a.size)), b + 0.2 * np.cos(np.arange(a.size))
    found = compare_seeds(labels, [a, a2], [b, b2], users, num_resamples=50)
    each = [auc(labels, b) - auc(labels, a), auc(labels, b2) - auc(labels, a2)]
    assert found.seed_values == pytest.approx(each)
    assert found.value == pytest.approx(np.mean(each))
    assert found.seed_spread == pytest.approx(np.std(each, ddof=1))


def seeds_of(random, edge, num_seeds, users=60, rows_per_user=12):
    """Labels and users, and scores of A and B a seed; seeds of a side differ in noise and in its size."""
    user = np.repeat(np.arange(users), rows_per_user)
    true = random.normal(size=user.size) + random.normal(size=users)[user]
    labels = (random.random(user.size) < 1 / (1 + np.exp(1 - true))).astype(int)
    own = random.normal(size=(2, user.size))
    sides = [
        [
            true + weak * own[side] + size * random.normal(size=user.size)
            for size in np.exp(random.normal(size=num_seeds) * 0.4)
        ]
        for side, weak in enumerate((1.0, 1.0 - edge))
    ]
    return labels, sides[0], sides[1], user


def test_the_interval_over_users_and_seeds_covers_where_that_over_users_does_not():
    """Ways of training of equal quality, three seeds each: zero belongs into 95 of 100 wide intervals."""
    narrow = wide = 0
    for seed in range(100):
        data = seeds_of(np.random.default_rng(500 + seed), 0.0, 3)
        found = compare_seeds(*data, num_resamples=80, seed=seed)
        assert found.wide_low <= found.low and found.high <= found.wide_high
        narrow += found.low <= 0 <= found.high
        wide += found.wide_low <= 0 <= found.wide_high
    assert narrow < 85 < 90 <= wide


def test_variances_of_users_and_seeds_are_told_apart():
    """Differences with planted variances: shared 4, each 9, seeds .05; 40 users, 4 seeds, 300 times."""
    random = np.random.default_rng(8)
    found = []
    for _ in range(300):
        shared = random.normal(size=40) * 2
        each = random.normal(size=(4, 40)) * 3 + random.normal(size=(4, 1)) * 0.05**0.5
        ones = np.ones(40)
        nothing = [WeightedRatio(np.zeros(40), ones)] * 4
        parts = [WeightedRatio(shared + one, ones) for one in each]
        one = answer({"": Question(nothing, parts, 40, "")}, 40, 100)[""]
        parts = one.standard_error**2, one.seed_standard_error**2, one.seed_spread**2
        found.append([(4 * parts[0] - parts[1]) / 3, parts[1], parts[2]])
    covariance, single, spread = np.mean(found, axis=0)
    # a bootstrap over n users is short by (n - 1) / n
    assert covariance == pytest.approx(4 / 40 * 39 / 40, rel=0.08)
    assert single == pytest.approx(13 / 40 * 39 / 40, rel=0.05)
    assert spread == pytest.approx(0.05 + 9 / 40, rel=0.1)


@pytest.mark.parametrize("num_users", [1, 2, 5, 19, 20])
@pytest.mark.parametrize("metric", ["auc", "gauc", "log_loss", "normalised_entropy"])
@pytest.mark.parametrize("num_seeds", [1, 3])
def test_below_twenty_counted_users_there_is_no_interval_and_no_verdict(
    num_users, metric, num_seeds
):
    labels, a, b, users = simulate(11, users=num_users, rows_per_user=40, edge=0.9)
    a, b = (1 / (1 + np.exp(-scores)) for scores in (a, b))
    found = compare_seeds(labels, [a] * num_seeds, [b] * num_seeds, users, metric, 60)
    assert found.counted == num_users and np.isfinite(found.value)
    if num_users == 20:
        assert found.low < found.high and "no interval" not in found.verdict
        return
    assert np.isnan([found.low, found.high, found.wide_low, found.wide_high]).all()
    words = f"no interval: {num_users} counted user{'s' * (num_users > 1)}, 20 needed"
    assert found.verdict == words and words in str(found)
    assert not (found.is_shown or found.is_significant or found.is_shown_at(0.5))


def test_the_interval_is_the_expanded_percentile_one():
    values = np.random.default_rng(0).normal(size=4000)
    for counted in (20, 50, 100_000):
        c = stats.t(counted - 1).ppf(0.975) * (counted / (counted - 1)) ** 0.5
        by_hand = np.quantile(values, stats.norm.cdf([-c, c]))
        assert interval(values, 0.95, counted) == pytest.approx(tuple(by_hand))
    plain = np.quantile(values, [0.025, 0.975])
    assert interval(values, 0.95, 100_000) == pytest.approx(tuple(plain), rel=3e-3)


def test_gauc_without_a_user_of_both_classes_is_named():
    with pytest.raises(RankingError, match="none of 2 users has both"):
        ranking.compare(
            np.array([0, 0, 1]), np.ones(3), np.ones(3), np.array([1, 1, 2]), metric="gauc"
        )


def test_errors():
    labels, a, b, users = simulate(5)
    with pytest.raises(RankingError, match="metric 'ndcg'"):
        ranking.compare(labels, a, b, users, metric="ndcg")
    with pytest.raises(RankingError, match="2 seeds of A and 1 of B"):
        compare_seeds(labels, [a, a], [b], users)
    with pytest.raises(RankingError, match="num_resamples 0"):
        ranking.compare(labels, a, b, users, num_resamples=0)
    with pytest.raises(RankingError, match="all 720 labels are 0"):
        ranking.compare(labels * 0, a, b, users)


def test_many_rows_are_fast():
    labels, a, b, users = simulate(6, users=4000, rows_per_user=25)
    started = time.process_time()
    ranking.compare(labels, a, b, users, num_resamples=100)
    assert time.process_time() - started < 3  # 0.2 s on one core; naive resampling takes 10
