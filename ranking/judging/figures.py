"""Pictures of how rankers are judged: differences, segments, calibration, power. No torch, no pyplot.

Every picture says in its title what is drawn and in its subtitle where the numbers come from
(`about`: shop, whether simulated, period). Blue marks an interval without zero, grey one with it: over users and
seeds where several were trained, for that one makes the verdict.
"""

import textwrap
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moon_rec.estimate import Estimate
from moon_rec.figure_files import save_figure
from moon_rec.palette import BLUE, FAINT, GREY, INK, MUTED, VERMILION
from ranking.comparison import TRAININGS_DIFFER, Comparison
from ranking.judging.power import PowerTable, seed_words
from ranking.judging.reliability import CalibrationCurve
from ranking.judging.segments import Segments
from ranking.significance import LOWER_IS_BETTER

SHADES = ("#9ecae1", "#6baed6", "#3d8dc4", "#1f66a8", "#08306b")
STYLE: dict[Any, Any] = {
    "text.parse_math": False,  # names of segments and folders are no TeX
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
DPI = 130
LINE_INCHES = 9.5 * 1.3 / 72
NAMES = {
    "auc": "AUC",
    "gauc": "GAUC by impressions",
    "gauc_users": "GAUC by users",
    "gauc_positives": "GAUC by positives",
    "log_loss": "log loss",
    "normalised_entropy": "normalised entropy",
}


def draw_differences(
    found: Mapping[str, Comparison], names: tuple[str, str], about: str, path: Path
) -> None:
    """Differences of all metrics over all rows; losses in a panel of their own, sign turned."""
    losses = [name for name in NAMES if name in found and name in LOWER_IS_BETTER]
    gains = [name for name in NAMES if name in found and name not in LOWER_IS_BETTER]
    heights = [max(1, len(gains)), max(1, len(losses))]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.42 * sum(heights) + 2.4))
        panels = figure.subplots(2, 1, height_ratios=heights)
        for axes, chosen in zip(panels, (gains, losses), strict=True):
            rows = [(NAMES[name], name, found[name]) for name in chosen]
            _intervals(axes, rows)
        panels[0].set_title("AUCs: B minus A")
        panels[1].set_title("losses: A minus B")
        panels[1].set_xlabel(f"right of zero: {names[1]} is ahead")
        _title(figure, _versus(names), found, about)
        save_figure(figure, path, DPI)


def draw_segments(
    found: Mapping[str, Comparison],
    segments: Segments,
    names: tuple[str, str],
    about: str,
    path: Path,
) -> None:
    """Differences of AUC and GAUC in every segment, a panel a metric, a row a segment."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(10, 0.34 * len(segments.judged) + 2.2 + 0.15 * len(segments.left_out[:8])),
        )
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("auc", "gauc"), strict=True):
            rows = []
            for segment in segments.judged:
                result = found.get(metric + segment.key)
                label = f"{_shortened(segment.name)}  ({segment.num_rows:,} rows, {segment.num_users:,} users)"
                rows.append((label, metric, result))
            _intervals(axes, rows)
            axes.set_title(f"{NAMES[metric]}: B minus A")
            axes.set_xlabel(f"right of zero: {names[1]} is ahead")
        panels[1].tick_params(labelleft=False)
        _title(figure, f"{_versus(names)}, by segment", found, about)
        _left_out(figure, segments)
        save_figure(figure, path, DPI)


def draw_calibration(curves: Mapping[str, CalibrationCurve], about: str, path: Path) -> None:
    """Calibration curves over each other."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 5.8))
        axes = figure.subplots()
        _curves(axes, curves)
        _head(figure, "Calibration: clicks against promises", _bins_words(curves), about)
        save_figure(figure, path, DPI)


