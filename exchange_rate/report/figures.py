"""The report's figures: drawn from `exchange_rate.analysis.study_analysis`'s plain values, one function a figure, each to be saved as PNG and put into the page as SVG.

Colours are Okabe and Ito's (told apart by colour-blind readers), and every mark has an interval or the figure says why it has none.
"""

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exchange_rate.report.drawing import (
    VERDICT_COLOURS,
    error_bars,
    offsets,
    short,
    words,
    wrapped,
)
from moon_rec.drawing import STYLE, as_figure_texts
from moon_rec.palette import BLUE, FAINT, GREEN, GREY, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION

Data = dict[str, Any]
MOST_ROWS = 100
"""Of encoders in a figure that grows with them; the table has all."""


def draw_all(data: Data) -> dict[str, Figure]:
    """Every figure that the study has the data for, by name."""
    drawn: dict[str, Figure] = {}
    data = as_figure_texts(data)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw(data)
            if figure is not None:
                figure.suptitle(_scope(data), x=0.01, ha="left", fontsize=8, color=MUTED)
                drawn[name] = figure
    return drawn


def exchange_rate(data: Data) -> Figure | None:
    """AUC against the steering metric: encoders with intervals on both axes, the line with its band."""
    encoders = [
        one for one in data["encoders"] if None not in (one["metric"]["value"], one["auc"]["value"])
    ]
    if not encoders:
        return None
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    axes, key = figure.subplots(1, 2, width_ratios=(3.1, 1))
    line = data["rates"]["auc"]["line"]
    if line is not None:
        is_sure = data["rates"]["auc"]["verdict"] == "identified"
        style = "-" if is_sure else "--"
        axes.fill_between(line["x"], line["low"], line["high"], color=BLUE, alpha=0.1, linewidth=0)
        axes.plot(line["x"], line["value"], color=BLUE, linewidth=1.6, linestyle=style, alpha=0.8)
    for number, one in enumerate(encoders, 1):
        x, y = one["metric"], one["auc"]
        bars = {"xerr": error_bars(x), "yerr": error_bars(y)}
        axes.errorbar(
            x["value"], y["value"], **bars, fmt="none", ecolor=MUTED, elinewidth=1, capsize=2
        )
        axes.plot(x["value"], y["value"], "o", color=BLUE, markersize=13, markeredgecolor="white")
        axes.annotate(
            str(number),
            (x["value"], y["value"]),
            color="white",
            ha="center",
            va="center",
            fontsize=8,
        )
    _key(key, [one["encoder"] for one in encoders])
    _references(axes, key, data, len(encoders) + 1.4)
    if line is not None:
        _keep_to_points(axes, encoders, data)
    axes.set_xlabel(words(data["study"]["steering_metric"]))
    axes.set_ylabel(_auc_of(data))
    axes.set_title(_rate_title(data))
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure


