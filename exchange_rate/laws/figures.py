"""The picture of laws: one panel a group, points, the law with its band, and what it said of the largest x before it saw them."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.laws.forms import Floats
from exchange_rate.laws.points import LawPoints
from exchange_rate.laws.results import LawResult
from moon_rec.drawing import STYLE
from moon_rec.palette import BLUE, GREY, INK, MUTED, VERMILION
from moon_rec.shown import as_figure_text

COLUMNS = 3


def draw_laws(groups: list[tuple[LawPoints, LawResult]], x_names: list[str], y_name: str) -> Figure:
    """All panels. With two inputs the law is drawn against what was observed, for there is no one x."""
    with matplotlib.rc_context(STYLE):
        columns = min(COLUMNS, len(groups))
        rows = -(-len(groups) // columns)
        size = (7.2, 4.4) if len(groups) == 1 else (3.9 * columns, 3.1 * rows + 0.4)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(groups) :]:
            axes.axis("off")
        for axes, (points, result) in zip(panels, groups, strict=False):
            if len(x_names) == 2:
                _predicted_and_observed(axes, points, result, y_name)
            else:
                _curve(axes, points, result, points.axis or x_names[0], y_name)
            name = f"{as_figure_text(points.group)}: " if points.group else ""
            axes.set_title(f"{name}{result.verdict}", fontsize=9.5)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _curve(axes: Axes, points: LawPoints, result: LawResult, x_name: str, y_name: str) -> None:
    held, law = result.held_out, result.law
    assert law is not None  # the analysis has put it there
    smallest, largest = float(points.x.min()), float(points.x.max())
    grid = np.geomspace(smallest, largest * (largest / smallest) ** 0.15, 160)
    curve, (low, high) = law.predict(grid), law.band(grid)
    room = 2 * max(float(np.ptp(points.y)), 1e-12)
    bottom, top = float(points.y.min()) - room, float(points.y.max()) + room
    colour, style = (BLUE, "-") if result.stands else (GREY, "--")
    low = np.clip(np.nan_to_num(low, neginf=bottom), bottom, top)
    high = np.clip(np.nan_to_num(high, posinf=top), bottom, top)
    if np.isfinite(curve).all():
        axes.fill_between(grid, low, high, color=colour, alpha=0.12, linewidth=0, label="its band")
        axes.plot(grid, curve, style, color=colour, linewidth=1.6, label="law of all points")
    axes.plot(points.x, points.y, "o", color=INK, markersize=4, label="observed")
    _draw_held_out(axes, np.array([one.x for one in held]), result, bottom, top)
    axes.set_xscale("log")
    margin = 0.15 * room
    axes.set_ylim(float(points.y.min()) - margin, float(points.y.max()) + margin)
    axes.set_xlabel(as_figure_text(x_name))
    axes.set_ylabel(as_figure_text(y_name))


def _predicted_and_observed(axes: Axes, points: LawPoints, result: LawResult, y_name: str) -> None:
    assert result.law is not None  # the analysis has put it there
    predicted = result.law.predict(points.x)
    ends = [float(points.y.min()), float(points.y.max())]
    axes.plot(ends, ends, "-", color=MUTED, linewidth=0.8, label="law met exactly")
    axes.plot(predicted, points.y, "o", color=INK, markersize=3, label="observed")
    held = result.held_out
    axes.plot(
        [one.predicted for one in held],
        [one.observed for one in held],
        "D",
        color=VERMILION,
        markersize=5,
        fillstyle="none",
        label="held out, predicted without it",
    )
    axes.set_xlabel(f"the law's {as_figure_text(y_name)}")
    axes.set_ylabel(as_figure_text(y_name))


def _draw_held_out(axes: Axes, x: Floats, result: LawResult, bottom: float, top: float) -> None:
    held = [one for one in result.held_out if np.isfinite(one.predicted)]
    if not held:
        return
    value = np.array([one.predicted for one in held])
    ends = np.clip([[one.low for one in held], [one.high for one in held]], bottom, top)
    bars = np.abs(ends - value)
    axes.errorbar(
        x[-len(held) :],
        value,
        yerr=bars,
        fmt="D",
        color=VERMILION,
        markersize=5,
        fillstyle="none",
        linewidth=1,
        label="held out, predicted without it",
    )
