"""The benchmark as one picture: bars with intervals, and for each contestant a heat map of recall by query type and item type."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moon_rec.estimate import Estimate
from moon_rec.figure_files import save_figure
from moon_rec.palette import CYCLE
from representation.metrics.benchmark import Result
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified
from representation.metrics.retrieval import Retrieved
from representation.sets.benchmark_set import QUERY_TYPES, BenchmarkSet
from representation.sets.contestant import ITEM_TYPES

MAPS_A_ROW = 4


def draw(
    path: Path, results: Sequence[Result], bench: BenchmarkSet, config: BenchmarkConfig
) -> None:
    """Write the PNG `path`, atomically."""
    map_rows = -(-len(results) // MAPS_A_ROW)
    heights = [3.2, 3.8, 2.9 * map_rows]
    figure = Figure(figsize=(13, sum(heights) + 0.6), layout="constrained")
    above, middle, below = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    k = config.headline_k
    recall = {
        f"{query} -> {item}": [_estimate(one.retrieval[query][item], k) for one in results]
        for query in QUERY_TYPES
        for item in ITEM_TYPES
    }
    names = [one.name for one in results]
    axes = above.subplots()
    _bars(axes, recall, names, {})
    axes.set_ylabel(f"recall@{k}")
    tasks = {
        f"{task}\nby {shown}": [_accuracy(one, task, shown) for one in results]
        for task in results[0].classification
        for shown in ("image", "title+image")
    }
    axes = middle.subplots()
    _bars(axes, tasks, names, _baselines(results))
    axes.set_ylabel("zero-shot accuracy")
    panels = below.subplots(map_rows, min(MAPS_A_ROW, len(results)), squeeze=False)
    for panel, result in zip(panels.flat, results, strict=False):
        _heat_map(panel, result, k)
    for panel in panels.flat[len(results) :]:
        panel.set_visible(False)
    simulated = " (simulated)" if bench.is_simulated else ""
    title = (
        f"Benchmark on {bench.name}{simulated}: {bench.gallery.height:,} products; 95 % intervals"
    )
    figure.suptitle(title, parse_math=False)
    save_figure(figure, path, dpi=100)


def _bars(
    axes: Axes,
    groups: dict[str, list[Estimate | None]],
    names: Sequence[str],
    baselines: dict[str, tuple[float, float]],
) -> None:
    """A group a question, a bar a contestant; questions that nobody could be asked are left out."""
    shown = {name: found for name, found in groups.items() if any(found)}
    width = 0.8 / max(len(names), 1)
    for at, name in enumerate(names):
        places, found = [], []
        for place, estimates in enumerate(shown.values()):
            estimate = estimates[at]
            if estimate is not None:
                places.append(place + (at - (len(names) - 1) / 2) * width)
                found.append(estimate)
        if not found:
            continue
        values = np.array([one.value for one in found])
        ends = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
        style: dict[str, Any] = {"color": CYCLE[at % len(CYCLE)], "error_kw": {"linewidth": 0.8}}
        axes.bar(places, values, width, yerr=np.clip(ends, 0, None), label=name, **style)
    for line, label, number in (("--", "majority", 0), (":", "chance", 1)):
        for place, name in enumerate(shown if baselines else ()):
            level, ends = baselines[name][number], [place - 0.45, place + 0.45]
            named = label if place == 0 else None
            axes.plot(ends, [level, level], line, color="black", linewidth=1, label=named)
    axes.set_xticks(
        range(len(shown)), list(shown), rotation=35, ha="right", fontsize=8, parse_math=False
    )
    axes.set_ylim(0, 1)
    axes.grid(axis="y", linewidth=0.3)
    if shown:
        legend = axes.legend(fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)


def _heat_map(axes: Axes, result: Result, k: int) -> None:
    found = [
        [_estimate(result.retrieval[query][item], k) for item in ITEM_TYPES]
        for query in QUERY_TYPES
    ]
    values = np.array([[np.nan if one is None else one.value for one in row] for row in found])
    axes.imshow(np.ma.masked_invalid(values), cmap="viridis", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        text, colour = (
            ("-", "black")
            if np.isnan(value)
            else (f"{value:.2f}", "white" if value < 0.6 else "black")
        )
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(ITEM_TYPES)), ITEM_TYPES, fontsize=8)
    axes.set_yticks(range(len(QUERY_TYPES)), QUERY_TYPES, fontsize=8)
    axes.set_xlabel("product shown by", fontsize=8)
    axes.set_title(f"{result.name}, recall@{k}", fontsize=9, parse_math=False)


def _estimate(cell: object, k: int) -> Estimate | None:
    return cell.recall[k] if isinstance(cell, Retrieved) else None


def _accuracy(result: Result, task: str, shown: str) -> Estimate | None:
    one = result.classification[task][shown]  # type: ignore[index]
    return one.figures["accuracy"] if isinstance(one, Classified) else None


def _baselines(results: Sequence[Result]) -> dict[str, tuple[float, float]]:
    return {
        f"{task}\nby {shown}": (one.majority, one.chance)
        for result in results
        for task, ways in result.classification.items()
        for shown, one in ways.items()
        if isinstance(one, Classified)
    }
