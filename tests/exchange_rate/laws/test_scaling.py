"""Each form's planted parameters, intervals against references, and what LongCTR's points identify."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from exchange_rate import compare_forms, fit_scaling_law
from moon_rec.errors import StudyError

LENGTHS = [50, 100, 200, 500, 1000]
# AUC x 100 of DIN by history length (LongCTR; the same figures stand in the study of peers)
LONG_CTR = {
    "MicroVideo": [68.74, 70.20, 70.57, 71.62, 71.80],
    "KuaiVideo": [68.21, 68.61, 68.96, 69.55, 69.58],
    "EBNeRD": [70.44, 71.04, 71.20, 71.86, 71.92],
}
X = np.geomspace(10, 1e5, 8)


@pytest.mark.parametrize("amplitude", [-2.0, 3.0])
def test_power_recovers_planted_parameters_of_either_sign(amplitude):
    law = fit_scaling_law(X, 1.0 + amplitude * X**-0.5)
    assert law.verdict == "identified"
    assert law.parameters == pytest.approx({"E": 1.0, "A": amplitude, "alpha": 0.5}, rel=1e-6)
    assert law.predict([1e7]) == pytest.approx([1.0 + amplitude * 1e7**-0.5])


def test_power_without_floor_and_logarithm_recover_planted_parameters():
    plain = fit_scaling_law(X, 0.3 * X**0.2, "power_no_floor")
    assert plain.parameters == pytest.approx({"A": 0.3, "alpha": -0.2}, rel=1e-6)
    logarithm = fit_scaling_law(X, 0.3 + 0.02 * np.log(X), "log")
    assert logarithm.parameters == pytest.approx({"E": 0.3, "A": 0.02}, rel=1e-6)


def test_additive_recovers_planted_parameters():
    sizes, tokens = np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5))
    x = np.column_stack([sizes.ravel(), tokens.ravel()])
    y = 1.7 + 400 / x[:, 0] ** 0.34 + 410 / x[:, 1] ** 0.28
    law = fit_scaling_law(x, y, "additive")
    planted = {"E": 1.7, "A": 400.0, "alpha": 0.34, "B": 410.0, "beta": 0.28}
    assert law.parameters == pytest.approx(planted, rel=1e-4)
    assert law.verdict == "identified"


def test_intervals_of_the_logarithm_are_those_of_linear_regression():
    y = 0.3 + 0.02 * np.log(X) + np.random.default_rng(0).normal(0, 0.01, 8)
    law = fit_scaling_law(X, y, "log")
    line: Any = stats.linregress(np.log(X), y)
    quantile = stats.t.ppf(0.975, 6)
    half = quantile * line.stderr
    assert law.intervals["A"] == pytest.approx((line.slope - half, line.slope + half))
    half = quantile * line.intercept_stderr
    assert law.intervals["E"] == pytest.approx((line.intercept - half, line.intercept + half))


@pytest.mark.slow
def test_intervals_of_the_power_cover_the_planted_asymptote():
    random = np.random.default_rng(1)
    covered, bounded = [], 0
    for _ in range(150):
        law = fit_scaling_law(X, 1.0 - 2.0 * X**-0.5 + random.normal(0, 0.01, 8))
        low, high = law.intervals["E"]
        covered.append(low <= 1.0 <= high)
        bounded += bool(np.isfinite([low, high]).all())
    # a profile likelihood interval is approximate: three standard errors are .053
    assert np.mean(covered) >= 0.95 - 0.053
    assert bounded > 140


def test_profile_interval_matches_a_search_by_hand():
    y = 1.0 - 2.0 * X**-0.5 + np.random.default_rng(2).normal(0, 0.01, 8)
    law = fit_scaling_law(X, y)
    exponents = np.linspace(0.2, 1.2, 4001)

    def smallest(asymptote):
        curves = X[:, None] ** -exponents
        rest = y[:, None] - asymptote
        amplitude = (curves * rest).sum(0) / (curves**2).sum(0)
        return ((rest - amplitude * curves) ** 2).sum(0).min()

    least = smallest(law.parameters["E"])
    limit = least * (1 + stats.f.ppf(0.95, 1, 5) / 5)
    for end in law.intervals["E"]:
        assert smallest(end) == pytest.approx(limit, rel=0.02)


def test_long_ctr_extrapolations_and_the_asymptotes_that_are_not_identified():
    errors, asymptotes, verdicts = [], [], []
    for auc in LONG_CTR.values():
        law = fit_scaling_law(LENGTHS[:4], auc[:4])
        errors.append(float(law.predict([1000])[0]) - auc[4])
        asymptotes.append(law.parameters["E"])
        verdicts.append(law.verdict)
        assert "E " not in str(law).removeprefix(law.text)  # no asymptote without its band
    assert errors == pytest.approx([0.10, 0.33, 0.28], abs=0.011)
    assert asymptotes == pytest.approx([72.7, 97.7, 80.1], abs=0.06)
    assert verdicts == ["not identified"] * 3


def test_long_ctr_forms_are_compared_by_held_out_error():
    table = compare_forms(LENGTHS, LONG_CTR["MicroVideo"])
    assert table["form"].to_list() == ["power", "log", "power_no_floor"]
    errors = dict(zip(table["form"], table["error"], strict=True))
    assert errors["power"] == pytest.approx(0.10, abs=0.01)
    assert errors["log"] == pytest.approx(0.72, abs=0.01)
    assert table.filter(pl.col("form") == "power")["verdict"][0] == "not identified"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_logarithm_gets_no_asymptote(sign):
    noise = np.random.default_rng(3).normal(0, 1e-3, 8)
    law = fit_scaling_law(X, 0.3 + sign * (0.02 * np.log(X) + noise))
    assert law.verdict == "not identified"
    assert law.intervals["E"][sign > 0] == sign * np.inf


def test_points_on_the_asymptote_are_called_saturating():
    y = 1.0 - 5.0 * X**-1.2 + np.random.default_rng(4).normal(0, 0.003, 8)
    law = fit_scaling_law(X, y)
    assert law.verdict == "saturating"
    assert law.intervals["E"][0] <= 1.0 <= law.intervals["E"][1]


def test_noise_alone_is_never_identified():
    random = np.random.default_rng(5)
    found = [fit_scaling_law(X, random.normal(0, 1, 8)).verdict for _ in range(40)]
    assert found.count("identified") + found.count("saturating") <= 4


def test_a_flat_logarithm_has_no_stable_sign():
    y = 0.5 + 0.01 * np.array([1, -1, 1, -1, -1, 1, -1, 1])
    assert fit_scaling_law(X, y, "log").verdict == "sign unstable"


def test_too_few_points_identify_nothing_but_still_say_so():
    two = fit_scaling_law([1, 2], [0.1, 0.2])
    assert two.verdict == "not identified" and np.isnan(two.predict([3])).all()
    three = fit_scaling_law([1, 2, 4], [0.1, 0.2, 0.25])
    assert three.verdict == "not identified" and three.intervals["E"] == (-np.inf, np.inf)
    assert np.isfinite(three.predict([8])).all()
    repeated = fit_scaling_law([1, 1, 2, 2], [0.1, 0.11, 0.2, 0.21])
    assert repeated.verdict == "not identified"


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_of_x_do_not_matter(factor):
    y = 1.0 - 2.0 * X**-0.5 + np.random.default_rng(6).normal(0, 0.003, 8)
    plain, scaled = fit_scaling_law(X, y), fit_scaling_law(X * factor, y)
    assert scaled.parameters["alpha"] == pytest.approx(plain.parameters["alpha"], rel=1e-6)
    assert scaled.intervals["E"] == pytest.approx(plain.intervals["E"], rel=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "form", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "cubic", "unknown"),
        ([0, 2, 3], [1, 2, 3], "power", "positive"),
        ([1, 2, 3], [1, 2], "power", "received 3 x, 2 y"),
        ([1, 2, 3], [1, 2, 3], "additive", "2 column"),
    ],
)
def test_bad_input_is_refused(x, y, form, message):
    with pytest.raises(StudyError, match=message):
        fit_scaling_law(x, y, form)
