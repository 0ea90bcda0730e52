"""A few products to look at: with a picture, without one, with one that does not decode."""

import base64
import io
from dataclasses import dataclass

import polars as pl

from moon_rec.shop.own_ids import with_own_ids
from moon_rec.shop.pictures import PictureError, decode
from moon_rec.shop.sheet import sample
from moon_rec.shop.shop import Shop

WITH, WITHOUT = 18, 6
SIDE = 220
"""Pixels of a thumbnail's longer side: twice what the page shows."""


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        id: as its owner wrote it.
        picture: JPEG as base64; None where there is none.
        fault: why there is no picture; empty where there is one.
    """

    id: str
    title: str
    category: str
    price: float | None
    picture: str | None
    fault: str


def products(shop: Shop, seed: int = 0) -> list[Product]:
    """Some products, drawn at random: first `WITH` with a picture, then `WITHOUT` of those without."""
    pictured = shop.pictured("items").collect()
    chosen = [
        sample(pictured.filter(pl.col("has_picture") == has)["item_id"], count, seed, f"page {has}")
        for has, count in ((True, WITH), (False, WITHOUT))
    ]
    ids = [one for some in chosen for one in some]
    columns = ["item_id", "title", "category", "price"]
    rows = shop.items.filter(pl.col("item_id").is_in(ids)).select(columns).collect()
    pieces = (piece.filter(pl.col("item_id").is_in(ids)) for piece in shop.pictures("items"))
    pictures = pl.concat([pl.DataFrame(schema={"item_id": pl.Int64, "image": pl.Binary}), *pieces])
    rows = rows.join(pictures, on="item_id", how="left", maintain_order="left")
    rows = rows.with_columns(own=with_own_ids(rows.select("item_id"), shop.path)["item_id"])
    found = {row["item_id"]: row for row in rows.iter_rows(named=True)}
    return [_product(found[one]) for one in ids]


def _product(row: dict) -> Product:
    picture, fault = None, "no picture"
    if row["image"] is not None:
        try:
            image, fault = decode(row["image"]), ""
            image.thumbnail((SIDE, SIDE))
            file = io.BytesIO()
            image.save(file, "JPEG", quality=82)
            picture = base64.b64encode(file.getvalue()).decode()
        except PictureError as error:
            fault = f"broken picture: {error.fault}"
    return Product(str(row["own"]), row["title"], row["category"], row["price"], picture, fault)
