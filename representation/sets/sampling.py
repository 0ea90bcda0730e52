"""A smaller set of the same kind, drawn by a seed: fewer queries, fewer products to classify, and, for a slow encoder, a smaller gallery.

A smaller gallery keeps every answer of the queries drawn, what is taken out of their rankings, and the products to classify; others are drawn to fill it. Recall
over it is higher than over the whole, so its size stands with every figure. Labels are then those of the products kept.
"""

from dataclasses import replace

import numpy as np

from moon_rec.files import digest_of
from moon_rec.seeds import generator
from representation.sets.benchmark_set import BenchmarkSet, QueryType, Rows


def sample(
    bench: BenchmarkSet,
    num_queries: int | None = None,
    num_labelled: int | None = None,
    num_products: int | None = None,
    seed: int = 0,
) -> BenchmarkSet:
    """At most so many queries of each type that have an answer, labelled rows and products; None: all."""
    queries, left_out = dict(bench.queries), dict(bench.left_out)
    relevant: dict[QueryType, Rows] = {}
    excluded: dict[QueryType, Rows] = {}
    for kind, frame in bench.queries.items():
        answered = np.flatnonzero([len(rows) > 0 for rows in bench.relevant[kind]])
        left_out[kind] = left_out.get(kind, 0) + frame.height - len(answered)
        kept = _drawn(answered, num_queries, seed, kind)
        removed = bench.exclusions(kind)
        queries[kind] = frame[kept]
        relevant[kind] = [bench.relevant[kind][row] for row in kept]
        excluded[kind] = [removed[row] for row in kept]
    assert bench.labelled is not None
    related = {
        name: one.some(_drawn(np.arange(len(one.rows)), num_queries, seed, name))
        for name, one in bench.related.items()
    }
    smaller = replace(
        bench,
        related=related,
        queries=queries,
        relevant=relevant,
        excluded=excluded,
        left_out=left_out,
        labelled=_drawn(bench.labelled, num_labelled, seed, "labels"),
        digest=digest_of([bench.digest, num_queries, num_labelled, num_products, seed]),
    )
    return smaller if num_products is None else _cut(smaller, num_products, seed)


def _cut(bench: BenchmarkSet, num_products: int, seed: int) -> BenchmarkSet:
    """The set over fewer products, rows renumbered."""
    assert bench.labelled is not None
    named = [
        row
        for answers in (bench.relevant, bench.excluded)
        for rows in answers.values()
        for some in rows
        for row in some
    ]
    for one in bench.related.values():
        named += [*one.rows, *(row for rows in (*one.answers, *one.excluded) for row in rows)]
    needed = np.union1d(np.array(named, np.int64), bench.labelled)
    others = np.setdiff1d(np.arange(bench.gallery.height), needed)
    kept = np.union1d(needed, _drawn(others, max(0, num_products - len(needed)), seed, "products"))
    if len(kept) == bench.gallery.height:
        return bench
    place = np.full(bench.gallery.height, -1)
    place[kept] = np.arange(len(kept))

    def moved(answers: dict[QueryType, Rows]) -> dict[QueryType, Rows]:
        return {kind: [place[rows].tolist() for rows in every] for kind, every in answers.items()}

    source = f"{bench.source}; gallery cut to {len(kept):,} of {bench.gallery.height:,} products, every answer kept"
    return replace(
        bench,
        source=source,
        gallery=bench.gallery[kept],
        relevant=moved(bench.relevant),
        excluded=moved(bench.excluded),
        related={name: one.moved(place) for name, one in bench.related.items()},
        labelled=place[bench.labelled],
    )


def _drawn(rows: np.ndarray, most: int | None, seed: int, name: str) -> np.ndarray:
    """At most so many of the rows, in their order."""
    if most is None or len(rows) <= most:
        return rows
    return np.sort(generator(seed, "benchmark", name).permutation(rows)[:most])
