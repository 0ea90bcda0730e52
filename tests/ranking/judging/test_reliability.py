"""The calibration curve against a literal loop and against the calibration error it belongs to."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest

from moon_rec.errors import RankingError
from ranking.judging.judgement import evaluate
from ranking.judging.reliability import calibration_curve
from ranking.metrics import calibration, score_bins


def rows(seed=0, users=200, each=10, lift=0.0):
    """Probabilities, clicks drawn from them (raised by `lift` of the user's own), users."""
    random = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), each)
    chances = random.beta(1, 6, size=user.size)
    moved = np.clip(chances + lift * random.normal(size=users)[user], 0, 1)
    return (random.random(user.size) < moved).astype(int), chances, user


def test_points_are_those_of_the_sorted_rows_cut_into_ten():
    labels, chances, users = rows()
    found = calibration_curve(labels, chances, users, num_resamples=20)
    parts = np.array_split(np.argsort(chances), 10)
    assert found.counts == (200,) * 10
    assert found.predictions == pytest.approx([chances[part].mean() for part in parts])
    assert found.rates == pytest.approx([labels[part].mean() for part in parts])
    ends = zip(found.lows, found.rates, found.highs, strict=True)
    assert all(low <= rate <= high for low, rate, high in ends)


def test_the_calibration_error_is_the_curves_distance_from_the_diagonal_less_its_noise():
    labels, chances, users = rows(1, lift=0.5)
    chances = chances.round(2)  # ties share a bin, so bins differ in size
    found = calibration_curve(labels, chances, users, num_resamples=2)
    gaps = np.subtract(found.predictions, found.rates)
    assert len(set(found.counts)) > 1
    by_curve = np.dot(found.counts, gaps**2) / labels.size
    error = calibration(labels, chances, groups=users).error
    noise = sum(
        users.max() * np.var(np.bincount(users, (chances - labels) * (bins == bin)), ddof=1) / count
        for bins in [score_bins(chances, 10)]
        for bin, count in zip(np.unique(bins), found.counts, strict=True)
    )
    assert error**2 == pytest.approx(by_curve - noise * 200 / 199 / labels.size)


def test_intervals_cover_the_truth_also_where_users_click_alike():
    """Right probabilities, then users with luck of their own, for which binomial intervals are too short."""
    right = alike = total = 0
    for seed in range(30):
        for lift in (0.0, 0.1):
            labels, chances, users = rows(seed, lift=lift)
            found = calibration_curve(labels, chances, users, num_resamples=100, seed=seed)
            # the highest bins are clipped least: luck up and down is alike there
            inside = [
                low <= mean <= high
                for low, mean, high in zip(
                    found.lows[6:9], found.predictions[6:9], found.highs[6:9], strict=True
                )
            ]
            right += sum(inside) * (lift == 0)
            alike += sum(inside) * (lift > 0)
        total += 3
    assert right / total > 0.88
    assert alike / total > 0.8


@pytest.mark.parametrize("factor", [1.0, 1.5], ids=["calibrated", "promises half more"])
def test_the_interval_of_the_calibration_error_holds_its_value_and_the_truth(factor):
    """60 draws of 80 users; the truth from many more."""

    def drawn(seed, users):
        labels, chances, user = rows(seed, users=users)
        return labels, np.minimum(chances * factor, 1), user

    labels, chances, user = drawn(999, 30_000)
    truth = calibration(labels, chances, groups=user).error if factor > 1 else 0.0
    inside = 0
    for seed in range(60):
        labels, chances, user = drawn(seed, 80)
        scores = pl.DataFrame(
            {"request_id": user, "item_id": np.arange(user.size), "user_id": user,
             "label": labels, "score": chances, "is_cold": np.zeros(user.size, bool)}
        )  # fmt: skip
        warm = evaluate(scores, num_resamples=120, seed=seed)["calibration_error"]
        assert warm.low <= warm.value <= warm.high
        inside += warm.low <= truth <= warm.high
    assert inside >= 52  # binomial of 60 at .95: sd 1.7


def test_a_bin_of_too_few_users_has_a_rate_and_no_interval():
    labels, chances, _ = rows(3)
    found = calibration_curve(labels, chances, np.arange(labels.size) % 12, num_resamples=5)
    assert np.isnan(found.lows).all() and np.isnan(found.highs).all()
    assert np.isfinite(found.rates).all()


def test_equal_predictions_are_one_point_and_one_class_is_allowed():
    found = calibration_curve(np.zeros(40), np.full(40, 0.25), np.arange(40), num_resamples=5)
    assert (found.counts, found.predictions, found.rates) == ((40,), (0.25,), (0.0,))


@pytest.mark.parametrize("label", [0, 1])
def test_a_bin_of_no_click_or_of_all_has_the_interval_of_wilson(label):
    users = np.arange(120) // 3
    found = calibration_curve(np.full(120, label), np.full(120, 0.25), users, num_resamples=5)
    known = binomtest(label * 40, 40).proportion_ci(method="wilson")
    assert (found.lows[0], found.highs[0]) == pytest.approx((known.low, known.high), abs=1e-9)
    assert found.highs[0] - found.lows[0] > 0.05


def test_what_is_wrong_is_named():
    with pytest.raises(RankingError, match="sigmoid"):
        calibration_curve(np.array([0, 1]), np.array([0.1, 3.0]), np.array([0, 1]))
    with pytest.raises(RankingError, match="num_bins 0"):
        calibration_curve(np.array([0, 1]), np.array([0.1, 0.3]), np.array([0, 1]), num_bins=0)
