"""The noise-corrected slope against its formula, and what shared noise does to it."""

import numpy as np
import pytest

from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.lines import SMALL_SAMPLE, fit_line, is_within_noise
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.sandwich import Clusters
from exchange_rate.estimation.split_users import split_users
from exchange_rate.estimation.verdict import judge


def noise_of(seed, count, shared=0.0, scale=0.3):
    """Covariances of noise in both axes that lean on each other, as draws of users give them."""
    random = np.random.default_rng(seed)
    common = random.normal(0, shared**0.5, (200, 2, 1))
    draws = scale * (common + random.normal(0, (1 - shared) ** 0.5, (200, 2, count)))
    joint = np.cov(np.hstack([draws[:, 0], draws[:, 1] + 0.5 * draws[:, 0]]).T)
    return Noise(joint[:count, :count], joint[count:, count:], joint[:count, count:], True)


def test_the_slope_is_the_corrected_ratio():
    """(x'My - tr(M Sxy)) / (x'Mx - tr(M Sxx)), by whole matrices, the noise less Fuller's two degrees of freedom."""
    random = np.random.default_rng(0)
    code = np.repeat(np.arange(5), 2)
    metric, outcome, noise = random.normal(0, 1, 10), random.normal(0, 1, 10), noise_of(1, 10)
    line = fit_line(metric, outcome, noise, Clusters.of(code), share=0.4)
    assert line is not None
    inverse = np.linalg.inv(np.eye(10) + 0.4 / 0.6 * (code[:, None] == code))
    one = np.ones(10)
    m = inverse - np.outer(inverse @ one, one @ inverse) / (one @ inverse @ one)
    values, vectors = np.linalg.eigh(m)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    own = root @ noise.metric @ root
    ease = 1 - SMALL_SAMPLE * np.sum(own**2) / np.trace(own) ** 2
    top = metric @ m @ outcome - np.trace(m @ noise.both)
    slope = top / (metric @ m @ metric - ease * np.trace(m @ noise.metric))
    assert line.slope.value == pytest.approx(slope)
    height = one @ inverse @ (outcome - slope * metric) / (one @ inverse @ one)
    assert line.intercept.value == pytest.approx(height)


@pytest.mark.parametrize("shared", [0.0, 0.6, 0.8])
def test_shared_noise_is_not_corrected_for_and_the_slope_is_unbiased(shared):
    """The plain slope is flat by the noise that is not shared; the one that takes all noise for unshared is too steep by what is."""
    random = np.random.default_rng(int(100 * shared))
    count, u, slopes, naive = 14, 0.35, [], []
    for _ in range(400):
        true = random.normal(0, 1, count)
        own = u * (shared**0.5 * random.normal() + (1 - shared) ** 0.5 * random.normal(0, 1, count))
        metric, outcome = true + own, 0.2 * true + random.normal(0, 0.05, count)
        covariance = u**2 * ((1 - shared) * np.eye(count) + shared)
        none = np.zeros((count, count))
        for found, one in ((slopes, covariance), (naive, u**2 * np.eye(count))):
            line = fit_line(
                metric, outcome, Noise(one, none, none, True), Clusters.of(np.arange(count))
            )
            assert line is not None
            found.append(line.slope.value)
    assert np.mean(slopes) == pytest.approx(0.2, rel=0.03)
    if shared:
        assert np.mean(naive) > 0.2 * (1 + shared * u**2 * 0.7)


def test_noise_of_points_without_draws_has_the_share_that_is_said():
    points = gather_points(
        [0.1, 0.5, 0.9],
        [0.6, 0.7, 0.8],
        list("abc"),
        metric_error=[0.1, 0.2, 0.1],
        shared_noise=0.5,
    )
    noise = Noise.of(points)
    assert noise.metric == pytest.approx(
        np.array([[0.01, 0.01, 0.005], [0.01, 0.04, 0.01], [0.005, 0.01, 0.01]])
    )
    assert not noise.is_drawn
    equal = gather_points([0.1, 0.9], [0.6, 0.7], list("ab"), metric_error=0.1, shared_noise=0.5)
    assert Noise.of(equal).shared == pytest.approx(0.5)


def test_noise_of_draws_is_their_covariance():
    random = np.random.default_rng(3)
    metric, outcome = random.normal(0, 1, (50, 3)), random.normal(0, 1, (50, 3))
    draws = Draws(("b", "a", "c"), metric, outcome)
    points = gather_points(
        [0.1, 0.5, 0.9], [0.6, 0.7, 0.8], list("abc"), metric_error=9.0, draws=draws
    )
    noise = Noise.of(points)
    joint = np.cov(np.hstack([metric, outcome])[:, [1, 0, 2, 4, 3, 5]].T)
    assert np.allclose(noise.metric, joint[:3, :3]) and np.allclose(noise.both, joint[:3, 3:])
    assert np.allclose(noise.outcome, joint[3:, 3:]) and noise.is_drawn


def test_a_spread_within_shared_noise_is_still_told_from_it():
    metric = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    none = np.zeros((6, 6))
    large = 0.3**2
    assert is_within_noise(metric, Noise(large * np.eye(6), none, none, True), 0.95)
    shared = Noise(large * (0.02 * np.eye(6) + 0.98), none, none, True)
    assert not is_within_noise(metric, shared, 0.95)


def test_split_users_need_no_noise_model():
    """Figures of two halves of the users share no noise; the mean of their noise is that of the whole."""
    random = np.random.default_rng(4)
    count, splits, found = 30, 20, []
    for _ in range(40):
        true = random.normal(0, 1, count)
        x_noise, y_noise = random.normal(0, 0.5, count), random.normal(0, 0.02, count)
        y_noise += 0.03 * x_noise
        x, y = true + x_noise, 0.2 * true + random.normal(0, 0.03, count) + y_noise
        away = random.normal(0, 0.5, (splits, count))
        also = random.normal(0, 0.02, (splits, count)) + 0.03 * away
        names = tuple(f"e{row}" for row in range(count))
        whole = [np.repeat(one[None], 20, axis=0) for one in (x, y)]
        halves = [
            np.stack([one + part, one - part], axis=1) for one, part in ((x, away), (y, also))
        ]
        points = gather_points(
            x, y, names, draws=Draws(names, whole[0], whole[1], halves[0], halves[1])
        )
        judged = judge(points, Noise.of(points), 0.95, "")
        assert judged is not None
        check = split_users(points, judged.line, judged.slope)
        assert check is not None
        found.append((check.value, np.cov(x, y)[0, 1] / np.var(x, ddof=1)))
    split, plain = np.mean(found, axis=0)
    assert split == pytest.approx(0.2, abs=0.008) and plain < 0.185
