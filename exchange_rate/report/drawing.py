"""How the report's numbers become marks; `moon_rec.drawing` has the look."""

import numpy as np
from matplotlib.axes import Axes

from exchange_rate.analysis.results import Number
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, INK, ORANGE, VERMILION

VERDICT_COLOURS = {
    "identified": BLUE,
    "better than decoys": BLUE,
    "saturating": GREEN,
    "convex": GREEN,
    "rests on one encoder": ORANGE,
    "rests on one path": ORANGE,
    "rests on a far group": ORANGE,
    "no better than decoys": GREY,
    "not identified": GREY,
    "not measured": GREY,
    "not compared": GREY,
    "decoy": VERMILION,
}


def error_bars(number: Number) -> np.ndarray:
    """Distances to the two ends, `(2, 1)`; zero where an end is unknown."""
    value = number.value or 0.0
    low = value if number.low is None else number.low
    high = value if number.high is None else number.high
    return np.array([[max(value - low, 0.0)], [max(high - value, 0.0)]])


def offsets(count: int) -> list[float]:
    """Places of `count` marks side by side around a common one."""
    return [0.2 * (place - (count - 1) / 2) for place in range(count)]


def short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def wrapped(name: str, width: int = 22) -> str:
    """A long name on two lines; what does not fit there is cut."""
    if len(name) <= width:
        return name
    place = name.rfind(" ", 0, width)
    if place < 0:
        return f"{name[: width - 1]}…"
    rest = name[place + 1 :]
    return name[:place] + "\n" + (rest if len(rest) <= width else f"{rest[: width - 1]}…")


def rows_down(axes: Axes, names: list[str]) -> None:
    """A row a name, the first at the top, with lines up and down."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
