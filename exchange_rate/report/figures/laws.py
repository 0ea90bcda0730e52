"""How metric and AUC grow along each axis of encoders and of rankers, in pictures."""

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.analysis.axes import AXES, OF_ENCODERS, Axis, value_of
from exchange_rate.analysis.results import Encoder, Law, LawPoint, Number, Results
from exchange_rate.analysis.words import words
from exchange_rate.report.drawing import error_bars, short
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, MUTED, ORANGE, PURPLE, SKY, VERMILION

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
MOST_GROUPS = len(COLOURS)
"""Trainings, or other groups, that have a colour of their own; the others are grey."""


def growth(found: Results, axis: Axis) -> Figure | None:
    """Steering metric and AUC against an axis: every encoder, or ranker, that lies on it, the groups of its laws in colours; a law's line where it stands, crosses where it predicts points
    that it has not seen. None where nothing lies there, and of any axis but tokens of post-training where no group has enough points."""
    laws = [law for law in found.laws if law.axis == AXES[axis]]
    own = [] if axis not in OF_ENCODERS else [one for one in found.encoders if value_of(one, axis) > 0]  # fmt: skip
    if not laws and not (own and axis == OF_ENCODERS[0]):
        return None
    names = [found.about.steering_metric, "auc"] if own else ["auc"]
    figure = Figure(figsize=(4.3 * len(names) + (0 if own else 1.5), 3.9), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    groups = sorted({law.along: law for law in laws}.values(), key=lambda law: -len(law.points))
    coloured = [law.along for law in groups[:MOST_GROUPS]]
    for axes, name in zip(panels, names, strict=True):
        _encoders(axes, own, axis, name)
        for law in laws:
            if law.name == name:
                colour = COLOURS[coloured.index(law.along)] if law.along in coloured else GREY
                _points(axes, law, colour, law.along in coloured)
                _law(axes, law, colour)
        if axis == OF_ENCODERS[0]:
            _without(axes, [one for one in found.encoders if not value_of(one, axis)], name)
        values = [value_of(one, axis) for one in own] + [one.x for law in laws for one in law.points]  # fmt: skip
        _log_scale(axes, values, AXES[axis])
        axes.set_title("AUC" if not own else f"AUC of {found.ranker.content}" if name == "auc" else words(name))  # fmt: skip
    handles, labels = panels[-1].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2 if own else 1)
    return figure


def _of(encoder: Encoder, name: str) -> Number:
    return encoder.auc if name == "auc" else encoder.metric


def _encoders(axes: Axes, encoders: list[Encoder], axis: Axis, name: str) -> None:
    """All that lie on the axis, small and grey; encoders of one training are joined along tokens."""
    paths: dict[str, list[Encoder]] = {}
    for one in encoders:
        if _of(one, name).value is not None:
            paths.setdefault(one.path, []).append(one)
    for own in paths.values():
        axes.plot(
            [value_of(one, axis) for one in own],
            [_of(one, name).value or 0.0 for one in own],
            "o-" if axis == OF_ENCODERS[0] else "o",
            color=GREY,
            markersize=3,
            linewidth=0.8,
            alpha=0.5,
        )


def _points(axes: Axes, law: Law, colour: str, is_named: bool) -> None:
    """What a law was asked of; checkpoints of one training are joined."""
    axes.errorbar(
        [one.x for one in law.points],
        [one.y for one in law.points],
        yerr=np.hstack([_bars(one) for one in law.points]) if law.points else None,
        fmt="o-" if law.path else "o",
        color=colour,
        markersize=5,
        linewidth=1.2,
        elinewidth=1,
        capsize=2,
        label=law.along if is_named else None,
    )


def _bars(one: LawPoint) -> np.ndarray:
    return error_bars(Number(value=one.y, low=one.low, high=one.high, definition=""))


def _without(axes: Axes, encoders: list[Encoder], name: str) -> None:
    """Lines across for encoders that lie nowhere on the axis."""
    for one, style in zip(encoders, ("--", ":", "-."), strict=False):
        number = _of(one, name)
        if number.value is not None:
            axes.axhline(number.value, color=GREY, linewidth=1, linestyle=style, label=one.name)


def _law(axes: Axes, law: Law, colour: str) -> None:
    """The law where it stands, and its held-out points."""
    if law.line is not None:
        axes.fill_between(law.line.x, law.line.low, law.line.high, color=colour, alpha=0.1)
        axes.plot(law.line.x, law.line.value, color=colour, linewidth=1, linestyle="--")
    for form in law.forms[:1]:
        for point in form.held_out:
            axes.plot(point.x, point.predicted, "x", color=colour, markersize=8, markeredgewidth=2)
            if point.low is not None and point.high is not None:
                axes.vlines(point.x, point.low, point.high, colors=colour, linewidth=3, alpha=0.25)


def _log_scale(axes: Axes, values: list[float], axis: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(axis="x", which="minor", labelsize=8)
    if max(values) > 20 * min(values):
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel(f"{axis} (log scale)", color=MUTED)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
