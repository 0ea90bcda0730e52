"""Curation in one picture: pairs through the steps, and the mix of categories before and after beside that of impressions."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from moon_rec.figure_files import save_figure
from moon_rec.palette import BLUE, CYCLE, GREY, VERMILION
from moon_rec.shop import Shop
from representation.curation.curated import Curated

BEFORE, AFTER, EXPOSURE = GREY, BLUE, VERMILION
NUM_CATEGORIES = 15
LETTERS = 32


def draw_curation(path: Path | str, shop: Shop, curated: Curated) -> None:
    """Write the PNG `path`, atomically.

    Left, the pairs left after each step by kind of query; right, a panel for each kind that has pairs: the categories shown most, with their shares of the pairs before and
    after curation and of impressions.
    """
    kinds = [kind for kind, mix in curated.mixes.items() if mix["before"].sum() > 0]
    figure = Figure(figsize=(7 + 4.4 * max(len(kinds), 1), 6.2), layout="constrained")
    simulated = " (SIMULATED)" if shop.is_simulated else ""
    figure.suptitle(f"curation of pairs before the cut, {shop.name}{simulated}", parse_math=False)
    ratios = [6.0, *[4.4] * len(kinds)]
    panels = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
    _draw_steps(panels[0], curated)
    for place, kind in enumerate(kinds):
        _draw_mix(panels[place + 1], curated, kind)
    save_figure(figure, path, dpi=100)


def _draw_steps(axes: Axes, curated: Curated) -> None:
    names = ["before", *(step.name.replace("_", "\n") for step in curated.steps)]
    bottom = np.zeros(len(names))
    for kind, colour in zip(curated.pairs, CYCLE, strict=False):
        left = [step.by_kind[kind][1] for step in curated.steps]
        start = curated.steps[0].by_kind[kind][0] if curated.steps else curated.pairs[kind].height
        counts = np.array([start, *left])
        axes.bar(names, counts, bottom=bottom, color=colour, label=kind, width=0.7)
        for place, count in enumerate(counts):
            if count > 0.04 * (bottom.max() + counts.max()):
                middle = bottom[place] + count / 2
                axes.text(
                    place, middle, f"{count:,}", ha="center", va="center", fontsize=7, color="white"
                )
        bottom = bottom + counts
    for place, count in enumerate(bottom):
        axes.text(place, count, f"{int(count):,}", ha="center", va="bottom", fontsize=8)
    axes.set(ylabel="pairs", title="pairs left after each step")
    axes.tick_params(axis="x", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, title="kind of query", title_fontsize=8)


def _draw_mix(axes: Axes, curated: Curated, kind: str) -> None:
    mix = curated.mixes[kind]
    shown = mix.sort("exposure", "category", descending=[True, False]).head(NUM_CATEGORIES)
    shown = shown.reverse()
    names = [_short(name) for name in shown["category"]]
    height = np.arange(len(names))
    axes.barh(height + 0.2, shown["before"], 0.36, color=BEFORE, label="pairs before")
    axes.barh(height - 0.2, shown["after"], 0.36, color=AFTER, label="pairs after")
    axes.scatter(
        shown["exposure"], height, marker="|", s=160, color=EXPOSURE, label="impressions", zorder=3
    )
    before, after = curated.distances[kind]
    axes.set_yticks(height, labels=names, fontsize=7, parse_math=False)
    axes.set(xlabel="share", title=f"{kind} queries\ndistance {before:.3f} -> {after:.3f}")
    axes.title.set_fontsize(9)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    rest = mix.height - shown.height
    if rest > 0:
        left = 1 - shown["exposure"].sum()
        axes.text(
            1, 0, f"{rest:,} more categories, {left:.0%} of impressions",
            transform=axes.transAxes, ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=7, loc="center right")


def _short(category: str) -> str:
    name = category.rpartition("/")[2] or "(none)"
    return name if len(name) <= LETTERS else name[: LETTERS - 3] + "..."
