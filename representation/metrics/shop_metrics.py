"""Every intermediate metric of an encoder on a shop: search recall, and the candidates that stand beside it.

What a search is measured on, and what is left out, is told in `search_cases`; the four readings of recall in `search_recall`. A metric that nothing can be
measured for (a shop without pictures, without SPUs of two items ...) is left out of the result, not given as NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.estimate import Estimate
from moon_rec.progress import progress
from moon_rec.shares import mean_share
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.shop import Period, Shop
from moon_rec.user_draws import UnitValues
from moon_rec.vector_pairs import check_pair
from representation.evaluation.larger_catalogues import ASSUMED, recall_in_larger_catalogues
from representation.metrics.neighbours import (
    alignment,
    category_accuracy,
    same_spu_recall,
    uniformity,
)
from representation.metrics.recall import search_recall
from representation.search.approximate import ApproximateIndex, IndexConfig
from representation.sets.search_cases import (
    MODALITIES,
    Gallery,
    SearchCases,
    gallery_of,
    search_cases,
)

SEARCHED_BY = {
    "image": "by picture alone",
    "text": "by words alone",
    "mixed": "by picture and words",
}
READINGS = {
    "recall": "share of searches {by} in the {period} period whose top {k} of {gallery} hold at least one item {engaged} after it",
    "share_of_relevant": "mean over searches {by} in the {period} period of the share of the items {engaged} after it that the top {k} of {gallery} hold",
    "precision": "mean over searches {by} in the {period} period of the share of the top {k} of {gallery} that was {engaged} after it",
    "capped_recall": "mean over searches {by} in the {period} period of the items {engaged} after it that the top {k} of {gallery} hold, over the smaller of {k} and their number; it may fall as k grows",
}
_PRINTED = {"hit": "recall"}
"""What a reading is called where it is not called as in `search_recall`."""


@dataclass(frozen=True)
class ShopMeasures:
    """What an encoder is measured by on a shop, and what these figures are the means of.

    Attributes:
        estimates: as `measure_shop` gives them.
        values: each metric but `..._of_exact@k` by its rows: those of searches by the users who searched; those of items alone (`category_accuracy`, `same_spu_recall@k`,
            `uniformity`) by the items, of a pair its first. Users play no part in these: another draw of users leaves them as they are, and another draw of items moves
            them. Where metrics are taken again under draws of users, items are drawn for these, in a stream of its own (`moon_rec.user_draws`).
    """

    estimates: dict[str, Estimate]
    values: tuple[UnitValues, ...]


def measure_shop(
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    period: Period = "test",
    engagement: Engagement = "purchased",
    ks: Sequence[int] = (1, 5, 10, 50),
    *,
    index: IndexConfig | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Measure an encoder's item and query vectors on a shop.

    Args:
        items: vectors by item_id; queries: vectors by search_id.
        period: whose searches; only `validation` may choose anything.
        engagement: what a search should find: "purchased", "clicked" or "carted".
        index: searches through an approximate index; `..._of_exact@k` then stands beside each recall. Metrics of items alone stay exact.

    Returns:
        By name, each with definition, count and interval:
        - `{image,text,mixed}_search_recall@k`, `..._share_of_relevant@k`, `..._precision@k`, `..._capped_recall@k`;
        - `image_search_click_recall@k`: the first by clicks (unless `engagement` is clicks already);
        - `category_accuracy`, `same_spu_recall@k`, `alignment`, `uniformity`: see `neighbours`.

    Raises:
        TableError: tables of another shop, of two encoders or dims, or vectors that are all zeros.
    """
    return measure_shop_by_row(
        shop, items, queries, period, engagement, ks, index=index, seed=seed
    ).estimates


