"""Checkpoints of one training are one path: slopes within and between, and the verdict that asks for both."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from exchange_rate import fit_exchange_rate
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.rate import fit_points


def study(random, paths=8, each=3, within=0.2, between=0.2, effect=0.02, scatter=0.005):
    """Metric, AUC, encoders and paths; the metric varies by .2 between paths and .1 within."""
    code = np.repeat(np.arange(paths), each)
    means, steps = random.normal(0.4, 0.2, paths), random.normal(0, 0.1, paths * each)
    steps -= (np.bincount(code, weights=steps) / each)[code]
    auc = 0.6 + between * means[code] + within * steps + effect * random.normal(0, 1, paths)[code]
    auc += random.normal(0, scatter, len(code))
    return means[code] + steps, auc, np.arange(len(code)), code


def test_within_and_between_equal_their_literal_slopes():
    metric, auc, encoder, path = study(np.random.default_rng(0))
    found = fit_exchange_rate(metric, auc, encoder, path=path).paths
    means = [column.reshape(8, 3).mean(axis=1) for column in (metric, auc)]
    across: Any = stats.linregress(*means)
    along: Any = stats.linregress(metric - np.repeat(means[0], 3), auc - np.repeat(means[1], 3))
    assert found.between.value == pytest.approx(across.slope)
    assert found.within.value == pytest.approx(along.slope)
    assert found.difference.value == pytest.approx(along.slope - across.slope)
    assert found.num_paths == 8 and 0 < found.share < 1


def test_a_rate_that_is_another_within_paths_is_not_identified():
    metric, auc, encoder, path = study(np.random.default_rng(1), within=0.5, effect=0.0)
    fit = fit_exchange_rate(metric, auc, encoder, path=path)
    assert fit.paths.disagree and fit.verdict == "not identified"
    assert "along paths" in fit.reason and "are told apart" in fit.reason
    same = study(np.random.default_rng(1), within=0.2, effect=0.002)
    fit = fit_exchange_rate(*same[:3], path=same[3])
    assert fit.verdict == "identified" and "not told apart" in fit.paths.text


def test_six_encoders_on_two_paths_are_never_identified():
    metric, auc, encoder, path = study(np.random.default_rng(2), paths=2, effect=0.0, scatter=0.0)
    fit = fit_exchange_rate(metric, auc, encoder, path=path)
    assert fit.verdict == "not identified" and np.isnan(fit.slope)
    assert fit.reason.startswith("2 paths: the 6 encoders are checkpoints of 2 trainings")
    assert fit.paths.within.value == pytest.approx(0.2)  # what they do tell is printed


@pytest.mark.parametrize(("paths", "studies"), [(4, 150), (8, 150)])
def test_checkpoints_without_a_rate_are_seldom_identified(paths, studies):
    """Counted as independent encoders they were in 13 to 32 % of studies."""
    random = np.random.default_rng(paths)
    wrong = 0
    for _ in range(studies):
        metric, auc, encoder, path = study(random, paths, within=0, between=0)
        points = gather_points(metric, auc, encoder, path=path)
        wrong += fit_points(points, leave_out="until told").verdict == "identified"
    assert wrong <= 0.06 * studies


def test_a_path_that_decides_the_verdict_is_named():
    """No one of its three checkpoints does: the two others stand for it."""
    metric, auc, encoder, path = study(np.random.default_rng(0), effect=0.01, scatter=0.02)
    last = path == 7
    names = [f"run {one}" for one in path]
    fit = fit_exchange_rate(metric + 0.4 * last, auc + 0.08 * last, encoder, path=names)
    assert fit.verdict == "rests on one path" and "without the path 'run 7'" in fit.reason
    assert [(one.what, one.name) for one in fit.influence.changes] == [("path", "run 7")]
    whole = fit.influence.changes[0]
    assert whole.verdict == "not identified" and whole.slope.low < 0 < whole.slope.high
