"""A shop on one page: some of its items, what was bought after some photos, and its days with the two cuts."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from moon_rec.errors import ShopError
from moon_rec.figure_files import save_figure
from moon_rec.palette import BLUE, ORANGE, VERMILION
from moon_rec.seeds import generator
from moon_rec.shop.description import describe
from moon_rec.shop.description.results import Days
from moon_rec.shop.engagement import engagements
from moon_rec.shop.pictures import decode
from moon_rec.shop.shop import Shop
from moon_rec.shown import as_figure_text, visible

NUM_ITEMS = 16
NUM_QUERIES = 8
COLUMNS = 8
TITLE_WIDTH = 20
FORMATS = (".png", ".pdf", ".svg")


def draw_sheet(shop: Shop, path: str | Path, seed: int = 0, days: Days | None = None) -> None:
    """Draw the sheet into a PNG, PDF or SVG file; the samples are the same for the same seed.

    Args:
        days: the log over time, of a description of the shop where there is one already.

    Raises:
        ShopError: the file's ending is none of these, or a sampled picture does not decode.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ShopError(f"{path}: a sheet is drawn as {', '.join(FORMATS)}; end the name with one")
    items, pairs = _sample_items(shop, seed), _sample_pairs(shop, seed)
    heights = [1.5 * -(-len(items) // COLUMNS), 3.0 * bool(pairs), 2.4]
    figure = Figure(figsize=(13, sum(heights) + 1), layout="constrained")
    simulated = " (SIMULATED)" if shop.is_simulated else ""
    title = as_figure_text(f"{shop.name}{simulated}: {shop.source}")
    figure.suptitle(title, fontsize=11, wrap=True)
    panels: Any = figure.subfigures(3, 1, height_ratios=[max(height, 0.01) for height in heights])
    if items:
        _draw_items(panels[0], items)
    if pairs:
        _draw_pairs(panels[1], pairs)
    _draw_days(panels[2], shop, describe(shop).days if days is None else days)
    save_figure(figure, path, dpi=110)


def sample(ids: pl.Series, count: int, seed: int, name: str) -> list[int]:
    """At most `count` of the ids, each once, drawn at random; the same for the same seed and name."""
    ids = ids.unique().sort()
    rows = generator(seed, "sheet", name).choice(len(ids), min(count, len(ids)), replace=False)
    return ids.gather(rows).to_list()


def _sample_items(shop: Shop, seed: int) -> list[tuple[str, bytes]]:
    """(title, picture) of some items with a picture."""
    ids = shop.pictured("items").filter("has_picture").collect()["item_id"]
    chosen = sample(ids, NUM_ITEMS, seed, "items")
    rows = shop.items.filter(pl.col("item_id").is_in(chosen)).select("item_id", "title", "image")
    return rows.sort("item_id").collect().select("title", "image").rows()


def _sample_pairs(shop: Shop, seed: int) -> list[tuple[str | None, bytes, str, bytes | None]]:
    """(query text, query picture, title, picture) of some searches by picture and the first purchase after each."""
    by_picture = shop.pictured("searches").filter("has_picture").select("search_id")
    bought = (
        engagements(shop, "purchased")
        .join(by_picture, on="search_id", how="semi")
        .select("search_id", "item_id", "time")
        .collect()
        .sort("time", "search_id", "item_id")
        .unique("search_id", keep="first", maintain_order=True)
    )
    chosen = sample(bought["search_id"], NUM_QUERIES, seed, "searches")
    bought = bought.filter(pl.col("search_id").is_in(chosen))
    searches = shop.searches.filter(pl.col("search_id").is_in(chosen))
    items = shop.items.filter(pl.col("item_id").is_in(bought["item_id"].implode()))
    return (
        bought.lazy()
        .join(searches.select("search_id", "query_text", "query_image"), on="search_id")
        .join(items.select("item_id", "title", "image"), on="item_id")
        .sort("search_id")
        .select("query_text", "query_image", "title", "image")
        .collect()
        .rows()
    )


def _draw_items(panel: SubFigure, items: list[tuple[str, bytes]]) -> None:
    panel.suptitle("items", fontsize=9, x=0.01, ha="left")
    grid = panel.subplots(-(-len(items) // COLUMNS), COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (title, image) in zip(grid.flat, items, strict=False):
        _show(axes, image, title)


def _draw_pairs(panel: SubFigure, pairs: list[tuple[str | None, bytes, str, bytes | None]]) -> None:
    panel.suptitle(
        "searched by picture (above), then bought (below)", fontsize=9, x=0.01, ha="left"
    )
    grid = panel.subplots(2, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for column, (text, photo, title, image) in enumerate(pairs):
        _show(grid[0, column], photo, text or "")
        _show(grid[1, column], image, title)


def _draw_days(panel: SubFigure, shop: Shop, days: Days) -> None:
    """Impressions over time, with the cuts."""
    if not days.steps:
        return
    axes = panel.subplots()
    when = np.array([step.start for step in days.steps], dtype="datetime64[us]")
    axes.plot(when, [step.impressions for step in days.steps], color=BLUE, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"impressions by {days.unit}", fontsize=8)
    axes.tick_params(labelsize=7)
    last = shop.impressions.select(pl.col("time").max()).collect(engine="streaming").item()
    cut, test, end = (np.datetime64(time) for time in (shop.cut_time, shop.test_time, last))
    for begin, until, label, colour in (
        (cut, test, "validation", ORANGE),
        (test, end, "test", VERMILION),
    ):
        axes.axvspan(begin, until, color=colour, alpha=0.25, linewidth=0, label=label)  # type: ignore[arg-type]
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=7, frameon=False)


def _show(axes: Axes, image: bytes | None, text: str) -> None:
    if image is not None:
        axes.imshow(np.asarray(decode(image, f"picture of {text!r}")))
    lines = textwrap.wrap(visible(text), TITLE_WIDTH)[:2]
    axes.set_title("\n".join(as_figure_text(line) for line in lines), fontsize=6.5)
