"""What an encoder finds for a few searches that all encoders of a study are asked, and the one artifact that the study makes of it.

Which searches is decided by their ids alone, so that encoders with vectors of the same searches are asked the same. Format and reader: `exchange_rate.evidence.neighbour_file`.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from exchange_rate.evidence.neighbour_file import MOST_TEXT, NEIGHBOURS, SCHEMA
from exchange_rate.study.cell_files import CellResult, CellSpec
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.files import atomic_file, digest_file
from moon_rec.shop import Shop
from moon_rec.user_draws import draw_weights

if TYPE_CHECKING:
    from representation.sets.search_cases import Gallery, SearchCases

OF_CELL = "neighbours"
"""The output's name in a cell's result."""
SEARCHES, FOUND = 12, 5
"""Searches of each modality, and products that are kept of each."""
PIXELS, QUALITY = 64, 75


def keep_neighbours(
    folder: Path,
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    settings: Mapping[str, Any],
) -> dict[str, str]:
    """Write what an encoder finds into its cell's folder; the cell's outputs are what is returned, none where the period has no search for it."""
    from representation.sets.search_cases import gallery_of, search_cases

    gallery = gallery_of(shop, items, settings["period"])
    cases = search_cases(shop, gallery, queries, settings["period"], settings["engagement"])
    found = {name: _found(gallery, one.findable()) for name, one in cases.items()}
    rows = [row | {"modality": name} for name, own in found.items() for row in own]
    if not rows:
        return {}
    with atomic_file(folder / NEIGHBOURS) as temporary:
        schema = {name: kind for name, kind in SCHEMA.items() if name != "cell"}
        pl.DataFrame(_shown(shop, rows), schema=schema).write_parquet(temporary)
    return {OF_CELL: NEIGHBOURS}


def _found(gallery: "Gallery", cases: "SearchCases") -> Iterator[dict[str, Any]]:
    """A row for each search that is asked, and for each product found."""
    from representation.report.neighbour_sheet import find

    if not len(cases):
        return
    ids = gallery.frame["item_id"].to_numpy()
    order = np.argsort(draw_weights(cases.search_ids, 0, 1, units="searches shown")[0])
    for one in find(gallery, cases, order[:SEARCHES], FOUND):
        about = {"search_id": one.search_id, "is_engaged": False}
        yield about | {"place": 0, "item_id": None, "similarity": None}
        for place, (row, cosine) in enumerate(zip(one.rows, one.similarities, strict=True), 1):
            if row >= 0:
                own = {"place": place, "item_id": int(ids[row]), "similarity": float(cosine)}
                yield about | own | {"is_engaged": int(row) in one.bought}


def _shown(shop: Shop, rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows with words and pictures, each picture decoded once."""
    from representation.report.sheet import pictures_of, titles_of

    items = sorted({row["item_id"] for row in rows if row["item_id"] is not None})
    searches = sorted({row["search_id"] for row in rows})
    asked = shop.searches.filter(pl.col("search_id").is_in(searches))
    words = dict(asked.select("search_id", "query_text").collect().iter_rows())
    titles = titles_of(shop, items)
    photos = pictures_of(shop.searches, "search_id", "query_image", searches, PIXELS)
    pictures = pictures_of(shop.items, "item_id", "image", items, PIXELS)
    for row in rows:
        item, search = row["item_id"], row["search_id"]
        text = words.get(search) if item is None else titles.get(item)
        picture = photos.get(search) if item is None else pictures.get(item)
        yield row | {
            "text": (text or "")[:MOST_TEXT],
            "picture": None if picture is None else _jpeg(picture),
        }


def gather_neighbours(
    done: Iterable[tuple[CellSpec, CellResult]], cells: Path, key: str
) -> tuple[Path, dict[str, Any]] | None:
    """What all encoders find in one file, each picture once, and what `study.json` says of it; None where no cell has any.

    Args:
        done: finished cells.
        key: of the study: the file lies in a folder of that name beside the cells.
    """
    tables: dict[str, pl.DataFrame] = {}
    for spec, result in done:
        if OF_CELL in result.outputs and spec.key not in tables:
            table = pl.read_parquet(spec.folder(cells) / result.outputs[OF_CELL])
            tables[spec.key] = table.with_columns(cell=pl.lit(spec.key)).select(*SCHEMA)
    if not tables:
        return None
    of = pl.struct(pl.col("item_id"), pl.when(pl.col("item_id").is_null()).then("search_id"))
    is_first = of.is_first_distinct()
    table = pl.concat(tables.values()).with_columns(
        picture=pl.when(is_first).then("picture").otherwise(None)
    )
    path = cells.parent / OF_CELL / key / NEIGHBOURS
    with atomic_file(path) as temporary:
        table.write_parquet(temporary)
    return path, {"digest": digest_file(path)}


def _jpeg(picture: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
