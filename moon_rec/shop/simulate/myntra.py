"""Myntra's real products as a catalogue for simulated shoppers.

Real: titles, category paths, attributes, pictures. Simulated or guessed, because the data set has none of it: prices (simulated: a level for the
article type, one for the brand, and chance), brands (guessed from titles) and SPUs (guessed from titles and ids).

Notable choices
- Brand: what stands before the first word such as Men or Women, where at least five titles begin so; else the longest such brand that the title
  begins with; else none.
- SPU: titles that are equal but for colours, digits and marks, of the same article type, with ids at most 20 apart. A title shared by more than
  six products ("Catwalk Women Heels") names a kind of product, not one product: those stay single.
- Traits seen only in the picture are measured on its pixels: brightness and saturation (among products of the same stated colour), texture, variety of
  colour and fill of the frame (among those of the same article type), each cut into equal parts. So what the text already says does not tell them.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from moon_rec.progress import track
from moon_rec.seeds import generator
from moon_rec.shop.pictures import decode
from moon_rec.shop.readers.myntra import read_pictures, read_products
from moon_rec.shop.simulate.catalogue import Catalogue, Trait
from moon_rec.shop.simulate.photos import Box, cut_out

BUYERS = ("men", "women", "boys", "girls", "kids", "unisex")
PARTS = 4
"""Equal parts that a measure of the picture is cut into."""

MEASURES = {"brightness": "base_colour", "saturation": "base_colour", "texture": "article_type", "variety": "article_type",
            "fill": "article_type"}  # fmt: skip
"""What is measured on a picture, and the column among whose equals it is ranked."""

MOST_OF_AN_SPU = 6
GAP_OF_AN_SPU = 20
LEAST_OF_A_BRAND = 5

_BUYER = re.compile(
    r"^(.+?)\s+(men|women|boy|girl|kid|unisex|infant|baby|teen)(?:['’]?s)?\b", re.IGNORECASE
)
_EMPTY_WORDS = {"a", "and", "by", "for", "in", "of", "on", "s", "the", "with"}
_WORD = re.compile(r"[a-z]+")


class MyntraCatalogue(Catalogue):
    """See the module. Pictures are read from the data set's folder when asked for, never all held."""

    source = "Myntra's real products with guessed brands and SPUs and simulated prices"

    def __init__(
        self,
        items: pl.DataFrame,
        traits: tuple[Trait, ...],
        codes: np.ndarray,
        words: list[list[str]],
        folder: Path,
    ):
        super().__init__(items, traits, codes, words)
        self.folder = folder

    @classmethod
    def make(cls, folder: Path, num_items: int | None, seed: int) -> "MyntraCatalogue":
        """The products in `folder`, or a random `num_items` of them.

        Raises:
            ShopError: the folder is not Myntra's.
        """
        products = read_products(folder).sort("product_id")
        if num_items is not None and num_items < products.height:
            rows = generator(seed, "myntra").choice(products.height, size=num_items, replace=False)
            products = products[np.sort(rows)]
        titles = products["title"].to_list()
        brands = _brands(titles)
        measures = _measure(folder, products["product_id"].to_numpy())
        columns = {
            "article_type": (products["article_type"].to_list(), "both", 1.5),
            "base_colour": (products["base_colour"].to_list(), "both", 1.0),
            "buyer": ([_buyer(title) for title in titles], "text", 0.7),
            "usage": (products["usage"].to_list(), "text", 0.7),
            "brand": ([brand or "other" for brand in brands], "text", 1.0),
        }
        traits, codes = [], []
        for name, (values, seen, weight) in columns.items():
            names = tuple(sorted(set(values)))
            place = {value: k for k, value in enumerate(names)}
            traits.append(Trait(name, names, seen, weight))
            codes.append(np.array([place[value] for value in values], dtype=np.int32))
        for name, among in MEASURES.items():
            traits.append(
                Trait(name, tuple(f"{name} {part}" for part in range(PARTS)), "picture", 0.8)
            )
            codes.append(_parts(measures[name], products[among].to_list()))
        prices = _prices(codes[0], codes[4], seed)
        items, words = _items(products, brands, prices)
        return cls(items, tuple(traits), np.stack(codes, axis=1), words, folder)

    def shown(self, rows: np.ndarray) -> Iterator[tuple[bytes, Box | None]]:
        for data in read_pictures(self.folder, self.item_ids[rows].tolist()):
            yield data, None

    def products(self, rows: np.ndarray) -> Iterator[Image.Image]:
        for data in self.pictures(rows):
            yield cut_out(decode(data))


