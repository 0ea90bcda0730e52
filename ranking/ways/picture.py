"""The comparison of all ways as a picture: gains with intervals, all, cold and warm, and the cost of a step."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
from matplotlib.axes import Axes

from moon_rec.figure_files import save_figure
from ranking.comparison import Comparison
from ranking.ways.result import WayResult

PANELS = {
    "auc": "AUC, all items",
    "auc_cold": "AUC, cold items",
    "auc_warm": "AUC, warm items",
    "gauc": "GAUC (by impressions)",
}
TRUE, PERMUTED = "tab:blue", "tab:gray"
APART = 0.17


def draw(results: Sequence[WayResult], title: str, path: Path) -> None:
    """A row a way; blue is its gain over the baseline, gray that of its permuted control."""
    has_cost = any(one.cost is not None for one in results)
    count = len(PANELS) + has_cost
    figure = matplotlib.figure.Figure(
        figsize=(2.7 * count + 1.2, 0.42 * len(results) + 1.6), layout="constrained"
    )
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes, (metric, words) in zip(panels, PANELS.items(), strict=False):
        _gains(axes, results, metric)
        axes.set_title(words, fontsize=10)
    if has_cost:
        _costs(panels[-1], results)
    panels[0].set_yticks(range(len(results)), [one.title for one in results])
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(
        "gain over the baseline (see the title), in points (.01), mean over seeds, 95 % paired intervals over users and seeds "
        "(over users alone where one was trained); gray: permuted vectors",
        fontsize=9,
    )
    save_figure(figure, path, dpi=120)


def _gains(axes: Axes, results: Sequence[WayResult], metric: str) -> None:
    axes.axvline(0, color="black", linewidth=0.8)
    for row, one in enumerate(results):
        _interval(axes, one.gains.get(metric), row - APART * bool(one.permuted), TRUE)
        _interval(axes, one.permuted.get(metric), row + APART, PERMUTED)
    axes.grid(axis="x", linewidth=0.3)


def _interval(axes: Axes, found: Comparison | None, row: float, colour: str) -> None:
    if found is None:
        return
    low, high = found.verdict_interval
    axes.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=2)
    axes.plot([100 * found.value], [row], "o", color=colour, markersize=4)


def _costs(axes: Axes, results: Sequence[WayResult]) -> None:
    axes.axvline(1, color="black", linewidth=0.8)
    for row, one in enumerate(results):
        if one.cost is not None:
            axes.barh(row, one.cost.ratio, color="tab:orange", height=0.5)
            axes.plot([one.cost.low, one.cost.high], [row, row], color="black", linewidth=1)
    axes.set_title("training step, x baseline", fontsize=10)
    axes.set_xlim(left=0)