def measure_shop_by_row(
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    period: Period = "test",
    engagement: Engagement = "purchased",
    ks: Sequence[int] = (1, 5, 10, 50),
    *,
    index: IndexConfig | None = None,
    seed: int = 0,
) -> ShopMeasures:
    """`measure_shop`, and the values whose means its figures are."""
    check_pair(shop, items, queries)
    values: list[UnitValues] = []
    with progress("measure", len(MODALITIES) + 4) as bar:
        gallery = gallery_of(shop, items, period)
        bar.advance(note=f"{len(gallery):,} items")
        cases = search_cases(shop, gallery, queries, period, engagement)
        bar.advance(note="searches")
        made = (
            None if index is None or not len(gallery) else ApproximateIndex(gallery.vectors, index)
        )
        measures: dict[str, Estimate] = {}
        for name in MODALITIES:
            words = {"by": SEARCHED_BY[name], "period": period, "engaged": engagement}
            measures |= _search_measures(
                f"{name}_search", cases[name], gallery, ks, words, made, seed, values
            )
            bar.advance(note=f"searches {SEARCHED_BY[name]}")
        if engagement != "clicked":
            measures |= _click_measures(shop, gallery, queries, period, ks, made, seed, values)
        bar.advance(note="clicks")
        measures |= _item_measures(gallery, ks, seed, values)
        found = [cases[name].findable() for name in MODALITIES]
        users = np.concatenate([each.users for each in found])
        measures["alignment"], _, cosines = alignment(
            np.concatenate([each.queries for each in found]),
            gallery.vectors,
            [rows for each in found for rows in each.relevant],
            users,
        )
        values.append(UnitValues("users", users, ("alignment",), cosines[:, None]))
        bar.advance(note="items among themselves")
    measures = {name: value for name, value in measures.items() if value.count}
    kept = [one.only(measures) for one in values]
    return ShopMeasures(measures, tuple(one for one in kept if one.names))


def measure_segments(
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    period: Period = "test",
    engagement: Engagement = "purchased",
    k: int = 10,
    *,
    modality: str = "image",
    depth: int = 1,
) -> dict[str, Estimate]:
    """Search recall@k by segment: the first `depth` levels of the category of what was engaged with.

    A search whose engaged items lie in several segments counts in each. Segments come in alphabetical order; mind their counts.
    """
    check_pair(shop, items, queries)
    gallery = gallery_of(shop, items, period)
    cases = search_cases(shop, gallery, queries, period, engagement)[modality]
    result = search_recall(
        cases.queries,
        gallery.vectors,
        cases.relevant,
        (k,),
        num_missing=cases.num_missing,
        excluded=cases.excluded,
    )
    path = pl.col("category").str.split("/").list.head(depth).list.join("/")
    listed = gallery.frame if gallery.missing is None else gallery.frame.vstack(gallery.missing)
    names = listed.select(path)["category"].to_list()
    by_segment: dict[str, list[int]] = {}
    for place, search in enumerate(result.searches):
        missing = cases.missing[search] if cases.missing else []
        rows = [*cases.relevant[search], *(len(gallery) + row for row in missing)]
        for segment in sorted({names[row] for row in rows}):
            by_segment.setdefault(segment, []).append(place)
    users = cases.users[result.searches]
    words = _words(gallery, {"by": SEARCHED_BY[modality], "period": period, "engaged": engagement})
    definition = READINGS["recall"].format(k=k, **words)
    return {
        segment: mean_share(
            result.hits[by_segment[segment], 0],
            groups=users[by_segment[segment]],
            definition=f"{definition}; searches after which an item of {segment} was {engagement}",
        )
        for segment in sorted(by_segment)
    }