def _brands(titles: list[str]) -> list[str | None]:
    heads = Counter(match.group(1) for match in map(_BUYER.match, titles) if match)
    known = {head for head, count in heads.items() if count >= LEAST_OF_A_BRAND}
    found = []
    for title in titles:
        match, words = _BUYER.match(title), title.split()
        begins = [" ".join(words[:n]) for n in range(len(words), 0, -1)]
        head = match.group(1) if match else ""
        found.append(
            head if head in known else next((begin for begin in begins if begin in known), None)
        )
    return found


def _buyer(title: str) -> str:
    """For whom the title says the product is, or `unsaid`."""
    words = {word.removesuffix("s") for word in _WORD.findall(title.lower())}
    return next((buyer for buyer in BUYERS if buyer.removesuffix("s") in words), "unsaid")


def _items(
    products: pl.DataFrame, brands: list[str | None], prices: np.ndarray
) -> tuple[pl.DataFrame, list[list[str]]]:
    names = ("base_colour", "usage")
    attributes = [
        [
            {"name": name.removeprefix("base_"), "value": row[name]}
            for name in names
            if row[name] != "NA"
        ]
        for row in products.select(names).iter_rows(named=True)
    ]
    items = products.select(
        item_id="product_id",
        spu_id=pl.Series(_spus(products)),
        title="title",
        category=pl.concat_str("master_category", "sub_category", "article_type", separator="/"),
        brand=pl.Series(brands, dtype=pl.String),
        attributes=pl.Series(attributes),
        description=pl.lit(None, pl.String),
        price=pl.Series(prices),
    )
    words = [
        [
            word
            for word in dict.fromkeys(_WORD.findall(f"{title} {kind}".lower()))
            if word not in _EMPTY_WORDS
        ]
        for title, kind in products.select("title", "article_type").iter_rows()
    ]
    return items, words


def _spus(products: pl.DataFrame) -> np.ndarray:
    """The first product id of each product's SPU; see the module's docstring for the rule."""
    colours = {
        word
        for colour in products["base_colour"].unique()
        for word in _WORD.findall(colour.lower())
    }
    keys = [
        kind + ":" + " ".join(word for word in _WORD.findall(title.lower()) if word not in colours)
        for title, kind in products.select("title", "article_type").iter_rows()
    ]
    counts = Counter(keys)
    last: dict[str, tuple[int, int]] = {}
    spus = []
    for key, product in zip(keys, products["product_id"].to_list(), strict=True):
        spu, before = last.get(key, (product, product))
        if counts[key] > MOST_OF_AN_SPU or product - before > GAP_OF_AN_SPU:
            spu = product
        last[key] = (spu, product)
        spus.append(spu)
    return np.array(spus, dtype=np.int64)


def _prices(kinds: np.ndarray, brands: np.ndarray, seed: int) -> np.ndarray:
    """(items,) simulated: article type times brand times chance, in the shop's money."""
    rng = generator(seed, "prices")
    level = (
        rng.normal(3.3, 0.6, kinds.max() + 1)[kinds] + rng.normal(0, 0.35, brands.max() + 1)[brands]
    )
    return np.round(np.exp(level + rng.normal(0, 0.3, len(kinds))), 2)


def _measure(folder: Path, ids: np.ndarray) -> dict[str, np.ndarray]:
    """What is measured on each picture, each (items,) float32."""
    pictures = read_pictures(folder, ids.tolist())
    rows = [_measures_of(data) for data in track(pictures, "measuring pictures", total=len(ids))]
    return dict(zip(MEASURES, np.array(rows, dtype=np.float32).T, strict=True))


def _measures_of(data: bytes) -> tuple[float, ...]:
    picture = decode(data)
    pixels = np.asarray(picture.reduce(2), dtype=np.float32)
    ground = np.median(np.concatenate([pixels[:2, :2], pixels[:2, -2:]]).reshape(-1, 3), axis=0)
    product = np.abs(pixels - ground).max(axis=2) > 12
    if product.mean() < 0.03:
        product[:] = True
    colours = pixels[product]
    light, spread = colours.mean(axis=1), np.ptp(colours, axis=1)
    grey = pixels.mean(axis=2)
    edges = np.abs(np.diff(grey, axis=0))[:, 1:] + np.abs(np.diff(grey, axis=1))[1:]
    tints = colours - light[:, None]
    return (
        light.mean(),
        spread.mean(),
        edges[product[1:, 1:]].mean(),
        tints.std(axis=0).mean(),
        product.mean(),
    )


def _parts(values: np.ndarray, among: list[str]) -> np.ndarray:
    """(items,) int32: in which of `PARTS` equal parts the value is, among the items of the same group."""
    frame = pl.DataFrame({"value": values, "among": among})
    rank = (pl.col("value").rank("ordinal").over("among") - 1) / pl.len().over("among")
    return frame.select((rank * PARTS).cast(pl.Int32)).to_series().to_numpy()
