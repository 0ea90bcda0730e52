"""Curves, floors and ceilings, the next point, and the intercept."""

import numpy as np
import pytest

from exchange_rate import fit_exchange_rate
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.rate import fit_points
from exchange_rate.estimation.shapes import at_bounds

METRIC = np.linspace(0.1, 0.9, 9)
NAMES = list("abcdefghi")


def noisy(auc, seed=0, scatter=0.0005):
    return auc + np.random.default_rng(seed).normal(0, scatter, len(auc))


@pytest.mark.parametrize(
    ("auc", "form"),
    [
        (0.6 + 0.1 * METRIC, "line"),
        (0.6 + 0.1 * METRIC**3, "convex"),
        (0.7 - 0.1 * np.exp(-5 * METRIC), "saturating"),
        (0.7 - 0.1 * METRIC**3, "convex"),  # falls ever faster
        (0.6 + 0.1 * METRIC + 0.01 * METRIC**2, "line"),  # bends, but by less than half
    ],
)
def test_curves_are_named_by_what_they_do_at_the_best_encoder(auc, form):
    fit = fit_exchange_rate(METRIC, noisy(auc), NAMES)
    assert fit.shape.form == form
    assert fit.verdict == ("identified" if form == "line" else form)
    assert fit.end_slope == fit.shape.next_point.value


def test_the_next_point_is_the_slope_of_a_quadratic_at_the_best_encoder():
    fit = fit_exchange_rate(METRIC, 0.6 + 0.2 * METRIC - 0.1 * METRIC**2, NAMES)
    assert fit.shape.next_point.value == pytest.approx(0.2 - 0.2 * 0.9)
    assert fit.shape.at == 0.9


@pytest.mark.parametrize("bend", [-0.1, 0.0, 0.1])
def test_the_interval_of_the_next_point_holds_it(bend):
    random = np.random.default_rng(int(10 * bend) + 5)
    covered, values = [], []
    for _ in range(200):
        true = random.normal(0.5, 0.15, 12)
        metric = true + random.normal(0, 0.03, 12)
        auc = 0.6 + 0.2 * true + bend * true**2 + random.normal(0, 0.01, 12)
        fit = fit_points(gather_points(metric, auc, range(12), metric_error=0.03), leave_out="none")
        next_point, wanted = fit.shape.next_point, 0.2 + 2 * bend * true[np.argmax(metric)]
        covered.append(next_point.low <= wanted <= next_point.high)
        values.append(next_point.value - wanted)
    assert 0.9 <= np.mean(covered) <= 1.0
    assert np.mean(values) == pytest.approx(0, abs=0.03)


def test_encoders_at_the_floor_carry_no_slope():
    """AUC goes on falling where recall has stopped at 0: the line through all of them would be too steep."""
    random = np.random.default_rng(1)
    quality = np.linspace(-0.3, 0.6, 12)
    metric = np.maximum(quality, 0.0)
    auc = 0.6 + 0.1 * quality + random.normal(0, 0.001, 12)
    names = [f"e{row}" for row in range(12)]
    fit = fit_exchange_rate(metric, auc, names, metric_error=0.002)
    assert fit.shape.at_floor == ("e0", "e1", "e2", "e3")
    assert fit.slope == pytest.approx(0.1, abs=0.01) and fit.num_encoders == 8
    assert "'e0', 'e1', 'e2', 'e3' are at the floor of the metric and left out" in fit.reason


@pytest.mark.parametrize(
    ("metric", "error", "floor", "ceiling"),
    [
        ([0.001, 0.2, 0.4, 0.6], 0.001, "a", ""),
        ([0.001, 0.2, 0.4, 0.6], None, "", ""),  # no error says how near that is
        ([0.2, 0.4, 0.6, 0.999], 0.001, "", "d"),
        ([0.1, 0.1, 0.1, 0.6], None, "abc", ""),  # a pile
        ([0.1, 0.1, 0.3, 0.6], None, "", ""),  # two alike are no pile
        ([0.1, 0.6, 0.6, 0.6], None, "", "bcd"),
        ([0.5, 0.5, 0.5, 0.5], None, "", ""),  # nothing varies: another reason
        ([0.05, 0.2, 0.4, 0.6], 0.1, "", ""),  # so noisy that leaving out by it would bend the line
        ([0.0, 2.0, 4.0, 6.0], 0.001, "", ""),  # no share
    ],
)
def test_what_is_a_floor_and_what_a_ceiling(metric, error, floor, ceiling):
    points = gather_points(metric, [0.6] * 4, list("abcd"), metric_error=error)
    assert at_bounds(points) == (tuple(floor), tuple(ceiling))


def test_a_direct_effect_is_said_where_the_intercept_is_told_from_zero():
    """Random weights gain where recall measures nothing: the line of AUC over permuted vectors does not pass through zero."""
    gain = noisy(0.03 + 0.05 * METRIC, 2)
    fit = fit_exchange_rate(METRIC, gain, NAMES, outcome_kind="over permuted")
    assert fit.intercept.low < 0.03 < fit.intercept.high and fit.intercept.is_told_from_zero
    assert (
        "content gains +2.97 points of AUC" in fit.direct_effect
        and "does not carry all" in fit.direct_effect
    )
    assert "true minus with permuted vectors" in fit.definition
    through = fit_exchange_rate(
        METRIC, noisy(0.05 * METRIC, 2), NAMES, outcome_kind="over permuted"
    )
    assert not through.intercept.is_told_from_zero and not through.direct_effect
    assert not fit_exchange_rate(
        METRIC, gain, NAMES
    ).direct_effect  # of AUC itself it means nothing


def test_a_result_is_plain_values():
    fit = fit_exchange_rate(METRIC, noisy(0.6 + 0.1 * METRIC), NAMES)
    plain = fit.as_dict()
    assert plain["shape"]["form"] == "line" and plain["paths"]["num_paths"] == 9
    assert len(plain["influence"]["left_out"]) == 9
