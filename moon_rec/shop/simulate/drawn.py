"""The drawn catalogue: products with known traits, drawn and described.

Notable choices
- Category and colour are in picture and text; pattern, second colour and ornament in the picture only; material, style and brand in the text
  only. A picture is drawn from a `Look`, which has no room for the text's traits; a text is written from words that no picture trait has.
- The SKUs of an SPU (one to four) share everything but colour, price and the shade of the dye.
- A brand has leanings (two materials, two styles, a price level), so a brand tells something of its products, as brands do.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from PIL import Image

from moon_rec.seeds import generator
from moon_rec.shop.simulate.catalogue import Catalogue, Trait
from moon_rec.shop.simulate.drawing import (
    COLOURS,
    ORNAMENTS,
    PATTERNS,
    PLACES,
    SILHOUETTES,
    Look,
    draw,
)
from moon_rec.shop.simulate.photos import Box, compose, encode

PARENTS = {
    "shirt": "Clothing", "trousers": "Clothing", "dress": "Clothing", "sneaker": "Footwear", "boot": "Footwear",
    "handbag": "Accessories", "backpack": "Accessories", "hat": "Accessories", "mug": "Home", "lamp": "Home", "cushion": "Home",
    "vase": "Home",
}  # fmt: skip
NOUNS = {
    "shirt": ("shirt", "tee"), "trousers": ("trousers", "pants"), "dress": ("dress", "gown"), "sneaker": ("sneaker", "trainer"),
    "boot": ("boot", "bootie"), "handbag": ("handbag", "tote"), "backpack": ("backpack", "rucksack"), "hat": ("hat", "cap"),
    "mug": ("mug", "cup"), "lamp": ("lamp", "light"), "cushion": ("cushion", "pillow"), "vase": ("vase", "urn"),
}  # fmt: skip
MATERIALS = {
    "Clothing": ("cotton", "linen", "wool", "silk", "denim", "viscose"),
    "Footwear": ("leather", "canvas", "suede", "mesh", "rubber", "nubuck"),
    "Accessories": ("leather", "canvas", "nylon", "felt", "straw", "suede"),
    "Home": ("ceramic", "glass", "bamboo", "velvet", "brass", "jute"),
}
STYLES = ("casual", "formal", "sporty", "vintage", "bohemian", "minimal", "festive", "outdoor")
SYLLABLES = [
    "al",
    "ber",
    "cor",
    "del",
    "eno",
    "fa",
    "gri",
    "hal",
    "iva",
    "jor",
    "kel",
    "lu",
    "mar",
    "nor",
    "ori",
    "pel",
]
NUM_BRANDS = 24
LEVELS = {"shirt": 25, "trousers": 40, "dress": 60, "sneaker": 70, "boot": 95, "handbag": 80, "backpack": 55, "hat": 20,
          "mug": 12, "lamp": 45, "cushion": 18, "vase": 30}  # fmt: skip
"""Usual price of a category, in the shop's money."""

CATALOGUE_DIFFICULTY = 0.35
"""Pose, clutter and light of a catalogue picture, on the scale of photos."""

_ALL_MATERIALS = tuple(dict.fromkeys(m for group in MATERIALS.values() for m in group))


class DrawnCatalogue(Catalogue):
    """See the module. `shapes` (items, 2) and `shades` (items, 3) are proportions and dye, in the picture only."""

    source = "drawn products"

    def __init__(
        self, items: pl.DataFrame, traits: tuple[Trait, ...], codes: np.ndarray, words: list[list[str]],
        shapes: np.ndarray, shades: np.ndarray, seed: int, size: int, clutter: float = 1.0,
    ):  # fmt: skip
        super().__init__(items, traits, codes, words)
        self.shapes, self.shades, self.seed, self.size = shapes, shades, seed, size
        self.clutter = clutter

    @classmethod
    def make(cls, num_items: int, seed: int, size: int, clutter: float = 1.0) -> "DrawnCatalogue":
        """Invent `num_items` products; `clutter` is that of their pictures' grounds."""
        brands = _brand_names(seed)
        traits = (
            Trait("category", tuple(SILHOUETTES), "both", 1.0),
            Trait("colour", tuple(COLOURS), "both", 1.0),
            Trait("pattern", PATTERNS, "picture", 1.0),
            Trait("second_colour", tuple(COLOURS), "picture", 0.6),
            Trait("ornament", ORNAMENTS, "picture", 1.0),
            Trait("material", _ALL_MATERIALS, "text", 1.0),
            Trait("style", STYLES, "text", 1.0),
            Trait("brand", brands, "text", 0.7),
        )
        spus, codes, shapes, shades, prices = _invent(num_items, seed)
        items, words = _describe(traits, spus, codes, prices, seed)
        return cls(items, traits, codes, words, shapes, shades, seed, size, clutter)

    def look(self, row: int) -> Look:
        """All that pictures of the row's product may show."""
        value = {
            t.name: t.values[c]
            for t, c in zip(self.traits, self.codes[row], strict=True)
            if t.seen != "text"
        }
        place = tuple(PLACES)[int(self.spu_ids[row]) % len(PLACES)]
        width, height = self.shapes[row].tolist()
        red, green, blue = self.shades[row].tolist()
        kind, second = value["category"], value["second_colour"]
        return Look(
            kind,
            value["colour"],
            value["pattern"],
            second,
            value["ornament"],
            place,
            width,
            height,
            (red, green, blue),
        )

    def shown(self, rows: np.ndarray) -> Iterator[tuple[bytes, Box | None]]:
        for row, product in zip(rows, self.products(rows), strict=True):
            rng = generator(self.seed, "picture", int(self.item_ids[row]))
            made = compose(product, rng, CATALOGUE_DIFFICULTY, self.size, self.clutter)
            yield encode(made.picture, quality=90), made.box

    def products(self, rows: np.ndarray) -> Iterator[Image.Image]:
        for row in rows:
            yield draw(self.look(int(row)))