def measure_larger_catalogues(
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    sizes: Sequence[int],
    period: Period = "test",
    engagement: Engagement = "purchased",
    ks: Sequence[int] = (10,),
    *,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Search recall extrapolated to catalogues of `sizes` items; see `larger_catalogues` for what is assumed.

    Args:
        sizes: listed items, today's at least; as many of them have a vector as have today.

    Returns:
        `{image,text,mixed}_search_recall@k among N` for each modality that has searches.

    Raises:
        TableError: a size below today's, or a k that is too large for this gallery.
    """
    check_pair(shop, items, queries)
    gallery = gallery_of(shop, items, period)
    cases = search_cases(shop, gallery, queries, period, engagement)
    for size in sizes:
        if size < gallery.num_listed:
            raise TableError(
                f"a catalogue of {size:,} items is smaller than this shop's {gallery.num_listed:,}; name a larger one"
            )
    covered = {size: round(size * len(gallery) / max(gallery.num_listed, 1)) for size in sizes}
    found: dict[str, Estimate] = {}
    for name in MODALITIES:
        own = cases[name]
        if not len(own):
            continue
        by_k = recall_in_larger_catalogues(
            own.queries,
            gallery.vectors,
            own.relevant,
            [*covered.values()],
            ks,
            num_missing=own.num_missing,
            excluded=own.excluded,
            users=own.users,
            seed=seed,
        )
        words = {"by": SEARCHED_BY[name], "period": period, "engaged": engagement}
        for k in by_k:
            for size, with_vector in covered.items():
                definition = f"extrapolated from {gallery.num_listed:,} to {size:,} items: {READINGS['recall'].format(k=k, **_words(gallery, words))}; {ASSUMED}"
                found[f"{name}_search_recall@{k} among {size:,}"] = replace(
                    by_k[k][with_vector], definition=definition
                )
    return found


def _search_measures(
    name: str,
    cases: SearchCases,
    gallery: Gallery,
    ks: Sequence[int],
    words: dict[str, str],
    index: ApproximateIndex | None,
    seed: int,
    values: list[UnitValues],
) -> dict[str, Estimate]:
    """By name; what they are the means of is added to `values`."""
    result = search_recall(
        cases.queries,
        gallery.vectors,
        cases.relevant,
        ks,
        num_missing=cases.num_missing,
        excluded=cases.excluded,
        index=index,
        users=cases.users,
        seed=seed,
    )
    searched = "" if index is None else f"; searched by {index.name}: see {name}_of_exact"
    num_all = len(cases) + cases.num_left_out
    left_out = f"{cases.num_left_out:,} of {num_all:,} left out: nothing {words['engaged']} that was listed, or no vector of the search{searched}"
    words = _words(gallery, words)
    measures = {
        f"{name}_{reading}@{k}": replace(
            estimate, definition=f"{READINGS[reading].format(k=k, **words)}; {left_out}"
        )
        for reading, estimates in result.readings.items()
        for k, estimate in estimates.items()
    }
    by_search = {
        f"{name}_{_PRINTED.get(reading, reading)}@{k}": each[:, at]
        for reading, each in result.by_search.items()
        for at, k in enumerate(result.hit)
    }
    columns = np.column_stack([*by_search.values()])
    values.append(UnitValues("users", cases.users[result.searches], (*by_search,), columns))
    return measures | {f"{name}_of_exact@{k}": each for k, each in result.of_exact.items()}


def _click_measures(
    shop: Shop,
    gallery: Gallery,
    queries: EmbeddingTable,
    period: Period,
    ks: Sequence[int],
    index: ApproximateIndex | None,
    seed: int,
    values: list[UnitValues],
) -> dict[str, Estimate]:
    """Image-search recall by clicks; of the other readings none."""
    cases = search_cases(shop, gallery, queries, period, "clicked")["image"]
    words = {"by": SEARCHED_BY["image"], "period": period, "engaged": "clicked"}
    found = _search_measures("image_search_click", cases, gallery, ks, words, index, seed, values)
    kept = ("image_search_click_recall@", "image_search_click_of_exact@")
    return {name: value for name, value in found.items() if name.startswith(kept)}


def _item_measures(
    gallery: Gallery, ks: Sequence[int], seed: int, values: list[UnitValues]
) -> dict[str, Estimate]:
    categories = np.unique(gallery.frame["category"].to_numpy(), return_inverse=True)[1]
    spus, items = (gallery.frame[name].to_numpy() for name in ("spu_id", "item_id"))
    accuracy, rows, alike = category_accuracy(gallery.vectors, categories, seed)
    values.append(UnitValues("items", items[rows], ("category_accuracy",), alike[:, None]))
    siblings, rows, hits = same_spu_recall(gallery.vectors, spus, ks, seed)
    named = {f"same_spu_recall@{k}": estimate for k, estimate in siblings.items()}
    values.append(UnitValues("items", items[rows], (*named,), hits))
    evenness, rows, kernel = uniformity(gallery.vectors, seed)
    log = UnitValues("items", items[rows], ("uniformity",), kernel[:, None], is_log=True)
    values.append(log)
    return {"category_accuracy": accuracy, **named, "uniformity": evenness}


def _words(gallery: Gallery, words: dict[str, str]) -> dict[str, str]:
    num_missing = gallery.num_listed - len(gallery)
    covered = f", {num_missing:,} of {gallery.num_listed:,} have no vector and are never found"
    size = f"the whole gallery ({len(gallery):,} items listed by then, the query's own picture left out{covered if num_missing else ''})"
    return {**words, "gallery": size}
