"""The best use of a compute budget by the additive law: how many parameters, on how many tokens (Hoffmann et al. 2022, equation 4).

With C = cost N D, y = E + A N^-alpha + B D^-beta is smallest (where it falls) or largest (where it rises) at

    N = G (C / cost)^(beta / (alpha + beta)),  D = (C / cost) / N,  G = (alpha A / (beta B))^(1 / (alpha + beta))
"""

from collections.abc import Sequence

import numpy as np

from exchange_rate.laws.bootstrap import Bootstrap
from exchange_rate.laws.forms import INFINITY, Floats, Interval
from exchange_rate.laws.results import STANDING, Allocation
from exchange_rate.laws.scaling import ScalingLaw
from moon_rec.errors import StudyError


def compute_optimal(
    law: ScalingLaw, budgets: Sequence[float], cost: float = 6.0
) -> tuple[Allocation, ...]:
    """The best N and D of each budget, with intervals from the law's bootstrap.

    Args:
        law: of the form `additive` that stands (`identified`).
        budgets: C, positive, in the units of cost N D.
        cost: what one N and one D cost together; 6 counts FLOP of N parameters trained on D tokens (Kaplan et al. 2020).

    Returns:
        One allocation a budget; intervals are infinite where the law was fitted on too few points for a bootstrap.

    Raises:
        StudyError: another form, a law that does not stand, amplitudes of different signs, a budget or a cost that is not positive and finite.
    """
    if law.form != "additive" or law.verdict not in STANDING:
        raise StudyError(
            f"allocation: the law is {law.form!r}, {law.verdict}; wanted an additive law that is identified"
        )
    bad = [one for one in (cost, *budgets) if not 0 < one < INFINITY]
    if bad:
        raise StudyError(f"allocation: {bad[0]:g} is no budget or cost; wanted a number above 0")
    best = np.array([[law.parameters[name] for name in ("E", "A", "B", "alpha", "beta")]])
    if best[0, 1] * best[0, 2] <= 0:
        raise StudyError(
            f"allocation: A = {best[0, 1]:.4g} and B = {best[0, 2]:.4g} pull apart: more of one input makes y worse"
        )
    draws = (
        law.fit.problem.in_units(law.fit.draws)
        if isinstance(law.fit, Bootstrap)
        else np.empty((0, 5))
    )
    draws = draws[(draws[:, 1] * draws[:, 2] > 0)]
    found = []
    for budget in budgets:
        size, tokens, value = (float(one[0]) for one in _optimum(best, budget / cost))
        drawn = [_ends(one, law.level) for one in _optimum(draws, budget / cost)]
        found.append(Allocation(float(budget), size, drawn[0], tokens, drawn[1], value, drawn[2]))
    return tuple(found)


def _ends(drawn: Floats, level: float) -> Interval:
    if not len(drawn):
        return -INFINITY, INFINITY
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _optimum(parameters: Floats, product: float) -> tuple[Floats, Floats, Floats]:
    """N, D and y at the optimum of N D = product, each `(laws,)`."""
    floor, first, second, alpha, beta = parameters.T
    ratio = (alpha * first / (beta * second)) ** (1 / (alpha + beta))
    size = ratio * product ** (beta / (alpha + beta))
    tokens = product / size
    return size, tokens, floor + first * size**-alpha + second * tokens**-beta
