"""How metric and AUC grow along the trainings, in a picture."""

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.analysis.results import Encoder, Law, Number, Results
from exchange_rate.analysis.words import words
from exchange_rate.report.drawing import error_bars, short
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, MUTED, ORANGE, PURPLE, SKY, VERMILION

COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
MOST_PATHS = len(COLOURS)
"""Trainings that have a colour of their own; the others are grey."""


def tokens(found: Results) -> Figure | None:
    """Steering metric and AUC against post-training tokens; checkpoints of one training are joined, crosses are what a law predicts of points that it has not seen."""
    trained = [one for one in found.encoders if one.posttraining_tokens > 0]
    if not trained:
        return None
    figure = Figure(figsize=(8.6, 3.9), layout="constrained")
    panels = figure.subplots(1, 2)
    untrained = [one for one in found.encoders if not one.posttraining_tokens]
    paths: dict[str, list[Encoder]] = {}
    for one in trained:
        paths.setdefault(one.path, []).append(one)
    longest = sorted(paths, key=lambda path: -len(paths[path]))[:MOST_PATHS]
    for axes, name in zip(panels, (found.about.steering_metric, "auc"), strict=True):
        for path, own in paths.items():
            place = longest.index(path) if path in longest else None
            _path(axes, path, own, name, place)
        for one, style in zip(untrained, ("--", ":", "-."), strict=False):
            number = _of(one, name)
            if number.value is not None:
                axes.axhline(number.value, color=GREY, linewidth=1, linestyle=style, label=one.name)
        for law in found.laws:
            if law.name == name and law.path in longest:
                _law(axes, law, COLOURS[longest.index(law.path)])
        _log_scale(axes, [one.posttraining_tokens for one in trained])
    panels[0].set_title(words(found.about.steering_metric))
    panels[1].set_title(f"AUC of {found.ranker.content}")
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _of(encoder: Encoder, name: str) -> Number:
    return encoder.auc if name == "auc" else encoder.metric


def _path(axes: Axes, path: str, own: list[Encoder], name: str, place: int | None) -> None:
    known = [one for one in own if _of(one, name).value is not None]
    if not known:
        return
    bars = None if place is None else np.hstack([error_bars(_of(one, name)) for one in known])
    axes.errorbar(
        [one.posttraining_tokens for one in known],
        [_of(one, name).value or 0.0 for one in known],
        yerr=bars,
        fmt="o-",
        color=GREY if place is None else COLOURS[place],
        markersize=3 if place is None else 5,
        alpha=0.5 if place is None else 1,
        linewidth=0.8 if place is None else 1.4,
        elinewidth=1,
        capsize=2,
        label=None if place is None else path,
    )


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


def _log_scale(axes: Axes, values: list[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(axis="x", which="minor", labelsize=8)
    if max(values) > 20 * min(values):
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("post-training tokens (log scale)", color=MUTED)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
