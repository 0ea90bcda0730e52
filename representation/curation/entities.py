"""Entities in texts, and the filter that drops pairs whose texts name too few things.

The report runs a named-entity recogniser on query and SKU title and drops pairs whose text has fewer than two entities; which recogniser is not public. Ours by
default is a gazetteer of the catalogue's own terms: any other is a class with one method (`EntityRecogniser`).

Notable choices
- Terms are the brands, attribute values and category leaves of items listed before the cut. A single Latin letter or digit is no term: the size `S` would be found in `men's`.
- Texts and terms are compared in normal form (`representation.same_words`): whole words, any case, any script. From left to right the longest term wins and takes its words,
  so `casual shoes` is one entity.
- The same entity twice in a text is one.
- A query without words (a photo; words that are all emoji count as none) is judged by its pair's title alone. A product's words are its title.
"""

from collections.abc import Iterable
from typing import Literal, Protocol

import polars as pl

from moon_rec.progress import progress
from moon_rec.shop import Shop
from representation.same_words import normal_words

ROWS = 65_536
"""Texts that a recogniser is given at a time."""

PLURAL = r"(\p{L}{3,})s\b"


class EntityRecogniser(Protocol):
    """Anything that finds entities in texts."""

    def entities(self, texts: pl.Series) -> pl.Series:
        """The entities in each text: `List(String)`, one a text, empty where there are none or the text is null."""
        ...


class Gazetteer:
    """Finds given terms as whole words.

    Args:
        terms: brand names, colours and the like, in any form; those with no word in them are left out.
        fold_plural: see `CurationConfig`.
    """

    def __init__(self, terms: Iterable[str], fold_plural: bool = True) -> None:
        self._fold_plural = fold_plural
        frame = pl.DataFrame({"text": pl.Series(list(terms), dtype=pl.String)})
        words = self._words(frame["text"]).unique()
        words = words.filter((words != "") & ~words.str.contains(r"^[\p{Latin}\p{N}]$"))
        longest_first = pl.DataFrame({"words": words}).sort(
            pl.col("words").str.len_bytes(), "words", descending=[True, False]
        )
        self.terms: list[str] = longest_first["words"].to_list()
        self._patterns = self._fenced(longest_first["words"]).to_list()

    @classmethod
    def of_shop(cls, shop: Shop, fold_plural: bool = True) -> "Gazetteer":
        """The terms of a shop's catalogue as it was before the cut."""
        items = shop.items.filter(pl.col("listed_at") < shop.cut_time)
        values = pl.col("attributes").list.explode(empty_as_null=False).struct.field("value")
        found = pl.concat(
            [
                items.select(term="brand"),
                items.select(term=pl.col("category").str.split("/").list.last()),
                items.select(term=values),
            ]
        )
        terms = found.drop_nulls().unique().collect(engine="streaming")["term"]
        return cls(terms, fold_plural)

    def entities(self, texts: pl.Series) -> pl.Series:
        """The distinct terms in each text, in normal form; see `EntityRecogniser`."""
        if not self.terms:
            return pl.Series(texts.name, [[]] * len(texts), dtype=pl.List(pl.String))
        found = self._fenced(self._words(texts)).str.extract_many(self._patterns, leftmost=True)
        return (
            found.list.eval(pl.element().str.replace_all(r" +", " ").str.strip_chars(" "))
            .list.unique(maintain_order=True)
            .alias(texts.name)
        )

    def _words(self, texts: pl.Series) -> pl.Series:
        words = texts.alias("text").to_frame().select(normal_words("text"))["text"]
        return words.str.replace_all(PLURAL, "${1}") if self._fold_plural else words

    @staticmethod
    def _fenced(words: pl.Series) -> pl.Series:
        """Each word between two spaces of its own, so that terms match whole words only, and neighbours both."""
        return (" " + words.str.replace_all(" ", "  ", literal=True) + " ").fill_null("")


def count_entities(
    frame: pl.LazyFrame, key: str, recogniser: EntityRecogniser, name: str
) -> pl.DataFrame:
    """How many entities each text of `frame` (columns `key` and `text`) holds.

    Args:
        name: what progress calls the texts.

    Returns:
        `key`, entities (List(String)), has_words: whether there is any word at all.
    """
    texts = frame.select(key, "text", words=normal_words("text")).collect(engine="streaming")
    parts = []
    with progress(f"entities in {name}", texts.height) as bar:
        for piece in texts.iter_slices(ROWS):
            found = recogniser.entities(piece["text"])
            parts.append(piece.select(key, has_words=pl.col("words") != "", entities=found))
            bar.advance(piece.height)
    empty = {key: texts.schema[key], "has_words": pl.Boolean, "entities": pl.List(pl.String)}
    return pl.concat(parts) if parts else pl.DataFrame(schema=empty)


def enough_entities(
    pairs: pl.DataFrame, fewest: int, where: Literal["each", "title", "together"]
) -> pl.DataFrame:
    """Whether the query and the title of each pair hold enough entities.

    Args:
        pairs: `query_entities` and `title_entities` (List(String)), `has_words` of the query.

    Returns:
        query_is_enough, title_is_enough, in the rows' order; one that `where` does not ask of is.
    """
    query, title = pl.col("query_entities"), pl.col("title_entities")
    asked = pl.col("has_words")
    if where == "together":
        both = query.list.set_union(title).list.len() >= fewest
        return pairs.select(query_is_enough=pl.lit(True) | asked, title_is_enough=both)
    query_is_enough = ~asked | (query.list.len() >= fewest)
    if where == "title":
        query_is_enough = pl.lit(True) | asked
    return pairs.select(query_is_enough=query_is_enough, title_is_enough=title.list.len() >= fewest)
