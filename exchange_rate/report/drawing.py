"""How the report's numbers become marks and words; `moon_rec.drawing` has the look."""

from typing import Any

import numpy as np

from moon_rec.palette import BLUE, GREEN, GREY, ORANGE

VERDICT_COLOURS = {
    "identified": BLUE,
    "saturating": GREEN,
    "sign unstable": ORANGE,
    "not identified": GREY,
}


def words(metric: str) -> str:
    """A metric's name for people: `image_search_recall@10` -> `image-search recall@10`."""
    name, at, cut = metric.partition("@")
    for modality in ("image", "text", "mixed"):
        name = name.replace(f"{modality}_search_", f"{modality}-search ")
    name = name.replace("same_spu", "same-SPU")
    return name.replace("_", " ") + at + cut


def error_bars(number: dict[str, Any]) -> np.ndarray:
    """Distances to the two ends, `(2, 1)`; zero where an end is unknown."""
    value = number["value"]
    low = number["low"] if number["low"] is not None else value
    high = number["high"] if number["high"] is not None else value
    return np.array([[max(value - low, 0.0)], [max(high - value, 0.0)]])


def offsets(count: int) -> list[float]:
    return [0.2 * (place - (count - 1) / 2) for place in range(count)]


def short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def wrapped(name: str, width: int = 22) -> str:
    if len(name) <= width:
        return name
    place = name.rfind(" ", 0, width)
    return name if place < 0 else name[:place] + "\n" + name[place + 1 :]
