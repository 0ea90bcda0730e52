"""The page of laws: what its template prints of each number."""

from typing import Any

from markupsafe import Markup

from moon_rec.pages import page_environment
from moon_rec.shown import visible


def render(data: dict[str, Any], figure: str) -> str:
    """The page; whatever stands in `data` (as in `laws.json`) is shown as text.

    Args:
        figure: an `<svg>` element.
    """
    environment = page_environment("exchange_rate.laws", visible)
    environment.filters |= {"plain": plain, "ends": ends}
    return environment.get_template("laws.html.j2").render(data=data, figures={"laws": figure})


def plain(number: float | None, digits: int = 4) -> Markup:
    """A number in four figures; a dash where there is none."""
    is_number = number is not None and number == number and abs(number) != float("inf")
    return Markup(f"{number:.{digits}g}" if is_number else "–")


def ends(low: float, high: float) -> Markup:
    """An interval; an end that is infinite is said to be open."""
    shown = [
        "open" if abs(one) == float("inf") or one != one else f"{one:.4g}" for one in (low, high)
    ]
    return Markup(f"[{shown[0]}, {shown[1]}]")
