"""What is said to the backbone about a product or a query.

The report's items come as image, title or *richer text* (attributes, category, description and the like). Here:
- `title`: the title;
- `richer`: title, category path, brand, attributes, then the description, so that truncation costs the least telling part first. The price is left out by
  default: it is no content, and it moves (an option).
A row reads `<|product|> <|vision_start|> picture <|vision_end|> text` (or `<|query|>`), padded on the right; a prompt with `{content}` in it goes around them,
as chat templates do. How the paper words its prompts is not public.
"""

from collections.abc import Sequence
from typing import Literal

import polars as pl
from pydantic import Field

from moon_rec.bounds import Length
from moon_rec.config import Config, CountsWhen
from moon_rec.shop.schema import ATTRIBUTES
from moon_rec.texts import normal_text
from representation.mixture.guided import ATTRIBUTE, CATEGORY, MarkedText

Richness = Literal["title", "richer"]
SEPARATOR = " | "
CONTENT = "{content}"
"""In a prompt, the place of picture and text; a prompt without it comes before them."""


RICHER_ALONE = CountsWhen(
    lambda config: config.item_text == "richer",
    "only item_text=richer reads it; leave it out or set that",
)


class PromptConfig(Config):
    """Wording and lengths, kept with the encoder."""

    query_prompt: str = Field(default="<|query|>", description="put before every query")
    item_prompt: str = Field(default="<|product|>", description="put before every product")
    query_tokens: Length = Field(
        default=24, description="a query's text is cut to this many tokens"
    )
    title_tokens: Length = Field(default=24, description="a title likewise")
    richer_tokens: Length = Field(default=48, description="a richer text likewise")
    item_text: Richness = Field(default="richer", description="what a gallery's products show")
    with_price: bool = Field(default=False, description="in the richer text")


TEXT_COLUMNS = ("title", "category", "brand", "attributes", "description", "price")
"""What of the items table a text of a product is made of."""


def product_texts(items: pl.DataFrame, richness: Richness, with_price: bool = False) -> list[str]:
    """One text a product; columns that the frame does not have, and nulls, are left out. In richer ones category and attributes are marked as such.

    Args:
        items: some of the items table's columns, at least `title`.
    """
    if richness == "title":
        return [title or "" for title in values_of(items, "title")]
    columns = [values_of(items, name) for name in ("title", "category", "brand")]
    columns.append(attribute_texts(items))
    columns.append(values_of(items, "description"))
    if with_price:
        columns.append([f"price {price}" if price else "" for price in values_of(items, "price")])
    roles = (0, CATEGORY, 0, ATTRIBUTE, 0, 0)[: len(columns)]
    return [
        MarkedText.joined(list(zip(parts, roles, strict=True)), SEPARATOR)
        for parts in zip(*columns, strict=True)
    ]


def attribute_texts(items: pl.DataFrame) -> list[str]:
    """`name value, name value` of each product, in the order of the table; empty where it has none."""
    texts = []
    for pairs in values_of(items, "attributes"):
        found = [f"{pair['name']} {pair['value']}" for pair in pairs or [] if pair["value"]]
        texts.append(", ".join(found))
    return texts


def category_leaves(items: pl.DataFrame) -> list[str]:
    """The last level of each product's category path: its main subject."""
    return [(path or "").rsplit("/", 1)[-1] for path in values_of(items, "category")]


def searchable_texts(items: pl.DataFrame) -> list[str]:
    """Every text of the products that a prompt or an answer may hold, for learning a tokenizer; prices are digits, which every tokenizer has."""
    return product_texts(items, "richer")


def values_of(items: pl.DataFrame, name: str) -> Sequence:
    """Values, texts in normal form; blank ones are empty."""
    if name not in items.columns:
        return [None] * items.height
    column = pl.col(name)
    if items.schema[name] == pl.String:
        column = normal_text(name)
    elif items.schema[name] == ATTRIBUTES:
        field = pl.element().struct.field
        column = column.list.eval(
            pl.struct(name=normal_text(field("name")), value=normal_text(field("value")))
        )
    return items.select(column).to_series().to_list()
