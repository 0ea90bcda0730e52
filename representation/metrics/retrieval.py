"""Retrieval: every query type against every item type, by `recall.search_recall`.

Notable choices:
- The gallery of a column is every product that has something of its kind to show; an answer that has not cannot be found there and is no answer there.
  Shown by both, every product has something: one without a vector, among vectors brought along, is an answer that is never found.
- Recall@k is hit recall, this project's search recall: the share of queries whose top k hold at least one answer. Queries that nothing answers are left out
  and counted. The other readings of `search_recall` stand beside it.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moon_rec.estimate import Estimate
from moon_rec.shares import mean_share
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.recall import search_recall
from representation.sets.benchmark_set import QUERY_TYPES, BenchmarkSet, QueryType
from representation.sets.contestant import (
    ITEM_TYPES,
    Contestant,
    ItemType,
    NotMeasured,
    Shown,
    Vectors,
)

READINGS = {
    "recall": "share of {queries} for which {top} hold an answer",
    "share_of_relevant": "mean over {queries} of the share of their answers that {top} hold",
    "precision": "mean over {queries} of the share of {top} that are answers",
    "capped_recall": "mean over {queries} of the answers that {top} hold, over the smaller of {k} and their number; it may fall as k grows",
}


@dataclass(frozen=True)
class Retrieved:
    """What queries of one type found among products shown one way.

    Attributes:
        readings: an estimate by name and k, recall first.
        num_left_out: queries of the type that are not counted: nothing answers them here, or they have no vector.
        num_items: products looked through.
        searches: `(queries,)` int64, rising, which queries of the set's table were counted.
        hits: `(queries, ks)` float64, in the order of each reading's k; between 0 and 1 where the cut falls inside a tie.
        users: `(queries,)` numbers of who asked; None where each query is independent.
    """

    readings: dict[str, dict[int, Estimate]]
    num_left_out: int
    num_items: int
    searches: np.ndarray
    hits: np.ndarray
    users: np.ndarray | None = None

    @property
    def recall(self) -> dict[int, Estimate]:
        """By k."""
        return self.readings["recall"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: each reading at each k."""
        figures = {
            f"{reading}@{k}": each.as_dict()
            for reading, by_k in self.readings.items()
            for k, each in by_k.items()
        }
        return {**figures, "num_left_out": self.num_left_out, "num_items": self.num_items}

    def hits_of(self, searches: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Of some of the queries counted: float64 `(searches,)`, whether each hit by k, and who asked."""
        at = np.searchsorted(self.searches, searches)
        users = None if self.users is None else self.users[at]
        return self.hits[at, list(self.recall).index(k)], users


Grid = dict[QueryType, dict[ItemType, Retrieved | NotMeasured]]


def retrieve_all(contestant: Contestant, bench: BenchmarkSet, config: BenchmarkConfig) -> Grid:
    """Every query type against every item type."""
    asked = {kind: _queries(contestant, bench, kind) for kind in QUERY_TYPES}
    grid: Grid = {kind: {} for kind in QUERY_TYPES}
    for shown in ITEM_TYPES:
        items = contestant.items(shown)
        for kind in QUERY_TYPES:
            grid[kind][shown] = retrieve(asked[kind], items, bench, kind, shown, config)
    return grid


def retrieve(
    queries: Vectors | NotMeasured,
    items: Vectors | NotMeasured,
    bench: BenchmarkSet,
    kind: QueryType,
    shown: Shown,
    config: BenchmarkConfig,
) -> Retrieved | NotMeasured:
    """Recall of queries over products; the first that is not there says why nothing is measured."""
    for vectors in (queries, items):
        if isinstance(vectors, NotMeasured):
            return vectors
    assert isinstance(queries, Vectors) and isinstance(items, Vectors)
    place = items.places(bench.gallery.height)
    excluded = bench.exclusions(kind)
    users = bench.users(kind, queries.rows)
    result = search_recall(
        queries.unit,
        items.unit,
        [placed(place, bench.relevant[kind][row]) for row in queries.rows],
        config.all_ks,
        num_missing=_num_missing(place, bench, kind, queries.rows) if shown == "both" else None,
        excluded=[placed(place, excluded[row]) for row in queries.rows],
        users=users,
        seed=config.seed,
    )
    if not result.count:
        return NotMeasured(f"no {kind} query has an answer among these products")
    num_all = bench.queries[kind].height + bench.left_out.get(kind, 0)
    left_out = num_all - result.count
    top = f"the top {{k}} of {len(items.rows):,} products, shown by {shown},"
    about = (
        f"queries: {bench.asked.get(kind, kind)};"
        f" {left_out:,} more left out, without a vector or an answer among these products"
    )
    readings = {
        name: {
            k: replace(
                found,
                definition=f"{words.format(queries=f'{result.count:,} queries', top=top.format(k=k), k=k)}; {about}",
            )
            for k, found in result.readings[name].items()
        }
        for name, words in READINGS.items()
    }
    return Retrieved(
        readings,
        left_out,
        len(items.rows),
        queries.rows[result.searches],
        result.hits,
        None if users is None else users[result.searches],
    )


def difference(one: Retrieved, other: Retrieved, k: int) -> Estimate | None:
    """Recall@k of `other` minus that of `one` over the queries that both counted, paired; None where there are none."""
    common = np.intersect1d(one.searches, other.searches)
    if not common.size:
        return None
    (before, users), (after, _) = one.hits_of(common, k), other.hits_of(common, k)
    definition = f"recall@{k} minus the first one's, over the same {len(common):,} queries"
    return mean_share(after - before, definition=definition, groups=users, bounds=(-1.0, 1.0))


def _queries(contestant: Contestant, bench: BenchmarkSet, kind: QueryType) -> Vectors | NotMeasured:
    if kind not in bench.queries:
        return NotMeasured(f"the set has no {kind} query that can be answered")
    return contestant.queries(kind)


def _num_missing(
    place: np.ndarray, bench: BenchmarkSet, kind: QueryType, rows: np.ndarray
) -> np.ndarray:
    """`(queries,)` answers that are not among the products with a vector."""
    excluded = bench.exclusions(kind)
    missing = [{*bench.relevant[kind][row]} - {*excluded[row]} for row in rows]
    return np.array([sum(place[answer] < 0 for answer in one) for one in missing], dtype=np.int64)


def placed(place: np.ndarray, rows: list[int]) -> np.ndarray:
    """Positions among the products shown; those that are not are dropped."""
    there = place[np.asarray(rows, dtype=np.int64)]
    return there[there >= 0]
