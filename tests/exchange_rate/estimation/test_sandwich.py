"""Cluster-robust intervals against literal matrices, one cluster at a time."""

import numpy as np
import pytest
from scipy import linalg

from exchange_rate.estimation.sandwich import Clusters, RobustFit

CODE = np.array([0, 2, 1, 1, 0, 2, 2, 3, 4, 0, 3, 5])


def data(seed=0, code=CODE):
    random = np.random.default_rng(seed)
    count = len(code)
    design = np.column_stack([np.ones(count), random.normal(0, 1, count)])
    return design, random.normal(0, 1, count), code


def literal(design, outcome, code, contrast):
    """Bell and McCaffrey's error, Satterthwaite's degrees of freedom, and the w_g, by whole matrices."""
    inverse = np.linalg.inv(design.T @ design)
    rest = np.eye(len(design)) - design @ inverse @ design.T
    residuals = rest @ outcome
    weights = design @ inverse @ contrast
    reach, variance = [], 0.0
    for cluster in range(code.max() + 1):
        rows = np.flatnonzero(code == cluster)
        adjust = np.linalg.inv(np.real(linalg.sqrtm(rest[np.ix_(rows, rows)])))
        variance += (weights[rows] @ adjust @ residuals[rows]) ** 2
        reach.append(rest[:, rows] @ adjust @ weights[rows])
    overlap = np.array(reach) @ np.array(reach).T
    freedom = np.trace(overlap) ** 2 / np.sum(overlap**2)
    return np.sqrt(variance), freedom, np.array(reach), weights


@pytest.mark.parametrize("code", [CODE, np.arange(12)], ids=["paths", "each its own"])
@pytest.mark.parametrize("contrast", [(0.0, 1.0), (1.0, -0.4)])
def test_error_and_degrees_of_freedom_equal_the_literal_ones(code, contrast):
    design, outcome, code = data(code=code)
    error, freedom, _, _ = literal(design, outcome, code, np.array(contrast))
    found = RobustFit.of(design, outcome, Clusters.of(code)).figure(np.array(contrast))
    assert found.error == pytest.approx(error)
    is_own = len(set(code.tolist())) == len(code)
    assert found.freedom == pytest.approx(2 / (1 / freedom + 1 / 10) if is_own else freedom)


@pytest.mark.parametrize("code", [CODE, np.arange(12)], ids=["paths", "each its own"])
def test_noise_shared_by_clusters_is_added_as_far_as_residuals_do_not_show_it(code):
    design, outcome, code = data(1, code)
    draws = np.random.default_rng(2).normal(0, 1, (30, 12)) + 2 * np.outer(
        np.random.default_rng(3).normal(0, 1, 30), design[:, 1]
    )
    noise = np.cov(draws.T)
    fit = RobustFit.of(design, outcome, Clusters.of(code))
    contrast = np.array([0.0, 1.0])
    error, _, reach, weights = literal(design, outcome, code, contrast)
    beyond = weights @ noise @ weights - sum(one @ noise @ one for one in reach)
    assert beyond > 0
    assert fit.figure(contrast, noise).error == pytest.approx(np.sqrt(error**2 + beyond))


@pytest.mark.parametrize(
    "noise", [np.eye(12), np.ones((12, 12)), np.eye(12) + 5 * np.ones((12, 12))]
)
@pytest.mark.parametrize("code", [CODE, np.arange(12)], ids=["paths", "each its own"])
def test_noise_that_residuals_show_or_that_shifts_all_alike_adds_nothing(noise, code):
    design, outcome, code = data(4, code)
    fit, contrast = RobustFit.of(design, outcome, Clusters.of(code)), np.array([0.0, 1.0])
    assert fit.figure(contrast, noise).error == pytest.approx(fit.figure(contrast).error)


def test_noise_that_shifts_all_alike_is_in_the_interval_of_the_height():
    design, outcome, code = data(5)
    fit, contrast = RobustFit.of(design, outcome, Clusters.of(code)), np.array([1.0, 0.0])
    plain, shifted = fit.figure(contrast), fit.figure(contrast, 3 * np.ones((12, 12)))
    assert shifted.error**2 - plain.error**2 == pytest.approx(3)


def test_the_error_is_unbiased_where_the_working_model_holds():
    design, _, code = data(6)
    random = np.random.default_rng(7)
    squares = [
        RobustFit.of(design, random.normal(0, 1, 12), Clusters.of(code))
        .figure(np.array([0.0, 1.0]))
        .error
        ** 2
        for _ in range(2000)
    ]
    true = np.linalg.inv(design.T @ design)[1, 1]
    assert np.mean(squares) == pytest.approx(true, rel=4 * np.std(squares) / true / 2000**0.5)


def test_order_of_rows_does_not_matter():
    design, outcome, code = data(8)
    order = np.random.default_rng(9).permutation(12)
    contrast = np.array([0.0, 1.0])
    plain = RobustFit.of(design, outcome, Clusters.of(code)).figure(contrast)
    moved = RobustFit.of(design[order], outcome[order], Clusters.of(code[order])).figure(contrast)
    assert (moved.value, moved.error, moved.freedom) == pytest.approx(
        (plain.value, plain.error, plain.freedom)
    )
