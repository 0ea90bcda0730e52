"""The forms of a scaling law: the field's usual ones, for the MOON report studies its axes without publishing any (papers.md 1.9).

    power           y = E + A x^-alpha                        E is the asymptote; A < 0 where y rises to it, A > 0 where it falls to it
    power_no_floor  y = A x^-alpha                            alpha < 0 where y grows
    log             y = E + A ln(x)                           E is the value at x = 1, A the gain per factor e; it has no asymptote
    additive        y = E + A N^-alpha + B D^-beta            x has two columns, N and D (Hoffmann et al. 2022, equation 2)

For fixed exponents each is linear in its other parameters; `design` is that linear part.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]

NAN, INFINITY = float("nan"), float("inf")

LINEAR: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("E", "A"), "power_no_floor": ("A",), "log": ("E", "A"), "additive": ("E", "A", "B")}
)
EXPONENT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"power": ("alpha",), "power_no_floor": ("alpha",), "log": (), "additive": ("alpha", "beta")}
)
ORDER: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "power": ("E", "A", "alpha"),
        "power_no_floor": ("A", "alpha"),
        "log": ("E", "A"),
        "additive": ("E", "A", "alpha", "B", "beta"),
    }
)
"""Parameters in the order in which they are printed."""
TEXT: Mapping[str, str] = MappingProxyType(
    {
        "power": "y = E + A x^-alpha",
        "power_no_floor": "y = A x^-alpha",
        "log": "y = E + A ln(x)",
        "additive": "y = E + A N^-alpha + B D^-beta",
    }
)
FORMS = tuple(ORDER)
EXPONENTS: Interval = (0.02, 5.0)
"""Range searched for a positive exponent; below .02 a power cannot be told from a logarithm on any data we have seen."""
