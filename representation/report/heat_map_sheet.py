"""A sheet of heat maps: products' pictures, and for each text where the encoder looks, in the readings of `heat_map` side by side.

Notable choices:
- One code of colour for all maps: vermilion for more, blue for less (told apart by colour-blind readers), nothing where a map says nothing. The scale of a column
  is the same for the whole sheet and is written above it, so a pale map is a weak one.
- Maps lie on a grey picture, for a red shoe under a red map would mislead; cells are drawn as they are, not smoothed into more than was measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.errors import EncoderError
from moon_rec.palette import BLUE, VERMILION
from moon_rec.progress import track
from moon_rec.seeds import generator
from moon_rec.shop.engagement import Engagement, engagements
from moon_rec.shop.shop import Shop
from moon_rec.texts import has_text
from representation.encoder import ProductEncoder
from representation.report.heat_map import HeatMaps, attention_modules, heat_maps
from representation.report.sheet import (
    PICTURE_PIXELS,
    Cell,
    Part,
    Sheet,
    pictures_of,
    provenance,
    titles_of,
    write_sheet,
)

NUM_AGAINST = 16
EVEN_SCALE, RELATIVE_SCALE = 2.0, 1.0
"""log2 at which the two attention maps reach full colour: four times an even share, twice the other words' share."""
STRONGEST = 0.85


@dataclass(frozen=True)
class _Column:
    title: str
    under: str
    maps: list[np.ndarray]
    scale: float
    form: str


def draw_attention(
    path: Path | str,
    shop: Shop,
    encoder: ProductEncoder,
    texts: Sequence[str],
    *,
    item_ids: Sequence[int] | None = None,
    count: int = 6,
    against: Sequence[str] | None = None,
    layers: int | None = None,
    seed: int = 0,
) -> dict[str, HeatMaps]:
    """Write the sheet `path` (`.html` or `.png`), atomically: for each product and text, attention, attention against other words', gradient and occlusion.

    Args:
        item_ids: products with a picture; drawn by the seed, `count` of them, where None.
        against: other words; drawn from the shop's searches before the cut where None (from its categories, where no search has words).
        layers: of so many last layers; None, of all.

    Returns:
        The maps by text, of the products in order.

    Raises:
        EncoderError: no text, an item that is unknown or has no picture, a text that holds no token, or an encoder that has no such maps.
    """
    if not texts:
        raise EncoderError("no text given; give the words whose place in the picture is sought")
    attention_modules(encoder)
    if encoder.config.core_region is not None:
        raise EncoderError(
            "heat maps are of one picture, and this encoder sees two (core_region); draw them of an encoder without"
        )
    size = encoder.config.image_size
    ids = list(item_ids) if item_ids is not None else _drawn_items(shop, count, seed)
    pictures = pictures_of(shop.items, "item_id", "image", ids, size)
    for item in ids:
        if item not in pictures:
            raise EncoderError(
                f"item {item} is unknown to shop {shop.name} or has no picture; name others"
            )
    others = list(against) if against is not None else other_words(shop, texts, seed)
    stacked = np.stack([pictures[item] for item in ids])
    maps = {
        text: heat_maps(encoder, stacked, text, others, layers)
        for text in track(list(dict.fromkeys(texts)), "heat maps")
    }
    shown = pictures_of(shop.items, "item_id", "image", ids, max(PICTURE_PIXELS, size))
    caption = _caption(shop, encoder, others, layers)
    write_sheet(_sheet(shop, maps, ids, shown, caption), path)
    return maps


def other_words(shop: Shop, texts: Sequence[str], seed: int) -> list[str]:
    """Some texts of the shop's searches before the cut, or its categories' names, none of `texts`; drawn by the seed."""
    searches = shop.in_period(shop.searches, "train").select(words=pl.col("query_text"))
    leaves = shop.items.select(words=pl.col("category").str.split("/").list.last())
    for source in (searches, leaves):
        found = source.drop_nulls().unique().collect(engine="streaming")["words"].sort()
        words = [each for each in found.to_list() if each.strip() and each not in texts]
        if words:
            chosen = generator(seed, "other words").permutation(len(words))[:NUM_AGAINST]
            return [words[place] for place in chosen]
    return []


