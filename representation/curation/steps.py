"""Curate positive pairs as the report's second post-training stage does: hardest query, SPU merge, category re-balancing, entity filter.

Papers: MOON technical report (arXiv 2511.11305), post-training stage 2: "similarity de-duplication", "SPU merge", "category re-balancing", "NER". The steps come in the report's order
(an option puts re-balancing last). Each works on every kind of query by itself, for training draws each kind by its own weight.

Only what lies before the cut is read: searches, impressions and items alike; a pair from later is refused.
Whatever is dropped is dropped from training's positives alone: make `KnownPositives` from the pairs as they were.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import EncoderError
from moon_rec.progress import say
from moon_rec.shop import Shop
from representation.curation.category_balance import (
    categories,
    distance,
    exposure_mix,
    mix_of,
    rebalance,
)
from representation.curation.config import CurationConfig
from representation.curation.curated import Curated, CurationStep
from representation.curation.entities import (
    EntityRecogniser,
    Gazetteer,
    count_entities,
    enough_entities,
)
from representation.curation.hardest_query import keep_hardest
from representation.curation.spu_merge import PRODUCT_QUERY, merge_spus

if TYPE_CHECKING:
    from representation.posttraining.mixture import QueryKind

STEPS = ("hardest_query", "merge_spu", "rebalance_categories", "entities")
FEW = 0.1
"""A kind of query that keeps less than this share of its pairs is spoken of aloud."""

Pairs = dict[str, pl.DataFrame]
Taken = tuple[Pairs, str, Mapping[str, float]]
"""What a step gives: pairs, why it dropped what it did, figures."""


def curate(
    shop: Shop,
    pairs: "Mapping[QueryKind, pl.DataFrame]",
    config: CurationConfig,
    items: EmbeddingTable | None = None,
    queries: EmbeddingTable | None = None,
    recogniser: EntityRecogniser | None = None,
) -> Curated:
    """Curate pairs; rows are only ever left out (with `spu_item="representative"` their item may become another SKU of its SPU).

    Args:
        pairs: by kind of query, as `posttraining.pairs.logged_pairs` gives them.
        items, queries: vectors of a previous model by item_id and by search_id; only `hardest_query` needs them.
        recogniser: finds entities in texts; None: the gazetteer of the shop's own terms.

    Raises:
        EncoderError: `hardest_query` without vectors; pairs of searches, or of items, from after the cut.
    """
    return _Curation(shop, config, items, queries, recogniser).go({**pairs})


class _Curation:
    def __init__(
        self,
        shop: Shop,
        config: CurationConfig,
        items: EmbeddingTable | None,
        queries: EmbeddingTable | None,
        recogniser: EntityRecogniser | None,
    ) -> None:
        self._shop, self._config = shop, config
        self._item_vectors, self._query_vectors = items, queries
        self._recogniser = recogniser
        self._items = shop.items.filter(pl.col("listed_at") < shop.cut_time)
        self._searches = shop.in_period(shop.searches, "train").select("search_id", "query_text")
        self._categories = categories(shop, config.rebalance_depth)
        self._exposure = exposure_mix(shop, config.rebalance_depth)

    def go(self, pairs: Pairs) -> Curated:
        self._check(pairs)
        before, steps = pairs, []
        for name, step in self._chosen():
            say(f"curation: {name} of {_total(pairs):,} pairs")
            start = time.perf_counter()
            left, why, figures = step(pairs)
            seconds = time.perf_counter() - start
            by_kind = {kind: (pairs[kind].height, left[kind].height) for kind in pairs}
            counts = _total(pairs), _total(left)
            steps.append(CurationStep(name, *counts, why, by_kind, dict(figures), seconds))
            pairs = left
        self._warn(before, pairs, steps)
        mixes = {kind: self._mix(before[kind], pairs[kind]) for kind in pairs}
        far = {kind: (self._distance(before[kind]), self._distance(pairs[kind])) for kind in pairs}
        return Curated(pairs, steps, mixes, far)  # type: ignore[arg-type]

    def _chosen(self) -> list[tuple[str, Callable[[Pairs], Taken]]]:
        config = self._config
        steps = [
            (config.hardest_query, "hardest_query", self._hardest),
            (config.merge_spu, "merge_spu", self._merge),
            (config.fewest_entities, "entities", self._filter),
        ]
        balance = (config.rebalance_categories, "rebalance_categories", self._balance)
        steps.insert(3 if config.rebalance_last else 2, balance)
        return [(name, step) for is_on, name, step in steps if is_on]

    def _hardest(self, pairs: Pairs) -> Taken:
        config, items = self._config, self._item_vectors
        if items is None or (
            self._query_vectors is None
            and any(frame.height for kind, frame in pairs.items() if kind != PRODUCT_QUERY)
        ):
            raise EncoderError(
                "curation.hardest_query needs the vectors of a previous model: give embedding tables of items and queries, or switch it off (hardest_query=false)"
            )
        left, unjudged = {}, {}
        for kind, frame in pairs.items():
            queries = None if kind == PRODUCT_QUERY else self._query_vectors
            limits = (config.hardest_keep, config.hardest_from, config.hardest_least_similarity)
            left[kind], unjudged[kind] = keep_hardest(frame, items, queries, *limits)
        without = sum(unjudged.values())
        why = (
            f"of each item with {config.hardest_from} or more queries of a kind, the {config.hardest_keep} least like it under the previous model stay; "
            f"{without:,} pairs without a vector stay unjudged"
        )
        return left, why, {"without_vector": without}

    def _merge(self, pairs: Pairs) -> Taken:
        items = self._items.select("item_id", "title")
        merged = merge_spus(pairs, self._searches, items, self._config.spu_item)
        why = "a query and an SPU count once"
        if self._config.spu_item == "representative":
            why += (
                f"; {merged.num_renamed:,} pairs now name the SKU that stands for their SPU, "
                f"and {merged.num_own_answer:,} of products that so became their own answer are dropped"
            )
        figures = {"renamed": merged.num_renamed, "own_answer": merged.num_own_answer}
        return merged.pairs, why, figures

    def _balance(self, pairs: Pairs) -> Taken:
        config, left, told = self._config, {}, []
        figures: dict[str, float] = {}
        near, keep = config.rebalance_distance, config.rebalance_keep
        for kind, frame in pairs.items():
            left[kind] = rebalance(
                frame, self._categories, self._exposure, keep, near, config.seed or 0, kind
            )
            before, after = self._distance(frame), self._distance(left[kind])
            place = f"{kind.replace('+', '_')}/distance"
            figures |= {f"{place}_before": before, f"{place}_after": after}
            if frame.height:
                told.append(f"{kind} {before:.3f} -> {after:.3f}")
        why = (
            f"over-represented categories shrink until the mix is within {near:g} of that of impressions, or {keep:.0%} of the pairs are left; distance: "
            + (", ".join(told) or "no pairs")
        )
        return left, why, figures

    def _filter(self, pairs: Pairs) -> Taken:
        config, left, told = self._config, {}, []
        recogniser = self._recogniser or Gazetteer.of_shop(self._shop, config.fold_plural)
        titles, texts = _texts_of(pairs, self._items, self._searches)
        in_titles = count_entities(titles, "item_id", recogniser, "titles").drop("has_words")
        in_queries = count_entities(texts, "search_id", recogniser, "queries")
        figures: dict[str, float] = {}
        for kind, frame in pairs.items():
            found = _entities_of(kind, frame, in_queries, in_titles)
            enough = enough_entities(found, config.fewest_entities, config.entities_in)
            left[kind] = frame.filter(enough["query_is_enough"] & enough["title_is_enough"])
            query, title = (int((~enough[name]).sum()) for name in enough.columns)
            place = kind.replace("+", "_")
            figures |= {f"{place}/by_query": query, f"{place}/by_title": title}
            told.append(f"{kind} {query:,} for the query, {title:,} for the title")
        why = (
            f"fewer than {config.fewest_entities} entities ({config.entities_in}); pairs dropped (some for both): "
            + ", ".join(told)
            + "; a query without words is judged by the title alone"
        )
        return left, why, figures

    def _distance(self, pairs: pl.DataFrame) -> float:
        return distance(mix_of(pairs, self._categories), self._exposure)

    def _mix(self, before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
        share = (pl.col("pairs") / pl.col("pairs").sum()).fill_nan(0)
        parts = [
            mix_of(frame, self._categories).select("category", share.alias(name))
            for name, frame in (("before", before), ("after", after))
        ]
        joined = self._exposure.join(parts[0], on="category", how="full", coalesce=True)
        joined = joined.join(parts[1], on="category", how="left").fill_null(0.0)
        return joined.select("category", "before", "after", "exposure").sort("category")

    def _check(self, pairs: Pairs) -> None:
        every = pl.concat([frame.lazy().select("search_id", "item_id") for frame in pairs.values()])
        late = self._shop.searches.filter(pl.col("time") >= self._shop.cut_time)
        listed = self._items.select("item_id")
        for what, column, wrong in (
            ("search", "search_id", every.join(late, on="search_id", how="semi")),
            ("item", "item_id", every.join(listed, on="item_id", how="anti")),
        ):
            found = wrong.select(column).head(1).collect(engine="streaming")
            if found.height:
                raise EncoderError(
                    f"pairs hold {what} {found.item()}, which the shop does not have before its cut ({self._shop.cut_time}): curate pairs from before the cut alone"
                )

    @staticmethod
    def _warn(before: Pairs, after: Pairs, steps: list[CurationStep]) -> None:
        for kind, frame in after.items():
            had = before[kind].height
            if had and frame.height < FEW * had:
                worst = max(steps, key=lambda step: step.by_kind[kind][0] - step.by_kind[kind][1])
                lost = worst.by_kind[kind][0] - worst.by_kind[kind][1]
                say(
                    f"curation leaves {frame.height:,} of {had:,} pairs of {kind} queries; {worst.name} alone dropped {lost:,}"
                )


def _texts_of(
    pairs: Pairs, items: pl.LazyFrame, searches: pl.LazyFrame
) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Titles (item_id, text) and words (search_id, text) of the pairs alone."""
    every = pl.concat(
        [frame.lazy().select("search_id", "item_id", "query_item_id") for frame in pairs.values()]
    )
    used = [every.select("item_id"), every.select(item_id="query_item_id").drop_nulls()]
    titles = items.select("item_id", text="title")
    texts = searches.select("search_id", text="query_text")
    return (
        titles.join(pl.concat(used).unique(), on="item_id", how="semi"),
        texts.join(every.select("search_id").unique(), on="search_id", how="semi"),
    )


def _entities_of(
    kind: str, pairs: pl.DataFrame, in_queries: pl.DataFrame, in_titles: pl.DataFrame
) -> pl.DataFrame:
    """query_entities, has_words and title_entities of each pair, in the rows' order."""
    rows = pairs.join(
        in_titles.rename({"entities": "title_entities"}),
        on="item_id",
        how="left",
        maintain_order="left",
    )
    if kind == PRODUCT_QUERY:
        queries = in_titles.select(
            query_item_id="item_id", query_entities="entities", has_words=pl.lit(True)
        )
        return rows.join(queries, on="query_item_id", how="left", maintain_order="left")
    queries = in_queries.rename({"entities": "query_entities"})
    rows = rows.join(queries, on="search_id", how="left", maintain_order="left")
    has_words = pl.lit(False) if kind == "image" else pl.col("has_words").fill_null(False)
    return rows.with_columns(has_words=has_words)


def _total(pairs: Pairs) -> int:
    return sum(frame.height for frame in pairs.values())