def candidates(data: Data) -> Figure | None:
    """Left: how far off each metric predicts an unseen encoder's AUC, the best first. Right: what one typical step between encoders on it goes with."""
    rows = [one for one in data["candidates"] if one["is_shown"]]
    rows = [one for one in rows if one["left_out_error"]["value"] is not None][:18]
    if not rows:
        return None
    figure = Figure(figsize=(8.6, 1.9 + 0.29 * len(rows)), layout="constrained")
    errors, slopes = figure.subplots(1, 2, sharey=True)
    for place, one in enumerate(rows):
        colour = VERDICT_COLOURS[one["verdict"]]
        for axes, number in ((errors, one["left_out_error"]), (slopes, one["slope_per_deviation"])):
            if number["value"] is None:
                axes.text(0, place, "none", color=MUTED, fontsize=8, va="center", ha="center")
                continue
            bars = error_bars(number)
            axes.errorbar(
                number["value"],
                place,
                xerr=bars,
                fmt="o",
                color=colour,
                elinewidth=1.8,
                capsize=3,
                markerfacecolor="white" if one["is_told_from_best"] else colour,
            )
    errors.axvline(rows[0]["left_out_error_of_mean"]["value"], color=MUTED, linestyle="--")
    errors.set_xlim(left=0)
    slopes.axvline(0, color=MUTED, linewidth=0.9)
    errors.set_yticks(range(len(rows)), [words(one["metric"]) for one in rows])
    errors.set_ylim(len(rows) - 0.5, -0.5)
    for axes in (errors, slopes):
        axes.tick_params(axis="y", length=0, colors=INK)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    for label in errors.get_yticklabels()[:1]:
        label.set_fontweight("bold")
    errors.set_title("Error at an unseen encoder's AUC")
    errors.set_xlabel("filled: not told from the best; dashed: guessing the mean", fontsize=8.5)
    slopes.set_title("AUC per standard deviation")
    shown = {one["verdict"] for one in rows}
    for verdict, colour in VERDICT_COLOURS.items():
        if verdict in shown:
            slopes.plot([], [], "o-", color=colour, label=verdict)
    handles, labels = slopes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def rankers(data: Data) -> Figure | None:
    """AUC of ids only, the permuted control and the ranker on true vectors, and what each gains over ids only, by segment."""
    content, permuted = (
        data["comparison"].get(pair)
        for pair in ("content against baseline", "permuted against baseline")
    )
    if not content:
        return None
    figure = Figure(figsize=(8.6, 3.7), layout="constrained")
    levels, gains = figure.subplots(1, 2)
    models = [(data["rankers"]["baseline"], GREY, content, "auc_a")]
    if permuted:
        models.append((data["rankers"]["permuted"], ORANGE, permuted, "auc_b"))
    models.append((data["rankers"]["content"], BLUE, content, "auc_b"))
    segments = [key for key in ("", "_warm", "_cold") if f"auc_b{key}" in content]
    for offset, (label, colour, numbers, name) in zip(offsets(len(models)), models, strict=True):
        _dots(levels, segments, numbers, name, offset, colour, label)
    for place, segment in enumerate(segments):
        best = content.get(f"auc_best{segment}")
        if best and best["value"] is not None:
            label = "best possible (simulated truth)" if not place else None
            levels.hlines(best["value"], place - 0.36, place + 0.36, colors=GREEN, label=label)
    for offset, (label, colour, numbers, _) in zip(
        offsets(len(models) - 1), models[1:], strict=True
    ):
        _dots(gains, segments, numbers, "auc_gain", offset, colour, label)
    gains.axhline(0, color=MUTED, linewidth=0.9)
    for axes, title in ((levels, "AUC"), (gains, "AUC gained over ids only")):
        names = {"": "all items", "_warm": "warm items", "_cold": "cold items"}
        axes.set_xticks(range(len(segments)), [names[segment] for segment in segments])
        axes.tick_params(axis="x", length=0, colors=INK)
        axes.set_xlim(-0.6, len(segments) - 0.4)
        axes.set_title(title)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    handles, labels = levels.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def tokens(data: Data) -> Figure | None:
    """Steering metric and AUC against post-training tokens; checkpoints of one run are joined."""
    trained = [one for one in data["encoders"] if one["posttraining_tokens"] > 0]
    if not trained:
        return None
    figure = Figure(figsize=(8.6, 3.7), layout="constrained")
    panels = figure.subplots(1, 2)
    paths = list(dict.fromkeys(one["path"] for one in trained))
    colours = [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY]
    untrained = [one for one in data["encoders"] if not one["posttraining_tokens"]]
    for axes, name in zip(panels, ("metric", "auc"), strict=True):
        for place, path in enumerate(paths):
            own = [one for one in trained if one["path"] == path and one[name]["value"] is not None]
            x = [one["posttraining_tokens"] for one in own]
            y = [one[name]["value"] for one in own]
            bars = np.hstack([error_bars(one[name]) for one in own]) if own else None
            colour = colours[place % len(colours)]
            axes.errorbar(
                x,
                y,
                yerr=bars,
                fmt="o-",
                color=colour,
                linewidth=1.4,
                elinewidth=1,
                capsize=2,
                label=path,
            )
        for one, style in zip(untrained, ("--", ":", "-."), strict=False):
            if one[name]["value"] is not None:
                axes.axhline(
                    one[name]["value"],
                    color=GREY,
                    linewidth=1,
                    linestyle=style,
                    label=one["encoder"],
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
        axes.xaxis.set_minor_formatter(ticker.FuncFormatter(lambda value, _: short(value)))
        axes.tick_params(axis="x", which="minor", labelsize=8)
        if max(one["posttraining_tokens"] for one in trained) > 20 * min(
            one["posttraining_tokens"] for one in trained
        ):
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.set_xlabel("post-training tokens (log scale)")
        axes.grid(color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    panels[0].set_title(words(data["study"]["steering_metric"]))
    panels[1].set_title(_auc_of(data))
    handles, labels = panels[1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def share_of_the_way(data: Data) -> Figure | None:
    """How far each encoder takes the ranker from ids only to the best possible AUC; simulated shops only."""
    rows = [one for one in data["encoders"] if one["shares"][""]["value"] is not None][:MOST_ROWS]
    if not rows or not data["is_simulated"]:
        return None
    figure = Figure(figsize=(8.6, 1.6 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    segments = {
        "_cold": ("cold items", VERMILION),
        "_warm": ("warm items", GREEN),
        "": ("all items", BLUE),
    }
    shown = {
        key: look for key, look in segments.items() if rows[0]["shares"][key]["value"] is not None
    }
    for offset, (segment, (label, colour)) in zip(offsets(len(shown)), shown.items(), strict=True):
        for place, one in enumerate(rows):
            share = one["shares"][segment]
            if share["value"] is not None:
                axes.errorbar(
                    100 * share["value"],
                    place - offset,
                    xerr=100 * error_bars(share),
                    fmt="o",
                    color=colour,
                    elinewidth=1.6,
                    capsize=2.5,
                    label=None if place else label,
                )
    axes.axvline(0, color=MUTED, linewidth=0.9)
    axes.set_yticks(range(len(rows)), [one["encoder"] for one in rows])
    axes.tick_params(axis="y", length=0, colors=INK)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(decimals=0))
    axes.set_xlabel(
        "share of the way from ids only (0 %) to the true click probability (100 %), simulated"
    )
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3)
    return figure


FIGURES: dict[str, Callable[[Data], Figure | None]] = {
    "exchange_rate": exchange_rate,
    "candidates": candidates,
    "rankers": rankers,
    "tokens": tokens,
    "share_of_the_way": share_of_the_way,
}


def _scope(data: Data) -> str:
    """What stands over every figure: it may be shown alone."""
    study, kind = data["study"], "simulated shop" if data["is_simulated"] else "shop"
    if study["shop"] is None:
        return f"{'simulated ' if data['is_simulated'] else ''}points of {study['name']}"
    seeds = "one seed" if study["num_seeds"] == 1 else f"{study['num_seeds']} seeds"
    sampled = "; non-clicks sampled" if study["shop"].get("non_clicks") else ""
    return f"{kind} {study['shop']['name']}, {study['period']} period, {seeds}{sampled}"


def _auc_of(data: Data) -> str:
    label = data["study"]["label"]
    return wrapped(
        f"AUC of {data['rankers']['content']}" + (f", label {label}" if label else ""), 40
    )


def _rate_title(data: Data) -> str:
    rate = data["rates"]["auc"]
    slope = rate["slope"]
    if slope["value"] is None:
        return "No exchange rate: " + rate["verdict"]
    interval = f"[{slope['low']:+.3f}, {slope['high']:+.3f}]"
    if rate["verdict"] in ("identified", "saturating"):
        return f"Slope {slope['value']:+.3f} {interval}: {rate['verdict']}"
    return f"Slope in {interval}: {rate['verdict']}"


def _references(axes: Axes, key: Axes, data: Data, place: float) -> None:
    """The AUC of ids only and of the permuted control, as lines across, named in the key from row `place` on."""
    content, permuted = (
        data["comparison"].get(pair)
        for pair in ("content against baseline", "permuted against baseline")
    )
    lines = [
        (content, "auc_a", data["rankers"]["baseline"], GREY, "--"),
        (permuted, "auc_b", "permuted vectors", ORANGE, ":"),
    ]
    for numbers, name, label, colour, style in lines:
        if numbers and numbers.get(name, {}).get("value") is not None:
            axes.axhline(numbers[name]["value"], color=colour, linewidth=1.4, linestyle=style)
            key.plot([0, 0.1], [place, place], color=colour, linewidth=1.6, linestyle=style)
            key.annotate(wrapped(label), (0.16, place), va="center", fontsize=9)
            place += 0.8


def _keep_to_points(axes: Axes, encoders: list[Data], data: Data) -> None:
    """Let the points and the reference lines, not a wide band, set the vertical range."""
    values = [one["auc"][end] for one in encoders for end in ("value", "low", "high")]
    content, permuted = (
        data["comparison"].get(pair)
        for pair in ("content against baseline", "permuted against baseline")
    )
    values += [content["auc_a"]["value"]] if content and "auc_a" in content else []
    values += [permuted["auc_b"]["value"]] if permuted and "auc_b" in permuted else []
    known = [value for value in values if value is not None]
    margin = 0.12 * (max(known) - min(known)) + 1e-6
    axes.set_ylim(min(known) - margin, max(known) + margin)


def _key(axes: Axes, names: list[str]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(names) + 2.8, 9), 0.4)
    for number, name in enumerate(names, 1):
        axes.plot(
            0.05, number, "o", color=BLUE, markersize=13, markeredgecolor="white", clip_on=False
        )
        axes.annotate(
            str(number), (0.05, number), color="white", ha="center", va="center", fontsize=8
        )
        axes.annotate(wrapped(name), (0.16, number), va="center", fontsize=9)


def _dots(
    axes: Axes,
    segments: list[str],
    numbers: Data,
    name: str,
    offset: float,
    colour: str,
    label: str,
) -> None:
    for place, segment in enumerate(segments):
        one = numbers.get(f"{name}{segment}")
        if one and one["value"] is not None:
            axes.errorbar(
                place + offset,
                one["value"],
                yerr=error_bars(one),
                fmt="o",
                color=colour,
                markersize=7,
                elinewidth=1.8,
                capsize=3,
                label=None if place else label,
            )
