"""Questions about a product whose answers the shop already knows.

The report's domain-knowledge pretraining asks for image description, attribute extraction, title generation and main-subject recognition; its wordings and
data are not public. Here each question is asked of products listed before the cut, wherever the shop holds the answer, and shows only what does not contain it.
"""

from typing import NamedTuple

import polars as pl

from representation.model.prompt import SEPARATOR, attribute_texts, category_leaves, values_of


class Question(NamedTuple):
    """A kind of question: its words, and which text of the product is shown beside the picture."""

    name: str
    words: str
    shown: tuple[str, ...]
    answer: str


QUESTIONS = (
    Question("describe", "Describe the product.", (), "description"),
    Question("attributes", "List the product's attributes.", ("title",), "attributes"),
    Question("title", "Write the product's title.", ("category", "brand", "attributes"), "title"),
    Question("subject", "Name the main subject.", (), "subject"),
)
NAMES = tuple(question.name for question in QUESTIONS)


class Asked(NamedTuple):
    """One question about one product: row of the product's frame, name and words, the text shown, the answer."""

    row: int
    question: str
    words: str
    context: str
    answer: str


def ask(items: pl.DataFrame, names: tuple[str, ...] = NAMES) -> list[Asked]:
    """Every question of `names` about every product that has its answer, product by product.

    A product without a picture is not asked what only its picture shows. Where there is no description, title and attributes together serve as one.

    Args:
        items: title, category, brand, attributes, description and a boolean `has_image`.
    """
    known = _known(items)
    pictured = items["has_image"].to_list()
    asked = []
    for row in range(items.height):
        for question in QUESTIONS:
            answer = known[question.answer][row]
            context = SEPARATOR.join(part for name in question.shown if (part := known[name][row]))
            if question.name in names and answer and (pictured[row] or context):
                asked.append(Asked(row, question.name, question.words, context, answer))
    return asked


def _known(items: pl.DataFrame) -> dict[str, list[str]]:
    plain = {
        name: [value or "" for value in values_of(items, name)]
        for name in ("title", "category", "brand", "description")
    }
    attributes = attribute_texts(items)
    made_up = [
        SEPARATOR.join(part for part in parts if part)
        for parts in zip(plain["title"], attributes, strict=True)
    ]
    description = [
        said or substitute for said, substitute in zip(plain["description"], made_up, strict=True)
    ]
    return {
        **plain,
        "description": description,
        "attributes": attributes,
        "subject": category_leaves(items),
    }
