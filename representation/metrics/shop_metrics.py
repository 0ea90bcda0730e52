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
from representation.metrics.larger_catalogues import ASSUMED, recall_in_larger_catalogues
from representation.metrics.neighbours import (
    alignment,
    category_accuracy,
    same_spu_recall,
    uniformity,
)
from representation.metrics.recall import READINGS, search_recall
from representation.search.approximate import ApproximateIndex, IndexConfig
from representation.sets.search_cases import MODALITIES, SearchCases, ShopSearches, search_cases

SEARCHED_BY = {
    "image": "by picture alone",
    "text": "by words alone",
    "mixed": "by picture and words",
}


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
    searches = ShopSearches.of(shop, items, queries, period, engagement)
    return measure_shop_by_row(searches, ks, index=index, seed=seed).estimates


def measure_shop_by_row(
    searches: ShopSearches,
    ks: Sequence[int] = (1, 5, 10, 50),
    *,
    index: IndexConfig | None = None,
    seed: int = 0,
) -> ShopMeasures:
    """`measure_shop`, and the values whose means its figures are."""
    gallery, measuring = searches.gallery, _Measuring(searches, ks, index, seed)
    with progress("measure", len(MODALITIES) + 3) as bar:
        for name in MODALITIES:
            measuring.by_search(f"{name}_search", name, searches.cases[name], searches.engagement)
            bar.advance(note=f"searches {SEARCHED_BY[name]}")
        if searches.engagement != "clicked":
            measuring.by_click()
        bar.advance(note="clicks")
        measuring.items()
        bar.advance(note=f"{len(gallery):,} items among themselves")
        measuring.alignment()
        bar.advance(note="searches and what they led to")
    measures = {name: value for name, value in measuring.estimates.items() if value.count}
    kept = [one.only(measures) for one in measuring.values]
    return ShopMeasures(measures, tuple(one for one in kept if one.names))


def measure_segments(
    searches: ShopSearches, k: int = 10, *, modality: str = "image", depth: int = 1
) -> dict[str, Estimate]:
    """Search recall@k by segment: the first `depth` levels of the category of what was engaged with.

    A search whose engaged items lie in several segments counts in each. Segments come in alphabetical order; mind their counts.
    """
    gallery, cases = searches.gallery, searches.cases[modality]
    result = search_recall(**cases.over(gallery), ks=(k,))
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
    definition = _definition("recall", k, searches, modality)
    return {
        segment: mean_share(
            result.hits[by_segment[segment], 0],
            groups=users[by_segment[segment]],
            definition=f"{definition}; searches after which an item of {segment} was {searches.engagement}",
        )
        for segment in sorted(by_segment)
    }


def measure_larger_catalogues(
    searches: ShopSearches, sizes: Sequence[int], ks: Sequence[int] = (10,), *, seed: int = 0
) -> dict[str, Estimate]:
    """Search recall extrapolated to catalogues of `sizes` items; see `larger_catalogues` for what is assumed.

    Args:
        sizes: listed items, today's at least; as many of them have a vector as have today.

    Returns:
        `{image,text,mixed}_search_recall@k among N` for each modality that has searches.

    Raises:
        TableError: a size below today's, or a k that is too large for this gallery.
    """
    gallery = searches.gallery
    for size in sizes:
        if size < gallery.num_listed:
            raise TableError(
                f"a catalogue of {size:,} items is smaller than this shop's {gallery.num_listed:,}; name a larger one"
            )
    covered = {size: round(size * len(gallery) / max(gallery.num_listed, 1)) for size in sizes}
    found: dict[str, Estimate] = {}
    for name in MODALITIES:
        own = searches.cases[name]
        if not len(own):
            continue
        wanted = [*covered.values()]
        by_k = recall_in_larger_catalogues(**own.over(gallery), sizes=wanted, ks=ks, seed=seed)
        for k in by_k:
            for size, with_vector in covered.items():
                definition = f"extrapolated from {gallery.num_listed:,} to {size:,} items: {_definition('recall', k, searches, name)}; {ASSUMED}"
                found[f"{name}_search_recall@{k} among {size:,}"] = replace(
                    by_k[k][with_vector], definition=definition
                )
    return found


