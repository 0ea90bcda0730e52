"""Random effects of paths: REML against the literal likelihood, whitening against its definition."""

import numpy as np
import pytest
from scipy import optimize

from exchange_rate.estimation.lines import fit_line
from exchange_rate.estimation.mixed import Whitening, common_share
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.sandwich import Clusters

NOTHING = Noise(*[np.zeros((8, 8))] * 3, False)
CODE = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])


def covariance(share, code=CODE):
    return np.eye(len(code)) + share / (1 - share) * (code[:, None] == code)


def literal_deviance(share, design, outcome):
    """-2 times the restricted log-likelihood (Patterson and Thompson 1971) by whole matrices, the error's variance profiled out."""
    inverse = np.linalg.inv(covariance(share))
    products = design.T @ inverse @ design
    rest = outcome - design @ np.linalg.solve(products, design.T @ inverse @ outcome)
    logs = [np.linalg.slogdet(one)[1] for one in (covariance(share), products)]
    return sum(logs) + (len(outcome) - design.shape[1]) * np.log(rest @ inverse @ rest)


@pytest.mark.parametrize("seed", range(6))
def test_the_common_share_is_where_the_restricted_likelihood_is_highest(seed):
    random = np.random.default_rng(seed)
    design = np.column_stack([np.ones(12), random.normal(0, 1, 12)])
    outcome = random.normal(0, 1, 12) + 1.5 * random.normal(0, 1, 5)[CODE]
    best = optimize.minimize_scalar(
        literal_deviance, bounds=(0, 0.99), args=(design, outcome), method="bounded"
    )
    most = 7 / 9  # seven encoders beyond the first of their path
    assert common_share(design, outcome, Clusters.of(CODE)) == pytest.approx(min(best.x, most), abs=2e-3)  # fmt: skip


def test_a_pair_that_lies_on_one_height_by_luck_is_not_the_whole_line():
    """Seven paths with a slope of 1 and one pair of checkpoints without: the pair alone would say 0."""
    metric = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    outcome = metric + 0.05 * np.array([1.0, -1, 1, -1, 1, -1, 0, 0])
    outcome[7] = outcome[6]
    code = np.array([0, 1, 2, 3, 4, 5, 6, 6])
    fit = fit_line(metric, outcome, NOTHING, Clusters.of(code))
    assert fit is not None and fit.slope.value > 0.7
    free = fit_line(metric, outcome, NOTHING, Clusters.of(code), 0.99)
    assert free is not None and free.slope.value < 0.5


def test_paths_of_one_encoder_have_nothing_in_common():
    random = np.random.default_rng(0)
    design = np.column_stack([np.ones(6), np.arange(6.0)])
    assert common_share(design, random.normal(0, 1, 6), Clusters.of(np.arange(6))) == 0


def test_whitening_makes_the_working_model_independent():
    white = Whitening(0.6, Clusters.of(CODE))(np.eye(12))
    assert np.allclose(white @ covariance(0.6) @ white.T, np.eye(12))
