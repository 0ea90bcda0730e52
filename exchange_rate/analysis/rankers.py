"""Rankers side by side, and compared with each other on the same rows."""

from collections.abc import Iterable

import numpy as np

from exchange_rate.analysis.cells import Cell, Cells
from exchange_rate.analysis.encoders import seed_means
from exchange_rate.analysis.quantities import nothing
from exchange_rate.analysis.results import BySegment, Comparison, Named, Number, Ranker, Rate
from exchange_rate.names import BASELINE, CONTENT, PERMUTED, REFERENCE, Role

PAIRS: tuple[tuple[Role, Role], ...] = (
    (CONTENT, BASELINE),
    (PERMUTED, BASELINE),
    (CONTENT, PERMUTED),
)
"""Role, and the role that it is compared with."""


def comparisons_of(cells: Cells) -> tuple[Comparison, ...]:
    """Of every ranker on the chosen encoder, and of the references with its baseline; the headline's first."""
    found = []
    for names in cells.rankers:
        for role, against in PAIRS:
            cell = cells.comparison(names["name"], role, against).get(cells.chosen)
            if cell is not None:
                found.append(_comparison(cells, cell, names[role], names[against]))
        for cell in cells.references(names["name"]):
            found.append(_comparison(cells, cell, cell.labels[REFERENCE], names[BASELINE]))
    return tuple(found)


def _comparison(cells: Cells, cell: Cell, name: str, against: str) -> Comparison:
    """What a cell found, of two rankers that are called so."""
    return Comparison(
        ranker=cell.labels["ranker"],
        role=cell.labels["role"],
        name=name,
        against_role=cell.labels["against"],
        against=against,
        encoder=cell.labels["encoder"] or "",
        auc=cell.by_segment("auc_b"),
        auc_against=cell.by_segment("auc_a"),
        gain=cell.by_segment("auc_gain"),
        by_segment=tuple(
            Named(name=one["name"], number=number)
            for one in cells.study.about.get("segments", ())
            if (number := cell.number(f"auc_gain{one['key']}")).value is not None
        ),
        share=cell.by_segment("share_of_the_way"),
        best=cell.by_segment("auc_best"),
    )


def rankers_of(
    cells: Cells, comparisons: Iterable[Comparison], rates: Iterable[Rate]
) -> tuple[Ranker, ...]:
    """One entry a ranker, the headline's first."""
    level = cells.study.about["level"]
    by_ranker = {one.ranker: one for one in rates if one.outcome == "auc"}
    gains = {
        one.ranker: one
        for one in comparisons
        if (one.role, one.against_role) == (CONTENT, BASELINE)
    }
    found = []
    for names in cells.rankers:
        name = names["name"]
        runs, rate, gain = cells.runs(name, CONTENT), by_ranker.get(name), gains.get(name)
        auc = seed_means(runs, "auc", "AUC on the chosen encoder", level).get(cells.chosen)
        found.append(
            Ranker(
                name=name,
                content=names[CONTENT],
                baseline=names[BASELINE],
                permuted=names[PERMUTED],
                differences=tuple(names["differences"]),
                auc_baseline=_baseline(cells, name, gain),
                auc=auc or nothing("AUC on the chosen encoder"),
                gain=BySegment() if gain is None else gain.gain,
                rate=nothing() if rate is None else rate.slope,
                verdict="" if rate is None else rate.verdict,
                num_runs=len(runs),
            )
        )
    return tuple(found)


def _baseline(cells: Cells, ranker: str, gain: Comparison | None) -> Number:
    """AUC of a ranker's baseline: as compared on the chosen encoder, else the mean of its runs."""
    if gain is not None and gain.auc_against.all is not None:
        return gain.auc_against.all
    runs = cells.runs(ranker, BASELINE)
    if runs.is_empty():
        return nothing("AUC of the baseline")
    words = f"AUC of the baseline, mean over {len(runs)} seeds, without an interval"
    value = float(np.mean(runs["auc"].to_numpy()))
    return Number(value=value, low=None, high=None, definition=words, source=f"n = {len(runs)} ranker runs")  # fmt: skip