class _Measuring:
    """Gathers estimates by name, and what they are the means of."""

    def __init__(
        self, searches: ShopSearches, ks: Sequence[int], index: IndexConfig | None, seed: int
    ) -> None:
        self._searches, self._ks, self._seed = searches, ks, seed
        vectors = searches.gallery.vectors
        self._index = (
            None if index is None or not len(vectors) else ApproximateIndex(vectors, index)
        )
        self.estimates: dict[str, Estimate] = {}
        self.values: list[UnitValues] = []

    def by_search(
        self, prefix: str, modality: str, cases: SearchCases, engaged: Engagement
    ) -> None:
        """The four readings of recall."""
        over = cases.over(self._searches.gallery)
        result = search_recall(**over, ks=self._ks, index=self._index, seed=self._seed)
        searched = ""
        if self._index is not None:
            searched = f"; searched by {self._index.name}: see {prefix}_of_exact"
        left_out = f"{cases.num_left_out:,} of {len(cases) + cases.num_left_out:,} left out: nothing {engaged} that was listed, or no vector of the search{searched}"
        for reading, estimates in result.readings.items():
            for k, estimate in estimates.items():
                words = _definition(reading, k, self._searches, modality, engaged)
                self.estimates[f"{prefix}_{reading}@{k}"] = replace(
                    estimate, definition=f"{words}; {left_out}"
                )
        names = [f"{prefix}_{reading}@{k}" for reading in result.readings for k in result.hit]
        columns = np.column_stack([*result.by_search.values()])
        self.values.append(UnitValues("users", cases.users[result.searches], (*names,), columns))
        self.estimates |= {f"{prefix}_of_exact@{k}": each for k, each in result.of_exact.items()}

    def by_click(self) -> None:
        """Image-search recall by clicks; of the other readings none."""
        at, prefix = self._searches, "image_search_click"
        cases = search_cases(at.shop, at.gallery, at.queries, at.period, "clicked")["image"]
        before = {**self.estimates}
        self.by_search(prefix, "image", cases, "clicked")
        kept = (f"{prefix}_recall@", f"{prefix}_of_exact@")
        self.estimates = {
            name: one
            for name, one in self.estimates.items()
            if name in before or name.startswith(kept)
        }

    def items(self) -> None:
        """What needs no searches."""
        vectors, frame = self._searches.gallery.vectors, self._searches.gallery.frame
        categories = np.unique(frame["category"].to_numpy(), return_inverse=True)[1]
        spus, ids = (frame[name].to_numpy() for name in ("spu_id", "item_id"))
        accuracy, rows, alike = category_accuracy(vectors, categories, self._seed)
        self._of_items({"category_accuracy": accuracy}, ids[rows], alike[:, None])
        siblings, rows, hits = same_spu_recall(vectors, spus, self._ks, self._seed)
        named = {f"same_spu_recall@{k}": estimate for k, estimate in siblings.items()}
        self._of_items(named, ids[rows], hits)
        evenness, rows, kernel = uniformity(vectors, self._seed)
        self._of_items({"uniformity": evenness}, ids[rows], kernel[:, None], is_log=True)

    def alignment(self) -> None:
        """Of all searches with something to find."""
        found = [self._searches.cases[name].findable() for name in MODALITIES]
        users = np.concatenate([each.users for each in found])
        self.estimates["alignment"], _, cosines = alignment(
            np.concatenate([each.queries for each in found]),
            self._searches.gallery.vectors,
            [rows for each in found for rows in each.relevant],
            users,
        )
        self.values.append(UnitValues("users", users, ("alignment",), cosines[:, None]))

    def _of_items(
        self, named: dict[str, Estimate], ids: np.ndarray, values: np.ndarray, is_log: bool = False
    ) -> None:
        self.estimates |= named
        self.values.append(UnitValues("items", ids, (*named,), values, is_log=is_log))


def _definition(
    reading: str, k: int, searches: ShopSearches, modality: str, engaged: str = ""
) -> str:
    gallery = searches.gallery
    num_missing = gallery.num_listed - len(gallery)
    covered = f", {num_missing:,} of {gallery.num_listed:,} have no vector and are never found"
    return READINGS[reading].format(
        k=k,
        which=f" {SEARCHED_BY[modality]} in the {searches.period} period",
        engaged=f"{engaged or searches.engagement} after it",
        gallery=f"the whole gallery ({len(gallery):,} items listed by then, the query's own picture left out{covered if num_missing else ''})",
    )
