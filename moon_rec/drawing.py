"""How figures of pages look, and how they are written as PNG and SVG."""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from moon_rec.palette import INK, MUTED
from moon_rec.shown import as_figure_text

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
