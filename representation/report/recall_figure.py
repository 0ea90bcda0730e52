"""One picture of an encoder: recall by k with its bands, and what it finds for a few searches by picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moon_rec.estimate import Estimate
from moon_rec.palette import BY_MODALITY
from representation.report.neighbour_sheet import draw_searches, sheet_of
from representation.report.sheet import provenance, save, sheet_figure
from representation.sets.search_cases import MODALITIES, ShopSearches

SHEET_ROWS = 6
NEIGHBOURS = 7
CURVES = 4.4
"""Inches that the curves take."""


def draw_recall(
    path: Path | str, searches: ShopSearches, measured: dict[str, Estimate], seed: int = 0
) -> None:
    """Write the PNG `path`, atomically.

    Above, recall by k of each modality in `measured` (as `measure_shop` gives it, for as many k as there are). Below, where the shop
    has searches by picture: some of them drawn by the seed, the nearest items, and what was bought, with its rank (`neighbour_sheet`).
    """
    shop, gallery = searches.shop, searches.gallery
    if found := searches.findable(["image"]):
        drawn = draw_searches(gallery, found["image"], SHEET_ROWS, "random", NEIGHBOURS, seed)
        figure = sheet_figure(sheet_of(searches, {"image": drawn}), CURVES)
    else:
        figure = Figure(figsize=(11, CURVES))
        figure.text(0.06, 0.01, provenance(shop), fontsize=7, parse_math=False)
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (0.7 / width, 1 - (CURVES - 0.65) / height, 1 - 0.9 / width, (CURVES - 1.1) / height)
    )
    _curves(axes, measured)
    simulated = " (simulated)" if shop.is_simulated else ""
    axes.set_title(
        f"search recall, {shop.name}{simulated}, {searches.period} period, {searches.engagement}; {len(gallery):,} items",
        parse_math=False,
    )
    save(figure, path)


def _curves(axes: Axes, measured: dict[str, Estimate]) -> None:
    for modality in MODALITIES:
        name = f"{modality}_search_recall@"
        points = sorted(
            (int(key[len(name) :]), each) for key, each in measured.items() if key.startswith(name)
        )
        if not points:
            continue
        ks = [k for k, _ in points]
        label = f"{modality} search, {points[0][1].count:,} searches"
        axes.plot(
            ks,
            [each.value for _, each in points],
            color=BY_MODALITY[modality],
            marker=".",
            label=label,
        )
        band = ([each.low for _, each in points], [each.high for _, each in points])
        axes.fill_between(ks, *band, color=BY_MODALITY[modality], alpha=0.15, linewidth=0)
    if axes.lines:
        axes.legend(loc="upper left", frameon=False)
    axes.set(xscale="log", xlabel="k", ylabel="recall@k (band: 95 %)", ylim=(0, 1))
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    axes.grid(alpha=0.3)
