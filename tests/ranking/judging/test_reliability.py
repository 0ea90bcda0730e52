"""The calibration curve against a literal loop and against the calibration error it belongs to."""

import numpy as np
import pytest

from moon_rec.errors import RankingError
from ranking.judging.reliability import calibration_curve
from ranking.metrics import calibration


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


def test_the_calibration_error_is_the_curves_distance_from_the_diagonal():
    labels, chances, users = rows(1)
    chances = chances.round(2)  # ties share a bin, so bins differ in size
    found = calibration_curve(labels, chances, users, num_resamples=2)
    gaps = np.abs(np.subtract(found.predictions, found.rates))
    assert len(set(found.counts)) > 1
    by_curve = np.dot(found.counts, gaps) / labels.size
    assert by_curve == pytest.approx(calibration(labels, chances).error, abs=1e-12)


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


def test_equal_predictions_are_one_point_and_one_class_is_allowed():
    found = calibration_curve(np.zeros(40), np.full(40, 0.25), np.arange(40), num_resamples=5)
    assert (found.counts, found.predictions, found.rates) == ((40,), (0.25,), (0.0,))


def test_what_is_wrong_is_named():
    with pytest.raises(RankingError, match="sigmoid"):
        calibration_curve(np.array([0, 1]), np.array([0.1, 3.0]), np.array([0, 1]))
    with pytest.raises(RankingError, match="num_bins 0"):
        calibration_curve(np.array([0, 1]), np.array([0.1, 0.3]), np.array([0, 1]), num_bins=0)
