"""The page's figures, drawn from the description alone: each is saved as PNG and put into the page as SVG."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import matplotlib
import numpy as np
from matplotlib import dates, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moon_rec.drawing import STYLE
from moon_rec.palette import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
)
from moon_rec.shop.description import Description
from moon_rec.shop.description.drift import LARGE, MODERATE
from moon_rec.shop.description.results import Share, Spread
from moon_rec.shown import as_figure_text

_PERCENT = ticker.FuncFormatter(lambda value, _: f"{100 * value:.4g}%")
_WIDTHS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}
MOST_ROWS = 25
"""Of columns in the figure of drift; the table has all."""
VERDICT_COLOURS = {
    "large": VERMILION,
    "moderate": ORANGE,
    "slight": SKY,
    "not shown": GREY,
    "cannot be told": GREY,
}
PERIOD_COLOURS = {"all": INK, "train": BLUE, "validation": ORANGE, "test": VERMILION}


def draw_all(found: Description) -> dict[str, Figure]:
    """Every figure that the shop has the data for, by name."""
    drawn: dict[str, Figure] = {}
    simulated = "simulated shop" if found.provenance.is_simulated else "shop"
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(found)
            if figure is not None:
                about = as_figure_text(f"{simulated} {found.provenance.name}")
                figure.suptitle(about, x=0.01, ha="left", fontsize=8, color=MUTED)
                drawn[name] = figure
    return drawn


def over_time(found: Description) -> Figure | None:
    """Impressions, rates and histories over time, with validation and test shaded."""
    steps = found.days.steps
    if not steps:
        return None
    when = [step.start for step in steps]
    is_bought = any(step.cart_rate.value or step.purchase_rate.value for step in steps)
    num_panels = 3 + is_bought
    figure = Figure(figsize=(8.6, 1.8 * num_panels), layout="constrained")
    panels = list(figure.subplots(num_panels, 1, sharex=True))
    counts, clicks, histories = panels[0], panels[1], panels[-1]
    above: Any = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "fontsize": 8}
    ends = [*when[1:], when[-1] + _WIDTHS[found.days.unit]]
    numbers = [step.impressions for step in steps]
    counts.stairs(
        numbers, dates.date2num([when[0], *ends]), baseline=None, color=BLUE, linewidth=1.5
    )
    counts.set_title(f"Impressions by {found.days.unit}")
    counts.yaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    _band(clicks, when, [step.click_rate for step in steps], BLUE, "clicked")
    clicks.set_title("Click rate")
    if is_bought:
        _band(panels[2], when, [step.cart_rate for step in steps], PURPLE, "carted")
        _band(panels[2], when, [step.purchase_rate for step in steps], GREEN, "purchased")
        panels[2].set_title("Carted and purchased")
        panels[2].legend(handles=panels[2].get_lines(), **above)
    lengths = [np.nan if step.median_history is None else step.median_history for step in steps]
    histories.plot(when, lengths, color=INK)  # type: ignore[arg-type]
    histories.set_title("Median history at an impression")
    for axes in panels:
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        _shade(axes, found, when)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
    for axes in panels[1:-1]:
        axes.yaxis.set_major_formatter(_PERCENT)
    counts.legend(handles=counts.patches[1:], **above)
    locator = dates.AutoDateLocator(maxticks=8)
    histories.xaxis.set_major_locator(locator)
    histories.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    return figure


def funnels(found: Description) -> Figure | None:
    """What share of the first step reaches each step, by period, on a scale of tens."""
    names = list(dict.fromkeys(one.name for one in found.funnels))
    figure = Figure(figsize=(8.6, 3.0), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
        groups = [one for one in found.funnels if one.name == name and one.period != "all"]
        lowest = 1.0
        for place, one in enumerate(groups):
            for row, step in enumerate(one.steps[1:]):
                share = step.of_first
                if share is None or not share.value:
                    continue
                lowest = min(lowest, share.low or share.value)
                at = row + 0.22 * (place - (len(groups) - 1) / 2)
                axes.errorbar(
                    share.value,
                    at,
                    xerr=_reach(share),
                    fmt="o",
                    color=PERIOD_COLOURS[one.period],
                    label=one.period if row == 0 else None,
                    markersize=5,
                    elinewidth=1.6,
                )
        steps = found.funnels[[one.name for one in found.funnels].index(name)].steps[1:]
        axes.set_yticks(range(len(steps)), [step.name for step in steps])
        axes.set_ylim(len(steps) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.set_xlim(0.8 * lowest, 1.25)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_title(f"Share of {name}")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def places(found: Description) -> Figure | None:
    """Click rate by position."""
    rows = [one for one in found.places.positions if one.click_rate.value is not None]
    if len(rows) < 2:
        return None
    figure = Figure(figsize=(8.6, 2.8), layout="constrained")
    axes = figure.subplots()
    for place, one in enumerate(rows):
        axes.errorbar(
            place,
            one.click_rate.value or 0.0,
            yerr=_reach(one.click_rate),
            fmt="o",
            color=BLUE,
            markersize=5,
        )
    step = -(-len(rows) // 24)
    axes.set_xticks(range(0, len(rows), step), [one.position for one in rows[::step]])
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(_PERCENT)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_title("Click rate by position")
    axes.set_xlabel("position in the request")
    return figure


def spreads(found: Description) -> Figure | None:
    """Every distribution, in the steps of its bins."""
    rows = [one for one in found.spreads if one.count]
    if not rows:
        return None
    figure = Figure(figsize=(8.6, 2.35 * -(-len(rows) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(rows) // 2), 2, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, one in zip(panels.flat, rows, strict=False):
        axes.set_axis_on()
        _bars(axes, one)
    return figure


def drift(found: Description) -> Figure | None:
    """The stability index of each column beside what chance makes, those that drift most first."""
    rows = [one for one in found.drift.columns if one.index is not None][:MOST_ROWS]
    if not rows:
        return None
    figure = Figure(figsize=(8.6, 1.3 + 0.26 * len(rows)), layout="constrained")
    axes = figure.subplots()
    floor = 1e-4
    for place, one in enumerate(rows):
        if one.chance is not None:
            axes.plot(
                [floor, max(one.chance, floor)],
                [place, place],
                color=FAINT,
                linewidth=7,
                solid_capstyle="butt",
            )
        axes.plot(max(one.index or 0, floor), place, "o", color=VERDICT_COLOURS[one.verdict])
    for bound in (MODERATE, LARGE):
        axes.axvline(bound, color=MUTED, linestyle="--", linewidth=0.9)
    axes.set_xscale("log")
    axes.set_xlim(floor / 1.3, max(1.0, 1.3 * max(one.index or 0 for one in rows)))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_yticks(
        range(len(rows)), [as_figure_text(_short(f"{one.table}: {one.column}")) for one in rows]
    )
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title("Drift from train to test")
    axes.set_xlabel(
        "population stability index; grey: within chance; dashed: moderate, large", fontsize=8.5
    )
    shown = dict.fromkeys(one.verdict for one in rows)
    for verdict in shown:
        axes.plot([], [], "o", color=VERDICT_COLOURS[verdict], label=verdict)
    axes.legend(loc="lower right", fontsize=8, frameon=True, facecolor="white", edgecolor=FAINT)
    return figure


def _bars(axes: Axes, one: Spread) -> None:
    labels = [
        f"{bin.low:g}" if bin.low == bin.high else f"{_si(bin.low)}–{_si(bin.high)}"
        for bin in one.bins
    ]
    axes.bar(range(len(labels)), [bin.count for bin in one.bins], color=BLUE, width=0.9)
    step = -(-len(labels) // 9)
    axes.set_xticks(range(0, len(labels), step), labels[::step], fontsize=7)
    axes.yaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    axes.tick_params(axis="y", labelsize=7)
    axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.set_title(f"{one.name[0].upper()}{one.name[1:]}", fontsize=9)


def _band(axes: Axes, when: list[datetime], shares: list[Share], colour: str, label: str) -> None:
    """A line with its interval."""
    value, low, high = (
        np.array([np.nan if getattr(one, end) is None else getattr(one, end) for one in shares])
        for end in ("value", "low", "high")
    )
    axes.fill_between(when, low, high, color=colour, alpha=0.18, linewidth=0)  # type: ignore[arg-type]
    axes.plot(when, value, color=colour, label=label)  # type: ignore[arg-type]


def _shade(axes: Axes, found: Description, when: list[datetime]) -> None:
    """Validation and test."""
    origin = found.provenance
    last = max(when[-1], origin.last or when[-1])
    for begin, end, label, colour in (
        (origin.cut_time, min(origin.test_time, last), "validation", ORANGE),
        (origin.test_time, last, "test", VERMILION),
    ):
        if end > begin:
            axes.axvspan(begin, end, color=colour, alpha=0.18, linewidth=0, zorder=0, label=label)  # type: ignore[arg-type]


def _reach(share: Share) -> np.ndarray:
    """Distances to the ends of the interval, `(2, 1)`; zero without one."""
    value = share.value or 0.0
    low = value if share.low is None else share.low
    high = value if share.high is None else share.high
    return np.array([[value - low], [high - value]])


def _si(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _short(name: str, most: int = 44) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


FIGURES: dict[str, Callable[[Description], Figure | None]] = {
    "over_time": over_time,
    "funnels": funnels,
    "places": places,
    "spreads": spreads,
    "drift": drift,
}
"""Name -> what draws it, in the order of the page."""
