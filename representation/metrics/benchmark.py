"""One contestant through all tasks, and several compared."""

import time
from dataclasses import dataclass

from moon_rec.estimate import Estimate
from moon_rec.progress import say
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified, classify
from representation.metrics.collapse import Collapse, check_collapse
from representation.metrics.geometry import Geometry, measure_geometry
from representation.metrics.labels import label_tasks
from representation.metrics.related import RelatedGrid, measure_related
from representation.metrics.retrieval import Grid, Retrieved, difference, retrieve_all
from representation.sets.benchmark_set import BenchmarkSet, QueryType
from representation.sets.contestant import Contestant, ItemType, LabelledType, NotMeasured


@dataclass(frozen=True)
class Result:
    """What one contestant reached.

    Attributes:
        name, digest, made_by, dim: of the contestant.
        retrieval: by query type and item type.
        classification: by task and by the way products are shown.
        collapse: the check with text alone, pictures alone and both.
        geometry: lengths, alignment, uniformity, neighbours' categories.
        related: recall of substitutes and complements by product vectors, by relation.
        seconds: taken, encoding included where vectors were not at hand.
    """

    name: str
    digest: str
    made_by: str
    dim: int
    retrieval: Grid
    classification: dict[str, dict[LabelledType, Classified | NotMeasured]]
    collapse: Collapse
    geometry: Geometry
    related: RelatedGrid
    seconds: float


def measure(contestant: Contestant, bench: BenchmarkSet, config: BenchmarkConfig) -> Result:
    """Put one contestant through all tasks. `bench` is the sampled set, the same for all that are compared."""
    start = time.monotonic()
    grid = retrieve_all(contestant, bench, config)
    say(f"{contestant.name}: retrieval measured")
    classified = classify(contestant, label_tasks(bench, config), config)
    say(f"{contestant.name}: classification measured")
    collapse = check_collapse(contestant, bench, grid, classified, config)
    geometry = measure_geometry(contestant, bench, config)
    return Result(
        contestant.name,
        contestant.digest,
        contestant.made_by,
        contestant.dim,
        grid,
        classified,
        collapse,
        geometry,
        measure_related(contestant, bench, config),
        round(time.monotonic() - start, 1),
    )


def differences(
    results: list[Result], config: BenchmarkConfig
) -> list[dict[tuple[QueryType, ItemType], Estimate]]:
    """For each result, recall at the headline k minus the first result's, paired over queries; empty for the first."""
    gained: list[dict[tuple[QueryType, ItemType], Estimate]] = []
    for result in results:
        found = {}
        for query, cells in result.retrieval.items() if result is not results[0] else ():
            for item, cell in cells.items():
                first = results[0].retrieval[query][item]
                if isinstance(cell, Retrieved) and isinstance(first, Retrieved):
                    estimate = difference(first, cell, config.headline_k)
                    if estimate is not None:
                        found[query, item] = estimate
        gained.append(found)
    return gained
