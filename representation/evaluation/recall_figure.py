"""One picture of an encoder: recall by k with its bands, and what it finds for a few searches by picture."""

from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file
from moon_rec.seeds import generator
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.pictures import decode
from moon_rec.shop.shop import Period, Shop
from representation.evaluation.exact_ranking import top_rows
from representation.evaluation.search_cases import (
    MODALITIES,
    Gallery,
    SearchCases,
    gallery_of,
    search_cases,
)

COLOURS = {
    "image": "#0072b2",
    "text": "#d55e00",
    "mixed": "#009e73",
}  # told apart by the colour-blind too
FOUND, PLAIN = "#009e73", "#cccccc"
SHEET_ROWS = 8
NEIGHBOURS = 5
TITLE_LETTERS = 22


def draw_recall(
    path: Path | str,
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    measured: dict[str, Estimate],
    period: Period = "test",
    engagement: Engagement = "purchased",
    seed: int = 0,
) -> None:
    """Write the PNG `path`, atomically.

    Above, recall by k of each modality in `measured` (as `measure_shop` gives it, for as many k as there are). Below, where the shop
    has searches by picture: some of them drawn by the seed, the five nearest items, and what was bought, with its rank.
    """
    gallery = gallery_of(shop, items, period)
    cases = search_cases(shop, gallery, queries, period, engagement)["image"]
    rows = min(SHEET_ROWS, len(cases))
    figure = Figure(figsize=(11, 4.2 + 1.75 * rows), layout="constrained")
    if rows:
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[4.2, 1.75 * rows])[
            :, 0
        ]
        _sheet(
            below.subplots(rows, NEIGHBOURS + 2, squeeze=False),
            shop,
            gallery,
            cases,
            seed,
            engagement,
        )
    else:
        above = figure
    simulated = " (simulated)" if shop.is_simulated else ""
    axes = above.subplots()
    _curves(axes, measured)
    axes.set_title(
        f"search recall, {shop.name}{simulated}, {period} period, {engagement}; {len(gallery):,} items",
        parse_math=False,
    )
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


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
            ks, [each.value for _, each in points], color=COLOURS[modality], marker=".", label=label
        )
        band = ([each.low for _, each in points], [each.high for _, each in points])
        axes.fill_between(ks, *band, color=COLOURS[modality], alpha=0.15, linewidth=0)
    if axes.lines:
        axes.legend(loc="upper left", frameon=False)
    axes.set(xscale="log", xlabel="k", ylabel="recall@k (band: 95 %)", ylim=(0, 1))
    axes.set_xticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"])
    axes.grid(alpha=0.3)


def _sheet(
    axes: np.ndarray, shop: Shop, gallery: Gallery, cases: SearchCases, seed: int, engagement: str
) -> None:
    drawn = np.sort(generator(seed, "neighbour sheet").choice(len(cases), len(axes), replace=False))
    removed = [at * len(gallery) + row for at in drawn for row in cases.excluded[at]]
    ranked = top_rows(
        cases.queries,
        gallery.vectors,
        len(gallery),
        searches=drawn,
        removed=np.unique(np.array(removed, dtype=np.int64)),
    )
    wanted = [set(cases.relevant[at]) for at in drawn]
    best = [
        next(rank for rank, row in enumerate(line) if row in rows)
        for line, rows in zip(ranked, wanted, strict=True)
    ]
    bought = np.array([line[rank] for line, rank in zip(ranked, best, strict=True)])
    shown = np.column_stack([ranked[:, :NEIGHBOURS], bought])
    titles, pictures = _items_of(shop, gallery, shown)
    queries = _pictures(shop.searches, "search_id", "query_image", cases.search_ids[drawn])
    for line, at in enumerate(drawn):
        search = int(cases.search_ids[at])
        _show(axes[line, 0], queries.get(search), f"search {search}", PLAIN)
        for place, row in enumerate(shown[line]):
            item = gallery.frame["item_id"][int(row)] if row >= 0 else None
            colour = FOUND if row in wanted[line] else PLAIN
            _show(axes[line, place + 1], pictures.get(item), titles.get(item, ""), colour)
    headings = ["query", *(f"nearest {place + 1}" for place in range(NEIGHBOURS)), engagement]
    for axis, heading in zip(axes[0], headings, strict=True):
        axis.set_title(heading, fontsize=9)
    for line, rank in enumerate(best):
        axes[line, -1].set_ylabel(f"rank {rank + 1:,}", fontsize=8)


def _items_of(shop: Shop, gallery: Gallery, rows: np.ndarray) -> tuple[dict, dict]:
    ids = gallery.frame["item_id"].to_numpy()[np.unique(rows[rows >= 0])]
    frame = shop.items.filter(pl.col("item_id").is_in(ids.tolist())).select("item_id", "title")
    titles = {item: title[:TITLE_LETTERS] for item, title in frame.collect().iter_rows()}
    return titles, _pictures(shop.items, "item_id", "image", ids)


def _pictures(frame: pl.LazyFrame, key: str, column: str, ids: np.ndarray) -> dict[int, np.ndarray]:
    rows = frame.filter(pl.col(key).is_in(ids.tolist()) & pl.col(column).is_not_null()).select(
        key, column
    )
    decoded = rows.collect(engine="streaming").iter_rows()
    return {each: np.asarray(decode(data, f"{column} of {key} {each}")) for each, data in decoded}


def _show(axis: Axes, picture: np.ndarray | None, text: str, colour: str) -> None:
    """A picture in a frame of that colour; without a picture, its words alone."""
    axis.set(xticks=[], yticks=[])
    axis.set_xlabel(text, fontsize=7, parse_math=False)
    for spine in axis.spines.values():
        spine.set(color=colour, linewidth=3 if colour == FOUND else 1)
    if picture is not None:
        axis.imshow(picture, interpolation="nearest")
    else:
        axis.set_aspect("equal")
