"""The slope against its references, its interval's coverage by simulation, and each verdict on data made for it."""

from typing import Any

import numpy as np
import odrpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exchange_rate import fit_by_segment, fit_exchange_rate, pairwise_ratios
from exchange_rate.estimation.draws import Draws
from exchange_rate.estimation.noise import Noise
from exchange_rate.estimation.points import gather_points
from exchange_rate.estimation.rate import fit_points
from moon_rec.errors import StudyError


def simulate(
    random, num_encoders=8, slope=0.2, noise=0.0, scatter=0.002, seed_noise=0.001, num_seeds=3
):
    """Runs of one study: true metrics spread evenly over [0.1, 0.8] and jittered."""
    true = np.linspace(0.1, 0.8, num_encoders) + random.uniform(-0.03, 0.03, num_encoders)
    measured = true + random.normal(0, noise, num_encoders)
    mean = 0.6 + slope * true + random.normal(0, scatter, num_encoders)
    metric = np.repeat(measured, num_seeds)
    auc = np.repeat(mean, num_seeds) + random.normal(0, seed_noise, num_encoders * num_seeds)
    encoder = np.repeat([f"encoder {row}" for row in range(num_encoders)], num_seeds)
    return metric, auc, encoder, np.tile(np.arange(num_seeds), num_encoders)


def test_without_metric_noise_it_is_least_squares_with_the_interval_of_hc2():
    """Scatter may grow with the metric, so the error is HC2's and not the textbook's of equal scatter; degrees of freedom are halfway to the textbook's 6."""
    metric, auc, encoder, seed = simulate(np.random.default_rng(0))
    fit = fit_exchange_rate(metric, auc, encoder, seed)
    x, y = metric[::3], auc.reshape(-1, 3).mean(axis=1)
    reference: Any = stats.linregress(x, y)
    away = x - x.mean()
    weights = away / (away @ away)
    residuals = y - reference.intercept - reference.slope * x
    left = 1 - 1 / 8 - away**2 / (away @ away)
    error = np.sqrt(np.sum((weights * residuals) ** 2 / left))
    assert fit.slope == pytest.approx(reference.slope, rel=1e-9)
    assert fit.high - fit.slope == pytest.approx(stats.t.ppf(0.975, fit.freedom) * error)
    assert 3 < fit.freedom < 6
    assert fit.verdict == "identified"
    assert (fit.num_encoders, fit.num_runs) == (8, 24)


def test_with_noise_in_both_axes_it_agrees_with_orthogonal_distance_regression():
    random = np.random.default_rng(1)
    noise, scatter, count = 0.1, 0.02, 200
    metric, auc, encoder, _ = simulate(random, count, noise=noise, scatter=scatter, num_seeds=1)
    fit = fit_exchange_rate(metric, auc, encoder, metric_error=noise)
    both = odrpack.odr_fit(
        lambda x, beta: beta[0] + beta[1] * x,
        metric,
        auc,
        beta0=np.array([0.6, 0.1]),
        weight_x=1 / noise**2,
        weight_y=1 / (scatter**2 + 0.001**2),
    )
    plain: Any = stats.linregress(metric, auc)
    assert fit.slope == pytest.approx(both.beta[1], abs=0.01)
    assert fit.slope == pytest.approx(0.2, abs=0.02)
    assert plain.slope < 0.175  # what ignoring the noise would have said


@pytest.mark.parametrize(("num_encoders", "noise"), [(5, 0.0), (5, 0.06), (8, 0.03), (10, 0.08)])
def test_interval_covers_the_planted_slope_as_often_as_it_says(num_encoders, noise):
    random = np.random.default_rng(num_encoders)
    covered = []
    for _ in range(600):
        metric, auc, encoder, seed = simulate(
            random, num_encoders, noise=noise, scatter=0.02, seed_noise=0.005
        )
        points = gather_points(metric, auc, encoder, seed, noise)
        fit = fit_points(points, leave_out="none")
        covered.append(fit.low <= 0.2 <= fit.high)
    # three standard errors of a coverage of .95 over 600 studies are .027
    assert 0.923 <= np.mean(covered) <= 0.995


def test_seeds_are_not_taken_for_encoders():
    random = np.random.default_rng(2)
    few = simulate(random, num_encoders=6, scatter=0.02, num_seeds=2)
    metric, auc, encoder = (np.repeat(column, 10) for column in few[:3])
    many = fit_exchange_rate(metric, auc, encoder)
    assert many.high == pytest.approx(fit_exchange_rate(*few[:3]).high)


def test_a_missing_run_of_a_lucky_seed_does_not_move_the_encoder():
    random = np.random.default_rng(3)
    metric, auc, encoder, seed = simulate(random, seed_noise=0.0, scatter=0.0)
    lucky = auc + 0.05 * (seed == 1)
    keep = ~((encoder == "encoder 7") & (seed == 1))
    fit = fit_exchange_rate(metric[keep], lucky[keep], encoder[keep], seed[keep])
    assert fit.slope == pytest.approx(0.2, abs=1e-9)
    assert fit.seed_noise == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.1, 10), st.floats(-5, 5), st.permutations(range(24)))
