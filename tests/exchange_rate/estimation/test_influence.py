"""Who is in the study: untrained encoders, encoders that decide, encoders far off."""

import numpy as np
import pytest

from exchange_rate import fit_exchange_rate
from exchange_rate.estimation.influence import far_group
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.rate import fit_points

NAMES = [f"encoder {row}" for row in range(9)]


@pytest.mark.parametrize("is_marked", [True, False])
def test_two_untrained_encoders_far_off_identify_nothing_among_five_unrelated_ones(is_marked):
    """They did in 341 of 400 studies: left out one at a time, each covers for the other."""
    random = np.random.default_rng(int(is_marked))
    wrong, studies = 0, 200
    for _ in range(studies):
        metric = np.concatenate([random.normal(0.05, 0.02, 2), random.normal(0.6, 0.05, 5)])
        auc = np.concatenate([random.normal(0.6, 0.003, 2), random.normal(0.66, 0.005, 5)])
        trained = [False, False, *[True] * 5] if is_marked else None
        points = gather_points(metric, auc, NAMES[:7], is_trained=trained)
        wrong += fit_points(points, leave_out="until told").verdict == "identified"
    assert wrong <= 0.06 * studies


def test_the_headline_is_that_of_trained_encoders_and_the_rate_of_all_stands_beside_it():
    random = np.random.default_rng(3)
    metric = np.concatenate([[0.02, 0.05], np.linspace(0.4, 0.7, 7)])
    auc = np.where(metric < 0.1, 0.55, 0.6 + 0.1 * metric) + random.normal(0, 0.001, 9)
    trained = metric > 0.1
    fit = fit_exchange_rate(metric, auc, NAMES, is_trained=trained.tolist())
    alone = fit_exchange_rate(metric[trained], auc[trained], NAMES[2:])
    every = fit_exchange_rate(metric, auc, NAMES)
    assert (fit.slope, fit.low, fit.high) == (alone.slope, alone.low, alone.high)
    assert fit.untrained == ("encoder 0", "encoder 1") and fit.num_encoders == 7
    assert fit.all_encoders is not None and fit.all_encoders.value == pytest.approx(every.slope)
    assert "trained encoders" in fit.definition and alone.all_encoders is None


def test_leaving_out_keeps_the_verdict_and_not_only_the_sign():
    """Without the one far encoder the slope has the same sign and says nothing."""
    metric = [0.30, 0.32, 0.34, 0.36, 0.38, 0.40, 0.9]
    auc = [0.612, 0.606, 0.614, 0.608, 0.616, 0.610, 0.66]
    fit = fit_exchange_rate(metric, auc, list("abcdefg"))
    without = {one.name: one for one in fit.influence.left_out}
    assert without["g"].slope.value > 0 and without["g"].verdict == "not identified"
    assert fit.verdict != "identified" and len(without) == 7
    assert fit.influence.low == pytest.approx(min(one.slope.value for one in without.values()))


def test_the_sign_of_a_slope_that_is_not_told_from_zero_changes_nothing():
    """Without one of these the slope turns, and says as little as before."""
    metric = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    auc = [0.612, 0.605, 0.615, 0.607, 0.613, 0.611]
    fit = fit_exchange_rate(metric, auc, list("abcdef"))
    signs = {np.sign(one.slope.value) for one in fit.influence.left_out}
    verdicts = {one.verdict for one in fit.influence.left_out}
    assert fit.verdict == "not identified" and verdicts == {"not identified"}
    assert signs == {-1.0, 1.0} and fit.influence.changes == ()


def test_the_refits_are_the_fits_of_the_others():
    random = np.random.default_rng(4)
    metric = np.linspace(0.1, 0.8, 8)
    auc = 0.6 + 0.2 * metric + random.normal(0, 0.01, 8)
    fit = fit_exchange_rate(metric, auc, NAMES[:8], metric_error=0.03)
    for row, one in enumerate(fit.influence.left_out):
        keep = np.arange(8) != row
        alone = fit_exchange_rate(
            metric[keep], auc[keep], np.array(NAMES[:8])[keep].tolist(), metric_error=0.03
        )
        assert (one.name, one.slope.value) == (NAMES[row], pytest.approx(alone.slope))


@pytest.mark.parametrize("leave_out", ["each", "until told"])
def test_stopping_early_gives_the_same_verdict(leave_out):
    random = np.random.default_rng(5)
    for _ in range(10):
        metric = random.normal(0, 1, 7)
        points = gather_points(metric, 0.2 * metric + random.normal(0, 0.1, 7), NAMES[:7])
        assert fit_points(points, leave_out=leave_out).verdict == fit_points(points).verdict


@pytest.mark.parametrize(
    ("metric", "far"),
    [
        ([0.0, 0.1, 0.8, 0.9, 1.0, 1.1], [True, True, False, False, False, False]),
        ([0.0, 0.1, 0.2, 0.3, 0.9, 0.95], [False, False, False, False, True, True]),
        ([0.0, 0.8, 0.9, 1.0, 1.1, 1.2], [False] * 6),  # one alone is left out anyhow
        ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [False] * 6),
        ([0.0, 0.1, 0.2, 0.8, 0.9, 1.0], [False] * 6),  # two halves: neither is the others
    ],
)
def test_a_far_group_is_on_the_smaller_side_of_a_gap_as_wide_as_the_rest(metric, far):
    points = gather_points(metric, np.zeros(6), NAMES[:6])
    assert far_group(points).tolist() == far
