"""Proxy quality and blends against literal formulas; chances of being best; intervals that cover."""

import itertools

import numpy as np
import pytest

from exchange_rate.estimation.blends import RIDGES, blend_weights, left_out_scores
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.leave_out import left_out_errors, squared_errors
from exchange_rate.estimation.proxies import (
    Sample,
    best_weights,
    chances_of_best,
    covariances,
    noise_of,
    proxy_quality,
    qualities,
)

PATHS = np.array([0, 0, 1, 2, 2, 2, 3])


def sample(random, codes, num_metrics=1, strength=1.0, noise=0.0):
    quality = random.normal(0, 1, len(codes))
    metrics = strength * quality[:, None] + random.normal(0, 1, (len(codes), num_metrics))
    outcome = quality + noise * random.normal(0, 1, len(codes))
    return Sample(metrics, outcome, codes, noise**2, np.zeros(num_metrics))


def test_quality_of_two_metrics_is_the_formula_written_out():
    """q = w'L_PN / sqrt(L_NN w'(L_PP + X)w), Tripuraneni et al. 2023, with every sum written out."""
    latent = [[2.0, 0.5, 0.9], [0.5, 1.0, 0.4], [0.9, 0.4, 0.8]]
    noise = [[0.3, 0.1], [0.1, 0.2]]
    spread = 9 * 2.3 + 2 * 3 * -2 * 0.6 + 4 * 1.2  # w = (3, -2)
    wanted = (3 * 0.9 - 2 * 0.4) / np.sqrt(0.8 * spread)
    assert proxy_quality([3, -2], latent, noise) == pytest.approx(wanted)


def test_best_weights_of_two_metrics_are_the_closed_form_and_none_are_better():
    latent = np.array([[2.0, 0.5, 0.9], [0.5, 1.0, 0.4], [0.9, 0.4, 0.8]])
    noise = np.array([[0.3, 0.1], [0.1, 0.2]])
    # the inverse of [[2.3, .6], [.6, 1.2]] times (.9, .4), without its determinant
    wanted = np.array([1.2 * 0.9 - 0.6 * 0.4, 2.3 * 0.4 - 0.6 * 0.9])
    found = best_weights(latent, noise)
    np.testing.assert_allclose(found, wanted / wanted.sum())
    most = proxy_quality(found, latent, noise)
    for angle in np.linspace(0, np.pi, 50):
        assert abs(proxy_quality([np.cos(angle), np.sin(angle)], latent, noise)) <= most + 1e-12


def test_quality_of_a_study_is_the_formula_on_pairs_of_different_paths():
    random = np.random.default_rng(0)
    study = sample(random, PATHS, noise=0.2)
    study = Sample(study.metrics, study.outcome, PATHS, 0.04, np.array([0.01]))
    pairs = [
        (one, two) for one, two in itertools.combinations(range(7), 2) if PATHS[one] != PATHS[two]
    ]

    def covariance(first, second):
        return np.mean([(first[a] - first[b]) * (second[a] - second[b]) / 2 for a, b in pairs])

    x, y = study.metrics[:, 0], study.outcome
    latent = [
        [covariance(x, x), covariance(x, y) - 0.01],
        [covariance(x, y) - 0.01, covariance(y, y) - 0.04],
    ]
    # covariance(x, x) holds the metric's noise already: L_PP + X
    assert qualities(study, 0.95).value[0] == pytest.approx(proxy_quality([1], latent, [[0]]))


def test_pairs_of_encoders_on_their_own_give_the_usual_covariance():
    study = sample(np.random.default_rng(1), np.arange(7))
    found = covariances(study, np.ones((1, 7)))
    wanted = np.cov(study.metrics[:, 0], study.outcome)
    assert found.metric[0, 0] == pytest.approx(wanted[0, 0])
    assert (found.cross[0, 0], found.outcome[0]) == pytest.approx((wanted[0, 1], wanted[1, 1]))


def test_noise_of_the_outcome_is_taken_out_of_quality_and_that_of_the_metric_stays():
    random, found = np.random.default_rng(2), []
    for _ in range(200):
        found.append(qualities(sample(random, np.arange(40), noise=0.5), 0.95).value[0])
    # metric = quality + noise of the same size: q = 1 / sqrt(2); with the outcome's noise in, 1 / sqrt(2 * 1.25) = .63
    assert np.mean(found) == pytest.approx(2**-0.5, abs=0.01)


@pytest.mark.parametrize(("paths", "each"), [(6, 1), (12, 1), (6, 3)])
def test_the_interval_of_a_quality_covers_the_truth(paths, each):
    random, covered = np.random.default_rng(3), 0
    codes = np.repeat(np.arange(paths), each)
    for _ in range(400):
        of_path = random.normal(0, 0.8, (2, paths))[:, codes]
        quality, other = of_path + random.normal(0, 0.6, (2, len(codes)))
        metric = 0.8 * quality + 0.6 * other
        found = qualities(Sample(metric[:, None], quality, codes, 0.0, np.zeros(1)), 0.95)
        covered += bool(found.low[0] <= 0.8 <= found.high[0])
    assert covered / 400 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)


def test_an_outcome_that_varies_by_its_noise_alone_has_no_quality():
    random = np.random.default_rng(4)
    found = qualities(
        Sample(
            random.normal(size=(8, 2)), random.normal(0, 0.1, 8), np.arange(8), 0.01, np.zeros(2)
        ),
        0.95,
    )
    assert np.isnan(found.value).all() and "not told from its own noise" in found.reason