def test_units_and_order_of_rows_do_not_matter(scale, shift, order):
    metric, auc, encoder, seed = simulate(np.random.default_rng(4))
    plain = fit_exchange_rate(metric, auc, encoder, seed)
    rows = list(order)
    moved = fit_exchange_rate(scale * metric[rows] + shift, auc[rows], encoder[rows], seed[rows])
    assert moved.slope * scale == pytest.approx(plain.slope, rel=1e-6)
    assert moved.low * scale == pytest.approx(plain.low, rel=1e-6)
    assert moved.verdict == plain.verdict


def test_three_encoders_are_too_few_however_many_seeds():
    metric, auc, encoder, seed = simulate(np.random.default_rng(5), num_encoders=3, num_seeds=20)
    fit = fit_exchange_rate(metric, auc, encoder, seed)
    assert fit.verdict == "not identified"
    assert np.isnan([fit.slope, fit.low, fit.high]).all()
    assert "3 distinct encoders" in fit.reason


def test_equal_metrics_identify_nothing():
    fit = fit_exchange_rate([0.3] * 6, np.linspace(0.6, 0.7, 6), list("abcdef"))
    assert fit.verdict == "not identified" and np.isnan(fit.slope) and "same metric" in fit.reason


def test_a_spread_within_the_metrics_noise_identifies_nothing():
    metric, auc, encoder, _ = simulate(np.random.default_rng(6), num_seeds=1)
    fit = fit_exchange_rate(metric, auc, encoder, metric_error=0.3)
    assert fit.verdict == "not identified" and np.isnan(fit.slope)
    assert "measurement noise" in fit.reason


def test_an_interval_over_zero_is_not_identified():
    metric = np.linspace(0, 1, 8)
    auc = 0.6 + 0.02 * metric + 0.02 * np.array([1, -1, -1, 1, -1, 1, 1, -1])
    fit = fit_exchange_rate(metric, auc, list("abcdefgh"))
    assert fit.low < 0 < fit.high
    assert fit.verdict == "not identified" and "includes zero" in fit.reason


def test_one_encoder_that_decides_the_sign_is_named():
    metric = [0.1, 0.12, 0.14, 0.16, 0.18, 0.9]
    auc = [0.66, 0.655, 0.65, 0.645, 0.64, 0.75]
    fit = fit_exchange_rate(metric, auc, ["a", "b", "c", "d", "e", "outlier"])
    assert fit.verdict == "rests on one encoder" and "'outlier'" in fit.reason
    without = next(one for one in fit.influence.left_out if one.name == "outlier")
    assert without.slope.high < 0 < fit.slope
    assert fit.influence.low == pytest.approx(without.slope.value)


def test_a_curve_that_flattens_is_called_saturating():
    metric = np.linspace(0.1, 0.9, 8)
    auc = 0.7 - 0.1 * np.exp(-5 * metric) + np.random.default_rng(7).normal(0, 0.001, 8)
    fit = fit_exchange_rate(metric, auc, list("abcdefgh"))
    assert fit.verdict == "saturating"
    assert fit.end_slope < fit.slope / 2


def test_noise_alone_is_seldom_identified():
    random = np.random.default_rng(8)
    verdicts = [
        fit_exchange_rate(*simulate(random, 6, slope=0.0, scatter=0.02)).verdict for _ in range(300)
    ]
    assert verdicts.count("identified") <= 0.05 * 300 + 3 * np.sqrt(300 * 0.05 * 0.95)
    assert verdicts.count("saturating") <= 0.05 * 300


def test_band_of_the_line_is_narrowest_at_its_centre_and_holds_the_slopes_interval():
    metric, auc, encoder, _ = simulate(np.random.default_rng(9), num_seeds=1)
    fit = fit_exchange_rate(metric, auc, encoder)
    line: Any = stats.linregress(metric, auc)
    value, low, high = fit.line([fit.centre[0], 0.3, 1e6])
    assert value[1] == pytest.approx(line.intercept + 0.3 * line.slope)
    half = (high - low) / 2
    assert half[0] == pytest.approx(stats.t.ppf(0.975, fit.freedom) * fit.height_error)
    assert half[2] / 1e6 == pytest.approx((fit.high - fit.low) / 2, rel=1e-4)


def test_segments_are_fitted_apart():
    random = np.random.default_rng(10)
    warm, cold = simulate(random, slope=0.05, scatter=0.0), simulate(random, slope=0.4, scatter=0.0)
    metric, auc, encoder, seed = (np.concatenate(pair) for pair in zip(warm, cold, strict=True))
    fits = fit_by_segment(metric, auc, encoder, ["warm"] * 24 + ["cold"] * 24, seed)
    assert list(fits) == ["warm", "cold"]
    assert fits["warm"].slope == pytest.approx(0.05, abs=0.01)
    assert fits["cold"].slope == pytest.approx(0.4, abs=0.01)