def searched_and_bought(
    shop: Shop, count: int, engagement: Engagement = "purchased", seed: int = 0
) -> tuple[list[str], list[int]]:
    """Words that shoppers searched with before the cut, and products with a picture that they engaged with after it: pairs, drawn by the seed.

    Raises:
        EncoderError: no such pair.
    """
    words = shop.searches.filter(has_text("query_text"))
    pictured = shop.pictured("items").filter("has_picture").select("item_id")
    pairs = (
        engagements(shop, engagement)
        .join(words.select("search_id", "query_text"), on="search_id")
        .join(pictured, on="item_id", how="semi")
        .select("query_text", "item_id")
        .unique()
        .collect(engine="streaming")
        .sort("query_text", "item_id")
    )
    order = generator(seed, "searched and bought").permutation(len(pairs)).tolist()
    drawn = pairs[order].unique("query_text", keep="first", maintain_order=True)
    drawn = drawn.unique("item_id", keep="first", maintain_order=True).head(count)
    if not drawn.height:
        raise EncoderError(
            f"shop {shop.name} has no search with words before the cut after which a product with a picture was {engagement}; give texts and items"
        )
    return drawn["query_text"].to_list(), drawn["item_id"].to_list()


def _drawn_items(shop: Shop, count: int, seed: int) -> list[int]:
    ids = shop.pictured("items").filter("has_picture").collect()["item_id"]
    if not len(ids):
        raise EncoderError(f"shop {shop.name} has no product with a picture")
    order = generator(seed, "heat map items").permutation(len(ids))[:count]
    return ids.sort().gather(order).to_list()


def _sheet(
    shop: Shop,
    maps: dict[str, HeatMaps],
    ids: list[int],
    pictures: dict[int, np.ndarray],
    caption: str,
) -> Sheet:
    """A row a product and text: the picture, then its maps."""
    columns, titles = _columns(maps), titles_of(shop, ids)
    rows = []
    for number, item in enumerate(ids):
        for at, text in enumerate(maps):
            asked = f"{text}: cosine {maps[text].cosine[number]:+.2f}"
            cells = [Cell(pictures[item], asked, f"item {item}: {titles.get(item, '')}")]
            for column in columns:
                values = column.maps[at][number]
                reach = column.form.format(values.min(), values.max())
                cells.append(Cell(laid_over(pictures[item], values, column.scale), reach))
            rows.append(cells)
    heads = (("text and picture", ""), *((column.title, column.under) for column in columns))
    title = f"Where the encoder looks: {shop.name}"
    return Sheet(title, [Part(title, rows, heads)], caption)


def _columns(maps: dict[str, HeatMaps]) -> list[_Column]:
    every, times, cosines = list(maps.values()), "{:+.2f} to {:+.2f}", "{:+.3f} to {:+.3f}"
    even = [np.log2(each.attention * each.attention[0].size) for each in every]
    under = "log2 of an even share; full colour at ±2"
    columns = [_Column("attention", under, even, EVEN_SCALE, times)]
    relative = [each.relative for each in every if each.relative is not None]
    if relative:
        under = "log2 of other words' share; full colour at ±1"
        columns.append(_Column("against others", under, relative, RELATIVE_SCALE, times))
    for title, under, grids in (
        ("gradient", "of the cosine, by a token's strength", [each.gradient for each in every]),
        ("occlusion", "fall of the cosine when painted over", [each.occlusion for each in every]),
    ):
        scale = max(float(np.abs(grid).max()) for grid in grids) or 1.0
        full = f"{under}; full colour at ±{scale:.3f}"
        columns.append(_Column(title, full, grids, scale, cosines))
    return columns


def laid_over(picture: np.ndarray, values: np.ndarray, scale: float) -> np.ndarray:
    """A map on a pale grey picture: vermilion where above zero, blue where below, full at `scale`.

    Args:
        picture: `(height, width, 3)` uint8.
        values: `(rows, columns)` of any grid; each cell covers its part of the picture.
    """
    height, width = picture.shape[:2]
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    strength = values[rows][:, columns, None] / scale
    grey = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    ground = np.repeat((127.5 + grey / 2)[..., None], 3, axis=2)
    colour = np.where(strength > 0, _rgb(VERMILION), _rgb(BLUE))
    share = STRONGEST * np.abs(strength).clip(0, 1)
    return (ground * (1 - share) + colour * share).round().astype(np.uint8)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)], dtype=np.float64)


def _caption(shop: Shop, encoder: ProductEncoder, others: list[str], layers: int | None) -> str:
    num_layers = len(attention_modules(encoder))
    of_layers = f"the last {layers} of {num_layers}" if layers else f"all {num_layers}"
    side, size = encoder.layout.side, encoder.config.image_size
    named = f"{len(others)} other texts ({'; '.join(others[:4])} ...)"
    against = f"Against others: log2 of it over its mean for {named}. " if others else ""
    return (
        f"The encoder sees {size} x {size} pixels as {side} x {side} tokens. Attention: from the words' tokens to the picture's, words and picture read as one "
        f"product, mean over words, heads and {of_layers} layers. {against}Gradient and occlusion: of the cosine of the words as a query and the picture alone "
        f"as a product. Vermilion is more or for, blue less or against. Attention is no explanation, a gradient is local, a painted picture is one never seen: "
        f"believe what all three show. {provenance(shop)}"
    )
