"""Sheets of searches with the products nearest to them: what the encoder finds, and where what was bought stands.

Notable choices:
- Searches are drawn by the seed from all that can be measured, so a sheet is a fair sample; `hits` and `misses` walk the same drawn order and keep those that
  fit, and the caption says how many were met on the way, for then the sheet is no fair sample.
- The rank of what was bought is exact, in the order of `search.exact`: by float64 inner product, ties to the lower row, the query's own picture taken out.
- Similarities are cosines of unit vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.seeds import generator
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.shop import Period, Shop
from representation.report.sheet import (
    Cell,
    Part,
    Sheet,
    pictures_of,
    provenance,
    titles_of,
    write_sheet,
)
from representation.search.exact import top_rows
from representation.search.scores import exact_scores
from representation.sets.search_cases import MODALITIES, Gallery, SearchCases, ShopSearches

By = Literal["random", "hits", "misses"]
NEIGHBOURS = 10
WALKED_AT_ONCE = 256


@dataclass(frozen=True)
class Found:
    """What one search found.

    Attributes:
        search_id: of the search.
        rows: `(neighbours,)` gallery rows, nearest first, -1 beyond the gallery's end.
        similarities: `(neighbours,)` their cosines.
        bought: gallery rows engaged with after the search.
        best: the nearest of `bought`.
        rank: its place in the whole ranking, from 1.
        tied: how many products have its very cosine, itself among them; only their rows order these.
        similarity: its cosine.
    """

    search_id: int
    rows: np.ndarray
    similarities: np.ndarray
    bought: frozenset[int]
    best: int
    rank: int
    tied: int
    similarity: float

    @property
    def is_hit(self) -> bool:
        """Whether what was bought is among the neighbours."""
        return self.rank <= len(self.rows)


@dataclass(frozen=True)
class Drawn:
    """Searches of one modality that a sheet shows.

    Attributes:
        found: what each found, in the order drawn.
        how: in words, how they were drawn, of how many.
    """

    found: list[Found]
    how: str


def find(
    gallery: Gallery, cases: SearchCases, at: Sequence[int] | np.ndarray, neighbours: int
) -> list[Found]:
    """What the searches at rows `at` of `cases` found, in that order."""
    nearest = _nearest(gallery, cases, at, neighbours)
    return [_found(gallery, cases, int(case), nearest[int(case)]) for case in at]


def draw_searches(
    gallery: Gallery,
    cases: SearchCases,
    count: int,
    by: By = "random",
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
) -> Drawn:
    """Draw `count` searches, fewer where there are not so many."""
    order = generator(seed, "neighbour sheet").permutation(len(cases))
    if by == "random":
        found = find(gallery, cases, order[:count], neighbours)
        how = (
            f"{len(found)} of {len(cases):,} drawn at random (seed {seed}), "
            f"{sum(each.is_hit for each in found)} of them found it in the top {neighbours}"
        )
        return Drawn(found, how)
    kept: list[int] = []
    walked = fitting = 0
    while walked < len(order) and len(kept) < count:
        part = order[walked : walked + WALKED_AT_ONCE]
        nearest = _nearest(gallery, cases, part, neighbours)
        hits = [not set(cases.relevant[case]).isdisjoint(nearest[case]) for case in part.tolist()]
        fits = part[np.array(hits) == (by == "hits")].tolist()
        walked, fitting = walked + len(part), fitting + len(fits)
        kept += fits[: count - len(kept)]
    word = "found" if by == "hits" else "did not find"
    how = f"chosen, no fair sample: {len(kept)} of the {fitting} that {word} it in the top {neighbours}, of {walked:,} drawn at random (seed {seed}) from {len(cases):,}"
    return Drawn(find(gallery, cases, kept, neighbours), how)


def draw_neighbours(
    path: Path | str,
    shop: Shop,
    items: EmbeddingTable,
    queries: EmbeddingTable,
    *,
    modalities: Sequence[str] = MODALITIES,
    searches: Sequence[int] | None = None,
    count: int = 4,
    by: By = "random",
    neighbours: int = NEIGHBOURS,
    period: Period = "test",
    engagement: Engagement = "purchased",
    seed: int = 0,
) -> dict[str, Drawn]:
    """Write the sheet `path` (`.html` or `.png`), atomically: for each search its picture or words, the nearest products, and what was bought, framed, with its rank.

    Args:
        modalities: of `image`, `text` and `mixed`; those without a search are left out.
        searches: these search_ids, in this order, instead of drawn ones.
        count: searches of each modality.
        by: whether drawn ones are any, only those that found, or only those that did not.
        neighbours: products shown.
        engagement: what counts as bought.

    Returns:
        What is on the sheet, by modality.

    Raises:
        TableError: tables of another shop, no search to show, or one of `searches` that cannot be shown.
    """
    found = ShopSearches.of(shop, items, queries, period, engagement)
    gallery, cases = found.gallery, found.findable(modalities)
    if searches is not None:
        drawn = _chosen(gallery, cases, searches, neighbours, f"{period} period, {engagement}")
    else:
        drawn = {
            name: draw_searches(gallery, each, count, by, neighbours, seed)
            for name, each in cases.items()
        }
    drawn = {name: each for name, each in drawn.items() if each.found}
    if not drawn:
        wanted = {"random": "", "hits": " that finds it", "misses": " that does not find it"}[by]
        raise TableError(
            f"nothing to show: shop {shop.name} has no {' or '.join(modalities)} search{wanted} in the {period} period with a vector and a "
            f"listed product {engagement} after it; try another --period, --engagement or --by"
        )
    write_sheet(sheet_of(found, drawn), path)
    return drawn


def sheet_of(searches: ShopSearches, drawn: dict[str, Drawn]) -> Sheet:
    """A row a search: what was searched, the nearest products, last the nearest that was bought, with its rank."""
    shop, gallery, engagement = searches.shop, searches.gallery, searches.engagement
    every = [found for each in drawn.values() for found in each.found]
    rows = np.concatenate([np.append(found.rows, found.best) for found in every])
    item_ids = gallery.frame["item_id"].to_numpy()
    ids = item_ids[np.unique(rows[rows >= 0])].tolist()
    asked = [found.search_id for found in every]
    titles = titles_of(shop, ids)
    pictures = pictures_of(shop.items, "item_id", "image", ids)
    photos = pictures_of(shop.searches, "search_id", "query_image", asked)
    texts = shop.searches.filter(pl.col("search_id").is_in(asked))
    words = dict(texts.select("search_id", "query_text").collect().iter_rows())
    own = OwnNames.of(shop.path, "search").own(pl.Series("search_id", asked, pl.Int64))
    names = dict(zip(asked, own.to_list(), strict=True))

    def product(row: int, head: str, is_bought: bool) -> Cell:
        item = int(item_ids[row])
        return Cell(pictures.get(item), head, titles.get(item), is_bought)

    def cells(found: Found) -> list[Cell]:
        search = found.search_id
        shown = [Cell(photos.get(search), f"search {names[search]}", words.get(search))]
        nearest = zip(found.rows.tolist(), found.similarities, strict=True)
        for place, (row, similarity) in enumerate(nearest, 1):
            is_bought = row in found.bought
            head = f"{place}  ·  {similarity:.2f}" + f"  {engagement}" * is_bought
            shown.append(product(row, head, is_bought) if row >= 0 else Cell())
        alike = f" ({found.tied:,} tie)" if found.tied > 1 else ""
        head = f"{engagement}: rank {found.rank:,}{alike}  ·  {found.similarity:.2f}"
        return [*shown, product(found.best, head, True)]

    parts = [
        Part(f"{name} searches: {each.how}", [cells(found) for found in each.found])
        for name, each in drawn.items()
    ]
    caption = (
        f"Each row: a search of the {searches.period} period; its nearest products by cosine (place and cosine under each) among all {len(gallery):,} listed by the "
        f"period's end that have a vector, the search's own picture taken out; last, the nearest product that its searcher {engagement} after it, with its "
        f"rank. Green frames: {engagement}. {provenance(shop)}"
    )
    return Sheet(f"What searches find: {shop.name}", parts, caption)


def _nearest(
    gallery: Gallery, cases: SearchCases, at: Sequence[int] | np.ndarray, neighbours: int
) -> dict[int, np.ndarray]:
    """Gallery rows `(neighbours,)` of each search, -1 beyond the gallery's end."""
    order = np.unique(np.asarray(at, dtype=np.int64))
    keys = [case * len(gallery) + row for case in order for row in cases.excluded[case]]
    ranked = top_rows(
        cases.queries,
        gallery.vectors,
        neighbours,
        searches=order,
        removed=np.unique(np.array(keys, dtype=np.int64)),
    )
    return dict(zip(order.tolist(), ranked, strict=True))


