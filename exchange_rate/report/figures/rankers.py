"""Rankers on the same rows, by segment, in pictures."""

from collections.abc import Sequence

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.analysis.results import BySegment, Results
from exchange_rate.report.drawing import error_bars, offsets
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, INK, MUTED, ORANGE, VERMILION

SEGMENTS = {"all": "all items", "warm": "warm items", "cold": "cold items"}
MOST_ROWS = 60
"""Of encoders in a figure that grows with them; the table has all."""


def rankers(found: Results) -> Figure | None:
    """AUC of the baseline, the permuted control and the ranker on true vectors, and what each gains over the baseline, by segment."""
    content = found.comparison("content", "baseline")
    permuted = found.comparison("permuted", "baseline")
    if content is None:
        return None
    figure = Figure(figsize=(8.6, 3.7), layout="constrained")
    levels, gains = figure.subplots(1, 2)
    models: list[tuple[str, str, BySegment, BySegment | None]] = [
        (content.against, GREY, content.auc_against, None)
    ]
    if permuted is not None:
        models.append((permuted.name, ORANGE, permuted.auc, permuted.gain))
    models.append((content.name, BLUE, content.auc, content.gain))
    segments = [one for one in SEGMENTS if getattr(content.auc, one) is not None]
    for offset, (label, colour, auc, _) in zip(offsets(len(models)), models, strict=True):
        _dots(levels, segments, auc, offset, colour, label)
    for place, segment in enumerate(segments):
        best = getattr(content.best, segment)
        if best is not None:
            label = "best possible (simulated truth)" if not place else None
            levels.hlines(best.value, place - 0.36, place + 0.36, colors=GREEN, label=label)
    for offset, (label, colour, _, gain) in zip(offsets(len(models) - 1), models[1:], strict=True):
        _dots(gains, segments, gain or BySegment(), offset, colour, label)
    gains.axhline(0, color=MUTED, linewidth=0.9)
    for axes, title in ((levels, "AUC"), (gains, "AUC gained over the baseline")):
        axes.set_xticks(range(len(segments)), [SEGMENTS[segment] for segment in segments])
        axes.tick_params(axis="x", length=0, colors=INK)
        axes.set_xlim(-0.6, len(segments) - 0.4)
        axes.set_title(title)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    handles, labels = levels.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def share_of_the_way(found: Results) -> Figure | None:
    """How far each encoder takes the ranker from the baseline to the best possible AUC; simulated shops only."""
    rows = [one for one in found.encoders if one.shares.all is not None]
    rows = sorted(rows, key=lambda one: -(one.shares.all.value or 0.0))[:MOST_ROWS]  # type: ignore[union-attr]
    if not rows or not found.about.is_simulated:
        return None
    figure = Figure(figsize=(8.6, 1.6 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    looks = {"cold": VERMILION, "warm": GREEN, "all": BLUE}
    shown = [one for one in looks if getattr(rows[0].shares, one) is not None]
    for offset, segment in zip(offsets(len(shown)), shown, strict=True):
        for place, one in enumerate(rows):
            share = getattr(one.shares, segment)
            if share is not None:
                axes.errorbar(
                    100 * share.value,
                    place - offset,
                    xerr=100 * error_bars(share),
                    fmt="o",
                    color=looks[segment],
                    elinewidth=1.6,
                    capsize=2.5,
                    label=None if place else SEGMENTS[segment],
                )
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.set_yticks(range(len(rows)), [one.name for one in rows])
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(decimals=0))
    axes.set_xlabel(
        "share of the way from the baseline (0 %) to the true click probability (100 %), simulated"
    )
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3)
    return figure


def _dots(
    axes: Axes,
    segments: Sequence[str],
    numbers: BySegment,
    offset: float,
    colour: str,
    label: str,
) -> None:
    for place, segment in enumerate(segments):
        one = getattr(numbers, segment)
        if one is not None:
            axes.errorbar(
                place + offset,
                one.value,
                yerr=error_bars(one),
                fmt="o",
                color=colour,
                markersize=7,
                elinewidth=1.8,
                capsize=3,
                label=None if place else label,
            )
