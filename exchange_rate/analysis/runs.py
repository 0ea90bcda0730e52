"""The tracked runs of a study, with the pages that a tracking server has of them."""

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.quantities import finite
from exchange_rate.analysis.results import Run


def runs_of(cells: Cells) -> tuple[Run, ...]:
    """One entry a cell that counts, in the plan's order within its kind."""
    runs = cells.study.runs
    return tuple(
        Run(
            kind=cell.kind,
            name=cell.name,
            encoder=cell.labels.get("encoder"),
            ranker=cell.labels.get("ranker"),
            role=cell.labels.get("role"),
            seed=cell.labels.get("seed"),
            id=cell.run,
            auc=finite(cell.metrics.get("auc")),
            link=runs[cell.run].get("link"),
        )
        for cell in cells
    )
