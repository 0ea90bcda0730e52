"""How the report's figures look, how their numbers become marks, and how they are written as PNG and SVG."""

import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from moon_rec.palette import BLUE, GREEN, GREY, INK, MUTED, ORANGE
from moon_rec.shown import as_figure_text

VERDICT_COLOURS = {
    "identified": BLUE,
    "saturating": GREEN,
    "sign unstable": ORANGE,
    "not identified": GREY,
}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "text.usetex": False,
    "svg.hashsalt": "moon_rec",
    "figure.dpi": 100,
}


def as_figure_texts(data: Any) -> Any:
    """The same values with every text as matplotlib shows it: no TeX in names, no label that goes missing. Names of fields stay."""
    if isinstance(data, dict):
        return {name: as_figure_texts(one) for name, one in data.items()}
    if isinstance(data, list | tuple):
        return [as_figure_texts(one) for one in data]
    return as_figure_text(data) if isinstance(data, str) else data


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, without the date that would make two equal figures differ."""
    figure.savefig(path, format="png", dpi=160, metadata={"Software": None})


def as_svg(figure: Figure) -> str:
    """A figure as an `<svg>` element that scales with the page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


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
