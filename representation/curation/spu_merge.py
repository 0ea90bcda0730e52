"""Merge the SKUs of one SPU: a query and an SPU are one pair, however many SKUs were engaged with.

The report merges them for more diversity, and lest two SKUs of an SPU meet in a batch. What stands for an SPU is not public; here the SKU engaged with most often,
one with a picture before one without, then the lower id. With `own` a pair keeps the SKU that was engaged with.

What makes two queries one is our choice too: words that are the same for a text query (`representation.same_words`), the search for a picture or both, the product for a product.
A product never becomes its own answer by this, nor the answer to one of the same title (as `posttraining.pairs` has it): such pairs are dropped.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import polars as pl

from moon_rec.texts import normal_text
from representation.same_words import normal_words

PRODUCT_QUERY = "richer-text+image"
PAIR_ORDER = ("search_id", "query_item_id", "item_id")


class Merged(NamedTuple):
    """What is left by form of query, how many pairs name another SKU than before, and how many became a product and its own answer."""

    pairs: dict[str, pl.DataFrame]
    num_renamed: int
    num_own_answer: int


def representatives(pairs: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The SKU of each SPU in the pairs: spu_id, item_id, has_image."""
    every = pl.concat(
        [frame.lazy().select("spu_id", "item_id", "has_image") for frame in pairs.values()]
    )
    return (
        every.group_by("spu_id", "item_id", "has_image")
        .len()
        .sort("has_image", "len", "item_id", descending=[True, True, False])
        .group_by("spu_id", maintain_order=True)
        .first()
        .select("spu_id", "item_id", "has_image")
        .sort("spu_id")
        .collect(engine="streaming")
    )


def merge_spus(
    pairs: Mapping[str, pl.DataFrame],
    searches: pl.LazyFrame,
    items: pl.LazyFrame,
    spu_item: Literal["representative", "own"] = "representative",
) -> Merged:
    """One pair for each query and SPU.

    Args:
        pairs: by form of query, with the columns of `posttraining.pairs.COLUMNS`.
        searches: search_id, query_text.
        items: item_id, title.
    """
    chosen = representatives(pairs)
    merged, num_renamed, num_own_answer = {}, 0, 0
    for kind, frame in pairs.items():
        rows = frame
        if spu_item == "representative":
            named = frame.drop("item_id", "has_image").join(
                chosen, on="spu_id", how="left", maintain_order="left"
            )
            num_renamed += int((named["item_id"] != frame["item_id"]).sum())
            rows = named.select(frame.columns)
        if kind == PRODUCT_QUERY:
            rows = _no_own_answers(rows, items)
            num_own_answer += frame.height - rows.height
        merged[kind] = (
            rows.with_columns(_query_of(kind, rows, searches))
            .sort(*PAIR_ORDER)
            .unique(["form", "query", "spu_id"], keep="first", maintain_order=True)
            .drop("form", "query")
        )
    return Merged(merged, num_renamed, num_own_answer)


def _query_of(kind: str, pairs: pl.DataFrame, searches: pl.LazyFrame) -> list[pl.Series]:
    """What makes queries one: the form (search, words or product) and its number."""
    product, words = pl.col("query_item_id"), pl.lit(None, dtype=pl.Int64)
    rows = pairs.lazy().select("search_id", "query_item_id")
    if kind == "text":
        numbers = (
            searches.join(rows.select("search_id").unique(), on="search_id", how="semi")
            .select("search_id", words=normal_words("query_text"))
            .filter(pl.col("words") != "")
            .with_columns(pl.col("words").rank("dense").cast(pl.Int64))
        )
        rows = rows.join(numbers, on="search_id", how="left", maintain_order="left")
        words = pl.col("words")
    form = pl.when(product.is_not_null()).then(2).when(words.is_not_null()).then(1).otherwise(0)
    query = pl.coalesce(product, words, "search_id")
    return rows.select(form=form, query=query).collect().get_columns()


def _no_own_answers(pairs: pl.DataFrame, items: pl.LazyFrame) -> pl.DataFrame:
    titles = items.select("item_id", title=normal_text("title"))
    rows = pairs.lazy().with_row_index("place")
    same = (
        rows.join(titles, on="item_id")
        .join(titles.select(query_item_id="item_id", query_title="title"), on="query_item_id")
        .filter(
            (pl.col("query_item_id") == pl.col("item_id"))
            | (pl.col("query_title") == pl.col("title"))
        )
        .select("place")
    )
    kept = rows.join(same, on="place", how="anti", maintain_order="left").drop("place")
    return kept.collect(engine="streaming")
