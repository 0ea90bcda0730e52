"""The tracked runs of a study, with the pages that a tracking server has of them."""

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.quantities import finite
from exchange_rate.analysis.results import Run


def runs_of(cells: Cells, tracking: str) -> tuple[Run, ...]:
    """One entry a cell that counts, in the plan's order within its kind.

    Args:
        tracking: address of the store, as it may be shown; only a server has pages.
    """
    runs = cells.study.runs
    server = tracking.rstrip("/") if tracking.lower().startswith(("http://", "https://")) else ""
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
            link=f"{server}/#/{page}" if server and (page := runs[cell.run].get("page")) else None,
        )
        for cell in cells
    )
