"""How much of the shop each encoder's vectors cover: printed beside the rates, for encoders of unlike coverage are no fair comparison.

An encoder cell logs four plain metrics (`coverage_metrics`): items and searches of the shop, and those of them that have a vector.
"""

from collections.abc import Mapping
from typing import Any

from exchange_rate.evidence.records import Study
from moon_rec.vector_pairs import Coverage, Covered, told_unlike

_NAMES = {"items": ("items_with_vector", "items_listed"), "searches": ("searches_with_vector", "searches_made")}  # fmt: skip


def coverage_metrics(coverage: Coverage) -> dict[str, float]:
    """What an encoder cell logs."""
    found = {}
    for name, (with_vector, of) in _NAMES.items():
        one = getattr(coverage, name)
        if one is not None:
            found |= {with_vector: float(one.count), of: float(one.total)}
    return found


def study_coverage(study: Study) -> dict[str, Any]:
    """By encoder, and in a sentence that names those which differ; encoders measured before coverage was logged are left out."""
    found = {
        labels["encoder"]: coverage
        for labels, metrics in study.cells("encoder")
        if (coverage := _of_metrics(metrics)) is not None
    }
    encoders = {name: one.as_dict() for name, one in found.items()}
    text = told_unlike(found)
    if found and not text:
        one = str(next(iter(found.values()))).removeprefix("coverage: ")
        alike = "all encoders alike" if len(found) > 1 else next(iter(found))
        text = f"Coverage, {alike}: {one}."
    return {"encoders": encoders, "text": text or "Coverage was not logged."}


def _of_metrics(metrics: Mapping[str, float]) -> Coverage | None:
    found = {
        name: Covered(int(metrics[count]), int(metrics[total]))
        for name, (count, total) in _NAMES.items()
        if 0 <= metrics.get(count, -1.0) <= metrics.get(total, -1.0)
    }
    return Coverage(found["items"], found.get("searches")) if "items" in found else None
