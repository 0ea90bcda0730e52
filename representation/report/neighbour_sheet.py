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
from matplotlib.figure import Figure

from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import TableError
from moon_rec.palette import FAINT, GREEN, MUTED
from moon_rec.seeds import generator
from moon_rec.shop.engagement import Engagement
from moon_rec.shop.own_ids import OwnNames
from moon_rec.shop.shop import Period, Shop
from moon_rec.vector_pairs import check_pair
from representation.report.sheet_page import (
    Page,
    caption_height,
    pictures_of,
    provenance,
    save,
    titles_of,
)
from representation.search.exact import top_rows
from representation.sets.search_cases import (
    MODALITIES,
    Gallery,
    SearchCases,
    gallery_of,
    search_cases,
)

By = Literal["random", "hits", "misses"]
NEIGHBOURS = 10
WALKED_AT_ONCE = 256
RANKED_ROWS = 65_536
SIDE, GAP, MARGIN, TEXT = 1.16, 0.12, 0.2, 0.56
QUERY_SIDE = 1.16
ROW = SIDE + TEXT + 0.12
HEAD = 0.34


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
    """Write the PNG `path`, atomically: for each search its picture or words, the nearest products, and what was bought, framed, with its rank.

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
    check_pair(shop, items, queries)
    gallery = gallery_of(shop, items, period)
    cases = search_cases(shop, gallery, queries, period, engagement)
    cases = {name: found for name in modalities if len(found := cases[name].findable())}
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
    figure = sheet_figure(shop, gallery, drawn, period, engagement)
    save(figure, path)
    return drawn


def sheet_figure(
    shop: Shop,
    gallery: Gallery,
    drawn: dict[str, Drawn],
    period: Period,
    engagement: Engagement,
    above: float = 0.0,
) -> Figure:
    """The sheet as a figure, with `above` inches left free at its top."""
    neighbours = max(len(found.rows) for each in drawn.values() for found in each.found)
    width = 2 * MARGIN + QUERY_SIDE + 2 * GAP + (neighbours + 1) * (SIDE + GAP) + GAP
    caption = _caption(shop, gallery, drawn, period, engagement)
    inner = width - 2 * MARGIN
    foot = caption_height(caption, inner)
    rows = sum(len(each.found) for each in drawn.values())
    height = above + 0.1 + len(drawn) * HEAD + rows * ROW + foot
    figure = Figure(figsize=(width, height))
    page = Page(figure, above)
    contents = _Contents(shop, gallery, drawn)
    y = 0.1
    for name, each in drawn.items():
        page.rule(y)
        last = page.width - MARGIN - SIDE
        page.words(
            MARGIN, y + 0.07, f"{name} searches: {each.how}", last - 2 * MARGIN, 9, bold=True
        )
        page.words(last, y + 0.07, engagement, SIDE, 9, bold=True, color=GREEN)
        y += HEAD
        for found in each.found:
            _draw_row(page, contents, found, y, engagement)
            y += ROW
    if page.has_missing_letters:
        caption += " □ stands for a letter that no font here has."
    page.words(MARGIN, y + 0.05, caption, inner, 8, lines=12, color=MUTED)
    return figure


class _Contents:
    """Titles, pictures and words of all that a sheet shows, read in one pass each."""

    def __init__(self, shop: Shop, gallery: Gallery, drawn: dict[str, Drawn]) -> None:
        every = [found for each in drawn.values() for found in each.found]
        shown = np.concatenate([np.append(found.rows, found.best) for found in every])
        self.item_ids = gallery.frame["item_id"].to_numpy()
        ids = self.item_ids[np.unique(shown[shown >= 0])].tolist()
        searches = [found.search_id for found in every]
        self.titles = titles_of(shop, ids)
        self.pictures = pictures_of(shop.items, "item_id", "image", ids)
        self.photos = pictures_of(shop.searches, "search_id", "query_image", searches)
        words = shop.searches.filter(pl.col("search_id").is_in(searches))
        self.words = dict(words.select("search_id", "query_text").collect().iter_rows())
        own = OwnNames.of(shop.path, "search").own(pl.Series("search_id", searches, pl.Int64))
        self.names = dict(zip(searches, own.to_list(), strict=True))


def _draw_row(page: Page, contents: _Contents, found: Found, y: float, engagement: str) -> None:
    words = contents.words.get(found.search_id)
    photo = contents.photos.get(found.search_id)
    below = y + SIDE + 0.05
    if photo is not None:
        page.picture(MARGIN, y, QUERY_SIDE, photo, MUTED)
        page.words(MARGIN, below, words, QUERY_SIDE, 8, 2, bold=True)
    else:
        page.picture(MARGIN, y, QUERY_SIDE, None, MUTED)
        page.words(MARGIN + 0.06, y + 0.08, words, QUERY_SIDE - 0.12, 9.5, 6, bold=True)
    page.words(
        MARGIN,
        y + SIDE + 0.38,
        f"search {contents.names[found.search_id]}",
        QUERY_SIDE,
        6.5,
        color=MUTED,
    )
    x = MARGIN + QUERY_SIDE + 2 * GAP
    for place, (row, similarity) in enumerate(zip(found.rows, found.similarities, strict=True), 1):
        if row >= 0:
            head = f"{place}  ·  {similarity:.2f}"
            is_bought = int(row) in found.bought
            head += f"  {engagement}" * is_bought
            _draw_product(page, contents, int(row), x, y, head, is_bought)
        x += SIDE + GAP
    x += GAP
    alike = f" ({found.tied:,} tie)" if found.tied > 1 else ""
    head = f"rank {found.rank:,}{alike}  ·  {found.similarity:.2f}"
    _draw_product(page, contents, found.best, x, y, head, True)


def _draw_product(
    page: Page, contents: _Contents, row: int, x: float, y: float, head: str, is_bought: bool
) -> None:
    item = int(contents.item_ids[row])
    frame = (GREEN, 3.5) if is_bought else (FAINT, 0.8)
    page.picture(x, y, SIDE, contents.pictures.get(item), *frame)
    colour, below = GREEN if is_bought else MUTED, y + SIDE + 0.05
    below += page.words(x, below, head, SIDE, 7, bold=is_bought, color=colour)
    page.words(x, below, contents.titles.get(item), SIDE, 7, 3)


def _caption(
    shop: Shop,
    gallery: Gallery,
    drawn: dict[str, Drawn],
    period: Period,
    engagement: Engagement,
) -> str:
    return (
        f"Each row: a search of the {period} period; its nearest products by cosine (place and cosine under each) among all {len(gallery):,} listed by the "
        f"period's end that have a vector, the search's own picture taken out; last, the nearest product that its searcher {engagement} after it, with its "
        f"rank. Green frames: {engagement}. {provenance(shop)}"
    )


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
    query, bought = cases.queries[case].astype(np.float64), cases.relevant[case]
    removed = np.array(sorted(cases.excluded[case]), dtype=np.int64)
    wanted = _cosines(gallery.vectors[bought], query)
    at = int(np.argmax(wanted))
    best, similarity = bought[at], float(wanted[at])
    above = tied = 0
    for start in range(0, len(gallery), RANKED_ROWS):
        part = _cosines(gallery.vectors[start : start + RANKED_ROWS], query)
        part[removed[(removed >= start) & (removed < start + len(part))] - start] = -np.inf
        is_tied = part == similarity
        above += int((part > similarity).sum() + is_tied[: max(0, best - start)].sum())
        tied += int(is_tied.sum())
    similarities = np.full(len(rows), np.nan)
    similarities[rows >= 0] = _cosines(gallery.vectors[rows[rows >= 0]], query)
    return Found(
        search_id=int(cases.search_ids[case]),
        rows=rows,
        similarities=similarities,
        bought=frozenset(bought),
        best=best,
        rank=above + 1,
        tied=tied,
        similarity=similarity,
    )


def _cosines(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """As `search.exact` scores: products in float64, summed."""
    return (vectors.astype(np.float64) * query).sum(axis=1)


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
