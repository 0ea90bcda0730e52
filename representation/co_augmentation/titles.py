"""Titles enriched without a model: the entities that a product's texts name and its title does not, put into a template.

The offline stand-in for MOON2.0's T+ = MLLM_text(T, I, E) (arXiv 2511.12449), whose entities an in-house tool finds in title, description and picture. Here they are the catalogue's own terms
(`curation.entities.Gazetteer`: brands, attribute values, category leaves of products listed before the cut) in title, category, brand, attributes and description.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from moon_rec.seeds import generator
from moon_rec.texts import normal_texts
from representation.co_augmentation.generator import Product
from representation.core_region.crops import BOX_COLUMN
from representation.curation.entities import EntityRecogniser
from representation.model.prompt import product_texts

TEMPLATES = ("{title}, {entities}", "{entities}: {title}", "{title} ({entities})")
MOST_ENTITIES = 12
"""In a title; further ones would be cut off by any encoder."""


class TemplateTitles:
    """A `TitleWriter`; see the module.

    Args:
        seed: with the product's id it decides which template is taken.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @property
    def about(self) -> dict[str, Any]:
        """Its name and templates."""
        return {"titles": "templates of entities", "templates": list(TEMPLATES)}

    def enriched(self, products: Sequence[Product]) -> list[str]:
        """See `TitleWriter.enriched`; "" where the title names all there is."""
        return normal_texts([self._enriched(one) if one.unsaid else "" for one in products])

    def _enriched(self, product: Product) -> str:
        entities = ", ".join(product.unsaid[:MOST_ENTITIES])
        if not product.title:
            return entities
        random = generator(self._seed, "co-augmentation", "template", product.item_id)
        template = TEMPLATES[int(random.integers(len(TEMPLATES)))]
        return template.format(title=product.title, entities=entities)


def products_of(
    items: pl.DataFrame, pictures: Sequence[bytes | None], recogniser: EntityRecogniser
) -> list[Product]:
    """Products with the entities of their texts.

    Args:
        items: `item_id`, the columns of `prompt.TEXT_COLUMNS`, and `core_box` where the shop has it.
        pictures: encoded, as many.
    """
    titles, texts = product_texts(items, "title"), product_texts(items, "richer")
    named = recogniser.entities(pl.Series("text", [str(text) for text in texts], dtype=pl.String))
    said = recogniser.entities(pl.Series("text", titles, dtype=pl.String))
    boxes = items[BOX_COLUMN].to_list() if BOX_COLUMN in items.columns else [None] * items.height
    rows = zip(items["item_id"], titles, named, said, pictures, boxes, strict=True)
    return [
        Product(item_id, title, tuple(of_all), frozenset(of_title), picture, box)
        for item_id, title, of_all, of_title, picture, box in rows
    ]
