"""A sheet to look at: of a few products their own picture and title, and what was made of them with its score and whether it was kept."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from moon_rec.seeds import generator
from moon_rec.shop.pictures import decode
from representation.co_augmentation.generator import Product
from representation.model.pixels import square
from representation.report.sheet import PICTURE_PIXELS, Cell, Part, Sheet, sheet_figure

PRODUCTS = 8


class Made(NamedTuple):
    """Of a product, the rows of what was made of it, dropped ones among them."""

    product: Product
    titles: pl.DataFrame
    pictures: pl.DataFrame


def drawn_products(item_ids: np.ndarray, seed: int) -> set[int]:
    """Ids of the products that are shown."""
    return set(generator(seed, "contact sheet").permutation(item_ids)[:PRODUCTS].tolist())


def contact_sheet(shown: Sequence[Made], least: Mapping[str, float | None], caption: str) -> Figure:
    """A row a product: its own picture, then what was made of it; what was kept is marked.

    Args:
        least: what the scores of `titles` and `pictures` must reach.
    """
    rows = [_row(one, least) for one in shown]
    parts = [Part("own picture and title; then the enriched title, and expanded pictures", rows or [[Cell(words="no product has a picture")]])]  # fmt: skip
    words = f"Co-augmentation of products listed before the cut; never shown at test time. Marked: kept for training. {caption}"
    return sheet_figure(Sheet("co-augmentation", parts, words))


def _row(made: Made, least: Mapping[str, float | None]) -> list[Cell]:
    product = made.product
    assert product.picture is not None
    cells = [Cell(square(product.picture, PICTURE_PIXELS), "own", product.title)]
    for words, score in made.titles.select("enriched", "score").iter_rows():
        kept = _is_kept(score, least["titles"])
        cells.append(Cell(None, _head("title", score, kept), words, kept))
    if not made.titles.height:
        cells.append(Cell(None, "title", "nothing to add"))
    for kind, data, score in made.pictures.select("kind", "image", "score").iter_rows():
        kept = _is_kept(score, least["pictures"])
        picture = square(decode(data), PICTURE_PIXELS)
        cells.append(Cell(picture, _head(kind, score, kept), None, kept))
    return cells


def _is_kept(score: float | None, least: float | None) -> bool:
    return score is None or least is None or score >= least


def _head(name: str, score: float | None, kept: bool) -> str:
    known = "" if score is None else f" {score:.2f}"
    return f"{name}{known}{'' if kept else ', dropped'}"
