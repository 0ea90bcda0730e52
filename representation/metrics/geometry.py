"""How vectors lie: their lengths, how near answers are to queries, how evenly products are spread, whether neighbours are of one category or one SPU."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from moon_rec.bootstrap import bootstrap_mean
from moon_rec.estimate import Estimate
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.neighbours import (
    alignment,
    category_accuracy,
    same_spu_recall,
    uniformity,
)
from representation.metrics.retrieval import placed
from representation.sets.benchmark_set import BenchmarkSet, QueryType
from representation.sets.contestant import ITEM_TYPES, Contestant, ItemType, NotMeasured, Vectors

Geometry = dict[str, Estimate | NotMeasured]


def measure_geometry(
    contestant: Contestant, bench: BenchmarkSet, config: BenchmarkConfig
) -> Geometry:
    """By name: `norm` (raw, of products), `norm_variation`, `alignment_<query type>`, `uniformity_<item type>`, `category_accuracy_<item type>`,
    `same_spu_recall_<item type>@k`.

    Norm and alignment are of products shown by both, or where that is not measured by picture, or by text; uniformity and category accuracy are of each. Category
    accuracy by `text` and `both` reads the category among the texts.
    """
    items = {kind: contestant.items(kind) for kind in ITEM_TYPES}
    fullest: ItemType = "both"
    for kind in ITEM_TYPES:  # the one that shows most is the last
        if isinstance(items[kind], Vectors):
            fullest = kind
    found: Geometry = {"norm": _of(items[fullest], lambda vectors: _norm(vectors, config))}
    for kind in bench.queries:
        queries = contestant.queries(kind)
        found[f"alignment_{kind}"] = _alignment(queries, items[fullest], bench, kind, fullest)
    categories = bench.gallery["category"].fill_null("").to_numpy()
    spus, k, seed = bench.gallery["spu_id"], config.headline_k, config.seed
    of_items: dict[str, Callable[[Vectors], Estimate]] = {
        "uniformity": lambda one: uniformity(one.unit, seed).estimate,
        "category_accuracy": lambda one: _categories(one, categories, seed),
    }
    for name, measure in of_items.items():
        found |= {f"{name}_{kind}": _of(vectors, measure) for kind, vectors in items.items()}
    no_spus = NotMeasured("the set has no SPUs, or not for every product")
    for kind, vectors in items.items():
        siblings = no_spus if spus.null_count() else vectors
        found[f"same_spu_recall_{kind}@{k}"] = _of(
            siblings,
            lambda one: same_spu_recall(one.unit, spus.to_numpy()[one.rows], (k,), seed)[0][k],
        )
    return found


def _of(
    vectors: Vectors | NotMeasured, measure: Callable[[Vectors], Estimate]
) -> Estimate | NotMeasured:
    if isinstance(vectors, NotMeasured):
        return vectors
    estimate = measure(vectors)
    return estimate if estimate.count else NotMeasured("too few products that it is defined for")


def _norm(vectors: Vectors, config: BenchmarkConfig) -> Estimate:
    spread = f"from {vectors.norms.min():.4g} to {vectors.norms.max():.4g}, standard deviation {vectors.norms.std():.3g}"
    definition = f"mean length of a product's vector as it was given, {spread}; all measures are of unit vectors"
    return bootstrap_mean(vectors.norms, config.seed, config.num_resamples, definition=definition)


def _categories(vectors: Vectors, categories: np.ndarray, seed: int) -> Estimate:
    codes = np.unique(categories[vectors.rows], return_inverse=True)[1]
    if codes.max(initial=0) == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, "one category alone")
    return category_accuracy(vectors.unit, codes, seed).estimate


def _alignment(
    queries: Vectors | NotMeasured,
    items: Vectors | NotMeasured,
    bench: BenchmarkSet,
    kind: QueryType,
    shown: ItemType,
) -> Estimate | NotMeasured:
    for vectors in (queries, items):
        if isinstance(vectors, NotMeasured):
            return vectors
    assert isinstance(queries, Vectors) and isinstance(items, Vectors)
    place = items.places(bench.gallery.height)
    relevant = [placed(place, bench.relevant[kind][row]) for row in queries.rows]
    kept = [at for at, rows in enumerate(relevant) if len(rows)]
    if not kept:
        return NotMeasured(f"no {kind} query has an answer with a vector")
    users = bench.users(kind, queries.rows[kept])
    found = alignment(queries.unit[kept], items.unit, [relevant[at] for at in kept], users).estimate
    return replace(found, definition=f"{found.definition}; products shown by {shown}")