def _found(gallery: Gallery, cases: SearchCases, case: int, rows: np.ndarray) -> Found:
    every = np.arange(len(gallery))
    scores = exact_scores(cases.queries, gallery.vectors, np.full(len(gallery), case), every)
    scores[cases.excluded[case]] = -np.inf
    bought = cases.relevant[case]
    best = bought[int(np.argmax(scores[bought]))]
    is_tied = scores == scores[best]
    return Found(
        search_id=int(cases.search_ids[case]),
        rows=rows,
        similarities=np.where(rows >= 0, scores[rows], np.nan),
        bought=frozenset(bought),
        best=best,
        rank=1 + int((scores > scores[best]).sum() + is_tied[:best].sum()),
        tied=int(is_tied.sum()),
        similarity=float(scores[best]),
    )


def _chosen(
    gallery: Gallery,
    cases: dict[str, SearchCases],
    searches: Sequence[int],
    neighbours: int,
    where: str,
) -> dict[str, Drawn]:
    places = {
        int(search): (name, at)
        for name, each in cases.items()
        for at, search in enumerate(each.search_ids)
    }
    drawn: dict[str, list[int]] = {}
    for search in searches:
        if int(search) not in places:
            raise TableError(
                f"search {search} cannot be shown: it is none of the {', '.join(cases) or 'requested'} searches ({where}) with a vector and something to find"
            )
        name, at = places[int(search)]
        drawn.setdefault(name, []).append(at)
    return {
        name: Drawn(
            find(gallery, cases[name], drawn[name], neighbours),
            f"{len(drawn[name])} chosen by their id, of {len(cases[name]):,}",
        )
        for name in cases
        if name in drawn
    }
