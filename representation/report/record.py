"""Results as plain values: the JSON document, and metrics of MLflow runs."""

import re
from collections.abc import Sequence
from typing import Any

from moon_rec.estimate import Estimate
from moon_rec.files import digest_of
from moon_rec.tracking import Tracker
from representation.metrics.benchmark import Result, differences
from representation.metrics.benchmark_config import BenchmarkConfig
from representation.metrics.classification import Classified
from representation.metrics.related import RelatedFound
from representation.metrics.retrieval import Retrieved
from representation.sets.benchmark_set import BenchmarkSet


def whole_record(
    results: Sequence[Result], bench: BenchmarkSet, config: BenchmarkConfig
) -> dict[str, Any]:
    """Everything that was measured, and on what."""
    gained = differences(list(results), config)
    assert bench.labelled is not None
    return {
        "set": {
            "name": bench.name,
            "source": bench.source,
            "licence": bench.licence,
            "is_simulated": bench.is_simulated,
            "digest": bench.digest,
            "products": bench.gallery.height,
            "queries": {kind: frame.height for kind, frame in bench.queries.items()},
            "left_out": bench.left_out,
            "asked": bench.asked,
            "related": {
                name: {"products": len(one.rows), "asked": one.asked}
                for name, one in bench.related.items()
            },
            "labelled": len(bench.labelled),
            "labelled_are": bench.labelled_are,
        },
        "config": config.model_dump(mode="json"),
        "results": [record(one) for one in results],
        f"recall@{config.headline_k} minus the first": {
            one.name: {f"{query}->{item}": each.as_dict() for (query, item), each in found.items()}
            for one, found in zip(results, gained, strict=True)
            if found
        },
    }


def track(tracker: Tracker, result: Result, bench: BenchmarkSet, config: BenchmarkConfig) -> str:
    """Log a result as an MLflow run of kind `benchmark`; gives its id."""
    reads = {"encoder": result.digest, "set": bench.digest}
    about = {"name": result.name, "set": bench.name, "is_simulated": bench.is_simulated}
    params = {**about, **config.model_dump()}
    key = digest_of(["benchmark", reads, config.digest()])
    with tracker.run(f"benchmark {result.name}", "benchmark", params, reads, key) as tracked:
        tracked.log(flat_metrics(result))
        tracked.json(record(result), "benchmark.json")
    return tracked.id


def flat_metrics(result: Result) -> dict[str, float]:
    """Every figure by a flat name, for MLflow."""
    found: dict[str, float] = {}
    for query, cells in result.retrieval.items():
        for item, cell in cells.items():
            if isinstance(cell, Retrieved):
                found |= {
                    f"retrieval/{query}_to_{item}/{reading}@{k}": each.value
                    for reading, by_k in cell.readings.items()
                    for k, each in by_k.items()
                }
    for task, ways in result.classification.items():
        for shown, one in ways.items():
            if isinstance(one, Classified):
                place = f"classification/{_plain_name(task)}/{_plain_name(shown)}"
                found |= {f"{place}/{name}": each.value for name, each in one.figures.items()}
                found |= {f"{place}/majority": one.majority, f"{place}/chance": one.chance}
    found |= {
        f"collapse/share_of_{way}": each.value for way, each in result.collapse.shares.items()
    }
    for relation, one in result.related.items():
        if isinstance(one, RelatedFound):
            found |= {
                f"related/{relation}/recall@{k}": each.value for k, each in one.recall.items()
            }
            found |= {f"related/{relation}/chance@{k}": each for k, each in one.chance.items()}
    if (worth := result.collapse.worth) is not None:
        found["collapse/worth_of_the_right_picture"] = worth.value
    found |= {
        f"geometry/{name}": each.value
        for name, each in result.geometry.items()
        if isinstance(each, Estimate)
    }
    return found


def record(result: Result) -> dict[str, Any]:
    """A result as plain values for JSON."""
    collapse = result.collapse
    return {
        "name": result.name,
        "digest": result.digest,
        "made_by": result.made_by,
        "dim": result.dim,
        "seconds": result.seconds,
        "retrieval": {
            f"{query}->{item}": cell.as_dict()
            for query, cells in result.retrieval.items()
            for item, cell in cells.items()
        },
        "classification": {
            task: {shown: one.as_dict() for shown, one in ways.items()}
            for task, ways in result.classification.items()
        },
        "collapse": {
            "rows": {
                row.name: {way: each.as_dict() for way, each in row.values.items()}
                for row in collapse.rows
            },
            "shares": {way: each.as_dict() for way, each in collapse.shares.items()},
            "verdicts": collapse.verdicts,
            "verdict": collapse.verdict,
            "worth_of_the_right_picture": None
            if collapse.worth is None
            else collapse.worth.as_dict(),
        },
        "related": {name: one.as_dict() for name, one in result.related.items()},
        "geometry": {name: each.as_dict() for name, each in result.geometry.items()},
    }


def _plain_name(name: str) -> str:
    """What MLflow takes as part of a metric's name."""
    return re.sub(r"[^\w\-.:]", "_", name)