def draw_power(tables: Sequence[PowerTable], about: str, path: Path) -> None:
    """Smallest difference shown against users, a line a number of seeds, a panel a metric."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.8 * len(tables), 6.2))
        panels = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, table in zip(panels, tables, strict=True):
            _power(axes, table)
        first = tables[0]
        heading = "Smallest difference that users and seeds show"
        words = (
            f"shown with {first.power:.0%} probability by a two-sided test at {1 - first.level:.0%}; "
            f"measured on {first.noise.num_users:,} users, {first.noise.num_seeds} "
            f"seed{'s' * (first.noise.num_seeds > 1)} a side"
        )
        _head(figure, heading, words, about)
        save_figure(figure, path, DPI)


def draw_evaluation(
    curve: CalibrationCurve | None,
    metrics: Mapping[str, Estimate],
    segments: Segments,
    name: str,
    about: str,
    path: Path,
) -> None:
    """One ranker: its calibration curve (None: its scores are no probabilities), and AUC and GAUC in every segment."""
    with matplotlib.rc_context(STYLE):
        height = max(5.6, 0.34 * len(segments.judged) + 2.2)
        figure = Figure(figsize=(12 if curve else 7, height))
        panels = figure.subplots(
            1, 2 if curve else 1, squeeze=False, width_ratios=(1, 1.1)[: 2 if curve else 1]
        )[0]
        right = panels[-1]
        if curve is not None:
            _curves(panels[0], {name: curve})
            panels[0].set_title("calibration")
            panels[0].set_aspect("equal", anchor="N")
        for row, segment in enumerate(segments.judged):
            for shift, metric, colour in ((-0.15, "auc", BLUE), (0.15, "gauc", VERMILION)):
                found = metrics.get(metric + segment.key)
                if found is None:
                    continue
                label = NAMES[metric] if row == 0 else None
                right.plot([found.low, found.high], [row + shift] * 2, color=colour)
                right.plot([found.value], [row + shift], "o", ms=4, color=colour, label=label)
        labels = [f"{_shortened(one.name)}  ({one.num_users:,} users)" for one in segments.judged]
        right.set_yticks(range(len(labels)), labels)
        right.set_ylim(len(labels) - 0.4, -1.4)
        right.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=":")
        right.grid(axis="x", color=FAINT, linewidth=0.6)
        right.set_title("AUC and GAUC by segment; dotted: chance")
        right.legend(loc="upper right", ncols=2)
        if curve is not None:
            words = f"calibration: {_bins_words({name: curve})}; AUCs: the same interval"
            _head(figure, f"{name}: calibration, AUC and GAUC", words, about)
        else:
            level = metrics["auc"].level
            words = f"{level:.0%} intervals, bootstrap over users; the scores are no probabilities"
            _head(figure, f"{name}: AUC and GAUC", words, about)
        _left_out(figure, segments)
        save_figure(figure, path, DPI)


def _intervals(axes: Axes, rows: Sequence[tuple[str, str, Comparison | None]]) -> None:
    """A row an interval; the thin line behind it is the wider interval over users and seeds."""
    for place, (_, metric, result) in enumerate(rows):
        if result is None or result.no_interval:
            words = "no value" if result is None else f"{result.value:+.4f}, {result.no_interval}"
            axes.text(0.5, place, words, color=MUTED, va="center", ha="center",
                      transform=axes.get_yaxis_transform(),
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
            continue
        sign = -1 if metric in LOWER_IS_BETTER else 1
        colour = BLUE if result.is_shown else GREY
        wide = [sign * result.wide_low, sign * result.wide_high]
        if result.num_seeds > 1:
            axes.plot(wide, [place] * 2, color=colour, linewidth=0.9)
            seeds = [sign * value for value in result.seed_values]
            axes.plot(seeds, [place + 0.22] * len(seeds), "|", color=MUTED, ms=5)
        axes.plot([sign * result.low, sign * result.high], [place] * 2, color=colour, linewidth=2.6)
        axes.plot([sign * result.value], [place], "o", ms=5, color=colour)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(*_x_range(rows))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if value else "0")


def _x_range(rows: Sequence[tuple[str, str, Comparison | None]]) -> tuple[float, float]:
    """Room for thick intervals and seeds; a thin one of few seeds may run out of the picture."""
    ends = [0.0]
    for _, metric, result in rows:
        if result is not None and not result.no_interval:
            sign = -1 if metric in LOWER_IS_BETTER else 1
            ends += [sign * value for value in (result.low, result.high, *result.seed_values)]
            width = result.high - result.low
            if result.wide_high - result.wide_low < 3 * width:
                ends += [sign * result.wide_low, sign * result.wide_high]
    known = [end for end in ends if isfinite(end)]
    room = 0.06 * (max(known) - min(known)) or 1e-4
    return min(known) - room, max(known) + room


def _curves(axes: Axes, curves: Mapping[str, CalibrationCurve]) -> None:
    ends = [end for one in curves.values() for end in (*one.predictions, *one.rates, *one.highs)]
    top = max(end for end in ends if isfinite(end)) * 1.05 or 1.0
    axes.plot([0, top], [0, top], color=MUTED, linewidth=0.8, linestyle="--", label="right size")
    for (name, curve), colour in zip(curves.items(), (BLUE, VERMILION), strict=False):
        axes.vlines(curve.predictions, curve.lows, curve.highs, color=colour, linewidth=1.2)
        axes.plot(curve.predictions, curve.rates, "o-", ms=4, linewidth=1, color=colour, label=name)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_xlabel("mean predicted click probability")
    axes.set_ylabel("click rate")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.legend(loc="upper left")


def _power(axes: Axes, table: PowerTable) -> None:
    noise = table.noise
    users = np.geomspace(*_span(table), 40)
    for seeds, colour in zip(table.seeds, SHADES, strict=False):
        heights = [
            noise.smallest_difference(count, seeds, table.power, table.level) for count in users
        ]
        label = f"{seeds} seed{'s' * (seeds > 1)}: {_needed(table, seeds)}"
        axes.plot(users, heights, color=colour, label=label)
        axes.plot(
            noise.num_users,
            noise.smallest_difference(noise.num_users, seeds, table.power, table.level),
            "o",
            ms=4,
            color=colour,
        )
    axes.axhline(table.target, color=VERMILION, linewidth=1)
    axes.annotate(f" {table.target:+g}", (users[0], table.target), color=VERMILION, va="bottom")
    axes.axvline(noise.num_users, color=MUTED, linewidth=0.9, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: _plain(value))
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axes.set_xlim(users[0], users[-1])
    axes.set_xlabel(f"users (dotted: the {noise.num_users:,} of these scores)")
    axes.set_ylabel("difference")
    axes.grid(color=FAINT, linewidth=0.6)
    cautious = " / cautiously" if isfinite(noise.seeds) else ""
    title = f"users needed for {table.target:+g}{cautious}"
    axes.legend(title=title, loc="upper left", bbox_to_anchor=(0, -0.13), ncols=2, fontsize=8)
    axes.set_title("\n".join([noise.of, *textwrap.wrap(seed_words(table)[0], 84)]), fontsize=8)


def _span(table: PowerTable) -> tuple[float, float]:
    known = [users for users in table.users if isfinite(users)]
    return min(known), max(known)


def _needed(table: PowerTable, seeds: int) -> str:
    place = table.seeds.index(seeds)
    counts = [table.users_needed[place]]
    if isfinite(table.noise.seeds):
        counts.append(table.users_needed_cautious[place])
    return " / ".join("never" if count is None else f"{count:,}" for count in counts)


def _plain(value: float) -> str:
    """Three significant digits, never in powers of ten: 0.0005."""
    return np.format_float_positional(value, 3, fractional=False, trim="-")


def _shortened(name: str, most: int = 44) -> str:
    return name if len(name) <= most else name[: most - 3] + "..."


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _versus(names: tuple[str, str]) -> str:
    return f"{names[1]} (B) against {names[0]} (A)"


def _bins_words(curves: Mapping[str, CalibrationCurve]) -> str:
    curve = next(iter(curves.values()))
    rows = round(sum(curve.counts) / len(curve.counts))
    return f"each point about {rows:,} impressions, bar: {curve.level:.0%} interval over users"


def _title(figure: Figure, title: str, found: Mapping[str, Comparison], about: str) -> None:
    first = next(iter(found.values()))
    words = f"thick: {first.level:.0%} interval over {first.count:,} users"
    if first.num_seeds > 1:
        words += f"; thin: over users and {first.num_seeds} seeds; ticks: each seed"
        words += "; blue: zero is outside the thin one, which makes the verdict"
    else:
        words += f"; blue: zero is outside it: {TRAININGS_DIFFER}"
    looked = sum(not one.no_interval for one in found.values())
    words += f"; {looked} intervals were looked at"
    _head(figure, title, words, about)


def _head(figure: Figure, title: str, words: str, about: str) -> None:
    """A bold title at the top left, and under it where the numbers come from and how to read them."""
    width = int(figure.get_figwidth() * 12.5)
    lines = [*textwrap.wrap(about, width), *textwrap.wrap(words, width)]
    inches = (len(lines) + 1) * LINE_INCHES + 0.12
    height = figure.get_figheight()
    place: dict[str, Any] = {"x": 0.1 / figure.get_figwidth(), "va": "top", "fontsize": 9.5}
    figure.text(y=1 - 0.08 / height, s=title, fontweight="bold", **place)
    figure.text(y=1 - (0.08 + LINE_INCHES) / height, s="\n".join(lines), **place)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - inches / height))


def _left_out(figure: Figure, segments: Segments) -> None:
    """Name at the foot what is not drawn."""
    if segments.left_out:
        lines = [f"left out: {one}" for one in segments.left_out[:8]]
        if len(segments.left_out) > 8:
            lines.append(f"and {len(segments.left_out) - 8} more")
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7.5, color=MUTED)
