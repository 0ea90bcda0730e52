"""Recall of related products: does a product's vector lie near its substitutes, and near what goes with it?

For each product asked about, all others are ranked by the cosine of product vectors (shown by both, or by the one modality that the contestant reads); recall@k is the share of them whose top k hold at
least one product that it is related to, its interval that of any share. Notable choices:
- **Chance** stands beside each figure: what a random order finds. With m of n products related and none of them ranked first by design, a top k misses all with probability
  C(n - m, k) / C(n, k) (hypergeometric); the mean over the products asked about.
- An encoder of likeness is right to find substitutes and no complements: the two are told apart, not added.
- Products asked about are counted as independent; one that is related to many is in several answers.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from moon_rec.estimate import Estimate
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.recall import search_recall
from representation.metrics.retrieval import placed
from representation.sets.benchmark_set import BenchmarkSet
from representation.sets.contestant import Contestant, NotMeasured, Vectors
from representation.sets.relations import Related, Relation


@dataclass(frozen=True)
class RelatedFound:
    """What product vectors find of one relation.

    Attributes:
        recall, chance: by k.
        shown: how products are shown.
    """

    recall: dict[int, Estimate]
    chance: dict[int, float]
    shown: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {f"recall@{k}": one.as_dict() for k, one in self.recall.items()}
        return {**found, **{f"chance@{k}": one for k, one in self.chance.items()}, "shown": self.shown}  # fmt: skip


RelatedGrid = dict[Relation, RelatedFound | NotMeasured]


def measure_related(
    contestant: Contestant, bench: BenchmarkSet, config: BenchmarkConfig
) -> RelatedGrid:
    """Every relation of the set."""
    vectors: Vectors | NotMeasured = NotMeasured("no pairs")
    shown = "both"
    for shown in ("both", "text", "image") if bench.related else ():
        vectors = contestant.items(shown)
        if isinstance(vectors, Vectors):
            break
    if isinstance(vectors, NotMeasured):
        return {name: vectors for name in bench.related}
    return {
        name: _of_relation(vectors, one, bench.gallery.height, shown, config)
        for name, one in bench.related.items()
    }


def _of_relation(
    vectors: Vectors, pairs: Related, num_rows: int, shown: str, config: BenchmarkConfig
) -> RelatedFound | NotMeasured:
    place = vectors.places(num_rows)
    asked = [at for at, row in enumerate(pairs.rows) if place[row] >= 0]
    relevant = [placed(place, pairs.answers[at]) for at in asked]
    excluded = [placed(place, pairs.excluded[at]) for at in asked]
    missing = np.array([len(pairs.answers[at]) for at in asked]) - [*map(len, relevant)]
    queries = vectors.unit[place[[pairs.rows[at] for at in asked]]] if asked else vectors.unit[:0]
    found = search_recall(
        queries, vectors.unit, relevant, config.all_ks, num_missing=missing, excluded=excluded
    )
    if not found.count:
        return NotMeasured("no product with a vector is related to one")
    about = f"{pairs.asked}; the top {{k}} of {len(vectors.unit):,} products by the cosine of their vectors, shown by {shown}"
    recall = {
        k: replace(one, definition=f"recall@{k} of {found.count:,} {about.format(k=k)}")
        for k, one in found.hit.items()
    }
    left = [len(vectors.unit) - len(excluded[at]) for at in found.searches]
    counts = [len(relevant[at]) for at in found.searches]
    chance = {
        k: float(np.mean([chance_of_a_hit(n, m, k) for n, m in zip(left, counts, strict=True)]))
        for k in recall
    }
    return RelatedFound(recall, chance, shown)


def chance_of_a_hit(num_items: int, num_related: int, k: int) -> float:
    """Probability that the top k of a random order of `num_items` hold one of `num_related` of them."""
    k = min(k, num_items)
    if num_items - num_related < k:
        return 1.0

    def choices(count: int) -> float:
        return math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)

    return 1 - math.exp(choices(num_items - num_related) - choices(num_items))
