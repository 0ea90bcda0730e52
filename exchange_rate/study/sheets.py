"""Sheets to look at, of the encoder that a study's control uses: what its searches find, and where in a picture it looks.

They are drawn once, by the process that speaks to MLflow, and kept as artifacts of the study's run; the report shows them. They are pictures, not numbers: nothing
is chosen by them, and `report.json` does not hold them.
"""

from collections.abc import Callable
from pathlib import Path

from exchange_rate.study.cell_files import CellResult, CellSpec
from exchange_rate.study.failures import one_line
from exchange_rate.study.vectors import narrow
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.progress import say
from moon_rec.shop import Shop
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.shop import Period
from moon_rec.shown import path_inside

SEARCHES = 2
"""Searches of each modality on a sheet of neighbours; words, and products, on one of attention. The page holds both sheets whole: three megabytes."""


def draw_sheets(
    shop: Shop,
    cell: tuple[CellSpec, CellResult],
    cells: Path,
    period: Period,
    engagement: Engagement,
    seed: int,
) -> list[Path]:
    """The sheets of the encoder of a finished `encoder` cell, in a folder of the cell's key; those that are there are not drawn again.

    A sheet that this shop or encoder has nothing for (no searches, no pictures) is left out, and said so.
    """
    spec, result = cell
    if "items" not in result.outputs:
        return []
    found = []
    reads = {"neighbours": "queries" in result.outputs, "attention": "encoder" in spec.inputs}
    for name, draw in _DRAW.items():
        if not reads[name]:  # an encoder without vectors of searches, or whose weights are not here
            continue
        try:
            path = path_inside(cells.parent, f"sheets/{spec.key}/{name}.png", "sheets")
            if not path.exists():
                say(f"study: draw the sheet {name!r}")
                draw(path, shop, cell, cells, period, engagement, seed)
            found.append(path)
        except Exception as error:  # a picture beside the numbers: it is no reason to lose these
            say(f"study: no sheet {name!r}: {one_line(error)}")
    return found


def _neighbours(
    path: Path,
    shop: Shop,
    cell: tuple[CellSpec, CellResult],
    cells: Path,
    period: Period,
    engagement: Engagement,
    seed: int,
) -> None:
    from representation.report.neighbour_sheet import draw_neighbours

    spec, result = cell
    own, width = spec.folder(cells), spec.settings["width"]
    items, queries = (
        narrow(EmbeddingTable.open(own / result.outputs[name]), width)
        for name in ("items", "queries")
    )
    draw_neighbours(
        path, shop, items, queries, count=SEARCHES, period=period, engagement=engagement, seed=seed
    )


def _attention(
    path: Path,
    shop: Shop,
    cell: tuple[CellSpec, CellResult],
    cells: Path,
    period: Period,
    engagement: Engagement,
    seed: int,
) -> None:
    from representation import ProductEncoder
    from representation.report.heat_map_sheet import draw_attention, searched_and_bought

    encoder = ProductEncoder.from_pretrained(cell[0].input("encoder", cells))
    words, items = searched_and_bought(shop, SEARCHES, engagement, seed)
    draw_attention(path, shop, encoder, words, item_ids=items, seed=seed)


_DRAW: dict[str, Callable[..., None]] = {"neighbours": _neighbours, "attention": _attention}