def _brand_names(seed: int) -> tuple[str, ...]:
    rng, names = generator(seed, "brands"), []
    while len(names) < NUM_BRANDS:
        name = "".join(
            SYLLABLES[k] for k in rng.integers(len(SYLLABLES), size=int(rng.integers(2, 4)))
        ).capitalize()
        if name not in names:
            names.append(name)
    return tuple(names)


def _invent(
    num_items: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """SPU of each item, its codes in the order of the traits, proportions, dye and price."""
    rng = generator(seed, "catalogue")
    sizes = rng.choice(np.array([1, 2, 3, 4]), size=num_items, p=[0.35, 0.3, 0.2, 0.15])
    spus = np.repeat(np.arange(num_items), sizes)[:num_items]
    num_spus = int(spus[-1]) + 1
    kinds, parents = list(SILHOUETTES), list(MATERIALS)
    category = rng.choice(len(kinds), size=num_spus, p=_falling(len(kinds), 0.4, rng))
    brand = rng.choice(NUM_BRANDS, size=num_spus, p=_falling(NUM_BRANDS, 0.7, rng))
    parent = np.array([parents.index(PARENTS[kind]) for kind in kinds])[category]
    leaning = rng.integers(6, size=(NUM_BRANDS, 2))[brand, rng.integers(2, size=num_spus)]
    within = np.where(rng.random(num_spus) < 0.5, leaning, rng.integers(6, size=num_spus))
    material = np.array([[_ALL_MATERIALS.index(m) for m in group] for group in MATERIALS.values()])[
        parent, within
    ]
    liked = rng.integers(len(STYLES), size=(NUM_BRANDS, 2))[brand, rng.integers(2, size=num_spus)]
    style = np.where(rng.random(num_spus) < 0.5, liked, rng.integers(len(STYLES), size=num_spus))
    pattern = rng.integers(len(PATTERNS), size=num_spus)
    ornament = rng.integers(len(ORNAMENTS), size=num_spus)
    second = rng.integers(len(COLOURS), size=num_spus)
    first_of_spu = np.searchsorted(spus, spus)
    step = 1 + rng.integers(2, size=num_spus)[spus]
    colour = (
        rng.integers(len(COLOURS), size=num_spus)[spus]
        + step * (np.arange(num_items) - first_of_spu)
    ) % len(COLOURS)
    second = np.where(second[spus] == colour, (second[spus] + 5) % len(COLOURS), second[spus])
    shared = [x[spus] for x in (pattern, ornament, material, style, brand)]
    codes = np.stack([category[spus], colour, shared[0], second, *shared[1:]], axis=1)
    shapes = np.stack([rng.uniform(0.74, 1.0, num_spus), rng.uniform(0.78, 1.0, num_spus)], axis=1)[
        spus
    ]
    shades = rng.integers(-16, 17, size=(num_items, 3))
    levels = (
        np.array([LEVELS[kind] for kind in kinds])[category]
        * rng.lognormal(0, 0.25, NUM_BRANDS)[brand]
    )
    prices = (levels * rng.lognormal(0, 0.3, num_spus))[spus] * rng.lognormal(0, 0.06, num_items)
    return spus, codes, shapes, shades, np.round(np.maximum(prices, 1.0), 2)


def _falling(count: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Shares that fall as a power of the rank, in random order."""
    shares = rng.permutation(1.0 / np.arange(1, count + 1) ** slope)
    return shares / shares.sum()


def _describe(
    traits: tuple[Trait, ...], spus: np.ndarray, codes: np.ndarray, prices: np.ndarray, seed: int
) -> tuple[pl.DataFrame, list[list[str]]]:
    """The items table and each item's words; written without a glance at what only the picture shows."""
    written = [(k, trait) for k, trait in enumerate(traits) if trait.seen != "picture"]
    rng = generator(seed, "texts")
    synonym, order, blurb = (
        rng.integers(2, size=len(codes)),
        rng.integers(3, size=len(codes)),
        rng.integers(3, size=len(codes)),
    )
    columns: dict[str, list] = {
        name: [] for name in ("title", "category", "brand", "attributes", "description")
    }
    words = []
    for row, code in enumerate(codes.tolist()):
        value = {trait.name: trait.values[code[k]] for k, trait in written}
        kind, colour, material, style, brand = (
            value[n] for n in ("category", "colour", "material", "style", "brand")
        )
        noun = NOUNS[kind][synonym[row]]
        title = (f"{brand} {style} {colour} {material} {noun}", f"{brand} {material} {noun} {colour}, {style}",
                 f"{colour} {noun} in {material} by {brand}, {style}")[order[row]]  # fmt: skip
        text = (f"A {style} {noun} made of {material}.", f"{material.capitalize()} {noun} for {style} days, by {brand}.",
                f"{brand} presents its {style} {noun}; {material}, made to last.")[blurb[row]]  # fmt: skip
        columns["title"].append(title[0].upper() + title[1:])
        columns["category"].append(f"{PARENTS[kind]}/{kind.capitalize()}")
        columns["brand"].append(brand)
        names = ("colour", "material", "style")
        columns["attributes"].append([{"name": name, "value": value[name]} for name in names])
        columns["description"].append(text)
        words.append([style, colour, material, noun, brand])
    ids = {"item_id": np.arange(1, len(codes) + 1), "spu_id": spus + 1}
    return pl.DataFrame({**ids, **columns, "price": prices}), words