def test_pairwise_ratio_stands_against_the_first_encoder_and_is_empty_without_a_gain():
    metric = np.repeat([0.2, 0.6, 0.2001], 2)
    auc = np.array([0.600, 0.602, 0.700, 0.702, 0.650, 0.652])
    table = pairwise_ratios(metric, auc, list("aabbcc"), [0, 1] * 3, metric_error=0.01)
    assert table["encoder"].to_list() == ["b", "c"]
    assert table["ratio"][0] == pytest.approx(0.1 / 0.4)
    assert table["low"][0] < 0.25 < table["high"][0]
    assert table["ratio"][1] is None and table["low"][1] is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0.1], [0.6, 0.7], ["a", "b"]), "one length"),
        (([0.1, np.nan], [0.6, 0.7], ["a", "b"]), "metric, row 1"),
        (([], [], []), "one length"),
        (([0.1, None], [0.6, 0.7], ["a", "b"]), "metric, row 1: the value is missing"),
        ((["0.1", "0.2"], [0.6, 0.7], ["a", "b"]), "metric, row 0: '0.1' is a text"),
        (([0.1, True], [0.6, 0.7], ["a", "b"]), "metric, row 1: True is a bool"),
        (([0.1, 0.2], [0.6, np.inf], ["a", "b"]), "auc, row 1: inf is not finite"),
        (([0.1, 0.2], [0.6, 0.7], ["a", None]), "encoder, row 1: None is no name"),
        (([0.1, 0.2], [0.6, 0.7], ["a", float("nan")]), "encoder, row 1: nan is no name"),
        (([0.1, 0.2], [0.6, 0.7], ["a", " "]), "encoder, row 1: ' ' is no name"),
        (([0.1, 0.2], [0.6, 0.7], ["1", 1]), "encoder, row 1: 1 is a int where row 0 has '1'"),
        (
            ([0.1, 0.2], [0.6, 0.7], ["a", "a"]),
            "encoder 'a' has metric 0.1 in row 0 and 0.2 in row 1",
        ),
        (
            ([0.1, 0.1], [0.6, 0.7], ["a", "a"], [0, 0]),
            "encoder 'a' with seed 0 stands in row 0 and again in row 1",
        ),
        (([0.1, 0.1], [0.6, 0.7], ["a", "a"], [0, None]), "seed, row 1: None is no name"),
        ((np.ones((2, 2)), [0.6, 0.7], ["a", "b"]), "metric: wanted one column"),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(StudyError, match=message):
        fit_exchange_rate(*columns)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ([0.01, 0.0, 0.01], "row 1: 0 is no standard error"),
        ([0.01, np.nan, 0.01], "row 1: nan is missing"),
        (-0.1, "row 0: -0.1 is no standard error"),
        ([0.01], "one a row"),
    ],
)
def test_a_standard_error_of_nothing_is_no_certainty(error, message):
    with pytest.raises(StudyError, match=message):
        fit_exchange_rate([0.1, 0.2, 0.3], [0.6, 0.7, 0.8], list("abc"), metric_error=error)


def test_a_metric_without_an_error_is_said_to_be_taken_as_exact():
    columns = simulate(np.random.default_rng(0))
    assert "taken as exact" in fit_exchange_rate(*columns).definition
    assert "corrected for" in fit_exchange_rate(*columns, metric_error=0.01).definition


def test_a_segments_fault_is_named_with_the_segment():
    with pytest.raises(StudyError, match=r"segment 'cold'.*encoder 'a' has metric"):
        fit_by_segment([0.1, 0.1, 0.2], [0.6, 0.6, 0.7], list("aaa"), ["warm", "cold", "cold"])


def test_without_a_trained_encoder_there_is_no_rate():
    found = fit_exchange_rate([0.1, 0.2, 0.3], [0.60, 0.61, 0.62], ["a", "b", "c"], is_trained=[False] * 3)  # fmt: skip
    assert found.verdict == "not identified" and found.num_encoders == 0
    assert "0 distinct" in found.reason


def test_a_share_that_no_draw_moves_keeps_its_standard_error():
    """0 of n is 0 in every draw of users, and no certainty."""
    draws = np.random.default_rng(0).normal(size=(50, 4))
    draws[:, 0] = 0.0
    names = ("a", "b", "c", "d")
    points = gather_points(
        [0.0, 0.1, 0.2, 0.3],
        [0.6, 0.61, 0.62, 0.63],
        names,
        metric_error=[0.02, 0.03, 0.03, 0.03],
        draws=Draws(names, draws, draws),
    )
    variances = Noise.of(points).metric.diagonal()
    assert variances[0] == pytest.approx(0.02**2)
    assert variances[1:] == pytest.approx(draws[:, 1:].var(axis=0, ddof=1))
