"""What is no growing law is none: logarithms and flat lines by simulation, curves that turn at their end, one outlier among few points."""

import numpy as np
import pytest

from exchange_rate import fit_scaling_law
from exchange_rate.laws.results import STANDING
from moon_rec.errors import StudyError

X = np.geomspace(1e6, 1e9, 8)


@pytest.mark.parametrize("form", ["power", "power_no_floor"])
@pytest.mark.parametrize("truth", ["flat", "logarithm"])
def test_a_logarithm_or_a_flat_line_is_no_power(form, truth):
    """The rate over thousands is `benchmarks.chinchilla --parts passing`; three of 60 here would be one in twenty."""
    random = np.random.default_rng(0)
    passed = 0
    for size in (6, 12):
        x = np.geomspace(1e6, 1e9, size)
        curve = 2 + (np.linspace(0, 1, size) if truth == "logarithm" else 0)
        for noise in (0.01, 0.1):
            for _ in range(15):
                law = fit_scaling_law(x, curve + random.normal(0, noise, size), form)
                passed += law.verdict in STANDING
    assert passed <= 1


@pytest.mark.parametrize(
    "y",
    [
        [0.20, 0.30, 0.36, 0.40, 0.38, 0.33],
        [0.10, 0.20, 0.28, 0.33, 0.35, 0.33, 0.28],
        [0.10, 0.20, 0.28, 0.34, 0.37, 0.39, 0.40, 0.39, 0.37, 0.34],
    ],
)
def test_a_curve_that_falls_at_its_end_is_not_monotone(y):
    x = np.geomspace(1e6, 1e9, len(y))
    law = fit_scaling_law(x, y)
    assert law.verdict == "not monotone" and "go back" in law.reason
    assert "E " not in str(law).removeprefix(law.text)
    # and its mirror: a loss that rises at its end
    assert fit_scaling_law(x, 3 - np.array(y)).verdict == "not monotone"


def test_a_plateau_that_no_power_meets_does_not_turn():
    y = [0.1, 0.2, 0.28, 0.33, 0.36, 0.37, 0.375, 0.374]
    assert fit_scaling_law(X, y).verdict != "not monotone"


@pytest.mark.parametrize("noise", [0.003, 0.01])
def test_a_noisy_power_seldom_turns(noise):
    random = np.random.default_rng(1)
    curve = 0.5 - 8 * X**-0.25
    verdicts = [fit_scaling_law(X, curve + random.normal(0, noise, 8)).verdict for _ in range(30)]
    assert verdicts.count("not monotone") <= 4


def test_one_outlier_among_few_points_counts_less():
    random = np.random.default_rng(2)
    x = np.geomspace(1e6, 1e9, 12)
    y = 1.8 + 100 * x**-0.35 * np.exp(random.normal(0, 0.005, 12))
    clean = fit_scaling_law(x, y)
    y[5] *= 1.2
    assert fit_scaling_law(x, y).parameters["alpha"] == pytest.approx(
        clean.parameters["alpha"], abs=0.06
    )


def test_the_scale_is_chosen_once_and_said():
    falls, rises = 3 + 5 * X**-0.2, 0.5 - 2 * X**-0.2
    assert fit_scaling_law(X, falls).scale == "log"
    assert fit_scaling_law(X, rises).scale == "linear"
    assert fit_scaling_law(X, falls, scale="linear").scale == "linear"
    with pytest.raises(StudyError, match=r"y, row 0: -1 has no logarithm"):
        fit_scaling_law(X, np.append(-1.0, falls[1:]), scale="log")
    with pytest.raises(StudyError, match="scale 'sqrt' is unknown"):
        fit_scaling_law(X, falls, scale="sqrt")


def test_the_log_scale_minimises_log_residuals():
    """Few points without outliers: the fit is the least squares of ln(law) - ln(y), by scipy's own search."""
    from scipy import optimize

    random = np.random.default_rng(3)
    y = (1.5 + 60 * X**-0.3) * np.exp(random.uniform(-0.01, 0.01, 8))
    law = fit_scaling_law(X, y)

    def residuals(parameters):
        floor, amplitude, alpha = parameters
        return np.log(floor + amplitude * (X / 1e7) ** -alpha) - np.log(y)

    start = [1.5, 60 * 1e7**-0.3, 0.3]
    found = optimize.least_squares(residuals, start, xtol=1e-14, ftol=1e-14).x
    assert law.parameters["E"] == pytest.approx(found[0], rel=1e-5)
    assert law.parameters["alpha"] == pytest.approx(found[2], rel=1e-4)