def test_noise_that_all_encoders_share_is_no_noise():
    """Draws of users that lift all encoders alike; own noise .2 of the metric, .1 of the outcome, correlated by .5."""
    random = np.random.default_rng(5)
    lift = random.normal(0, 5, (4000, 1))
    own = random.multivariate_normal([0, 0], [[0.04, 0.01], [0.01, 0.01]], (4000, 6))
    names = tuple("abcdef")
    outcome, shared = noise_of(Draws(names, lift + own[..., 0], lift + own[..., 1]))
    assert (outcome, shared) == pytest.approx((0.01, 0.01), rel=0.05)


def test_chances_of_being_best_sum_to_one_and_twins_share_theirs():
    random = np.random.default_rng(6)
    study = sample(random, PATHS, num_metrics=3, strength=2.0)
    twins = Sample(
        np.hstack([study.metrics, study.metrics]), study.outcome, PATHS, 0.0, np.zeros(6)
    )
    chances = chances_of_best(twins, seed=0)
    assert chances.sum() == pytest.approx(1)
    np.testing.assert_allclose(chances[:3], chances[3:])
    again = chances_of_best(twins, seed=0)
    np.testing.assert_array_equal(chances, again)


def test_blend_of_two_metrics_is_the_closed_form():
    """(R + ridge I)^-1 r with R = [[1, c], [c, 1]]: weights in the ratio r1 (1 + ridge) - c r2 to r2 (1 + ridge) - c r1."""
    study = sample(np.random.default_rng(7), np.arange(20), num_metrics=2, strength=2.0)
    found = blend_weights(study)
    c = np.corrcoef(study.metrics[:, 0], study.metrics[:, 1])[0, 1]
    r1, r2 = (np.corrcoef(metric, study.outcome)[0, 1] for metric in study.metrics.T)
    size = 1 + found.ridge
    wanted = np.array([r1 * size - c * r2, r2 * size - c * r1])
    np.testing.assert_allclose(found.values, wanted / np.abs(wanted).sum())


@pytest.mark.parametrize("codes", [np.arange(9), np.array([0, 0, 0, 1, 1, 2, 3, 4, 4])])
def test_the_ridge_has_the_smallest_error_without_each_path_in_a_literal_loop(codes):
    study = sample(np.random.default_rng(8), codes, num_metrics=3)
    x = (study.metrics - study.metrics.mean(0)) / study.metrics.std(0)
    sizes = []
    for ridge in RIDGES:
        total = 0.0
        for path in range(codes.max() + 1):
            kept = codes != path
            # least squares with a penalty of ridge times all encoders, intercept free
            design = np.hstack([np.ones((kept.sum(), 1)), x[kept]])
            penalty = np.diag([0.0, *[ridge * len(codes)] * 3])
            weights = np.linalg.solve(design.T @ design + penalty, design.T @ study.outcome[kept])
            total += np.sum((study.outcome[~kept] - weights[0] - x[~kept] @ weights[1:]) ** 2)
        sizes.append(total)
    assert blend_weights(study).ridge == RIDGES[int(np.argmin(sizes))]


def test_a_blend_of_noisy_copies_predicts_better_than_each():
    study = sample(np.random.default_rng(9), np.arange(24), num_metrics=6)
    scores, errors = left_out_scores(study, seed=0)
    alone = left_out_errors(study.metrics[:, 0], study.outcome, study.codes)
    assert alone is not None
    assert np.sqrt(np.mean(errors**2)) < 0.8 * np.sqrt(np.mean(alone[0] ** 2))
    assert np.corrcoef(scores, study.outcome)[0, 1] > 0.8


def test_a_blend_is_never_judged_on_encoders_whose_siblings_it_has_seen():
    """An outcome that is its path's own luck: siblings give it away, other paths say nothing."""
    random = np.random.default_rng(10)
    codes = np.repeat(np.arange(8), 4)
    luck = random.normal(0, 1, 8)[codes]
    marks = np.eye(8)[codes] + random.normal(0, 0.01, (32, 8))
    _, errors = left_out_scores(Sample(marks, luck, codes, 0.0, np.zeros(8)), seed=0)
    assert np.mean(errors**2) > 0.9 * np.mean((luck - luck.mean()) ** 2)


@pytest.mark.parametrize("codes", [np.arange(7), PATHS])
def test_left_out_errors_of_many_metrics_and_outcomes_are_those_of_a_loop(codes):
    random = np.random.default_rng(11)
    metrics, outcomes = random.normal(size=(7, 3)), random.normal(size=(7, 4))
    found = squared_errors(metrics, outcomes, codes)
    for column, target in itertools.product(range(3), range(4)):
        line, mean = 0.0, 0.0
        for path in range(codes.max() + 1):
            kept = codes != path
            x, y = metrics[:, column], outcomes[:, target]
            slope, start = np.polyfit(x[kept], y[kept], 1)
            line += np.sum((y[~kept] - start - slope * x[~kept]) ** 2)
            mean += np.sum((y[~kept] - y[kept].mean()) ** 2)
        assert found.line[column, target] == pytest.approx(line)
        assert found.mean[target] == pytest.approx(mean)
        one = left_out_errors(metrics[:, column], outcomes[:, target], codes)
        assert one is not None and np.sum(one[0] ** 2) == pytest.approx(line)
