"""Pairs of encoders that contradict a metric, each with the search for which they find the most unlike products (`exchange_rate.evidence.neighbour_file`)."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.results import Disagreement, Neighbour, Retrieved
from exchange_rate.evidence.neighbour_file import StudyNeighbours

MOST_PAIRS = 4
"""Shown with what they find: 44 pictures of about two kilobytes."""
NONE_KEPT = "What encoders find was not kept with this study; run it again with python -m exchange_rate.study, and the nearest neighbours of these pairs stand here."
NO_POINTS = "A table of points does not say what encoders find; a study keeps it."


def with_retrieved(
    pairs: Sequence[Disagreement], cells: Cells, neighbours: StudyNeighbours | None
) -> tuple[tuple[Disagreement, ...], str]:
    """The pairs, the first of them with what they find, and why there is nothing where there is nothing; empty where there is no pair."""
    if not pairs:
        return (), ""
    if neighbours is None:
        return tuple(pairs), NONE_KEPT if cells.study.about["shop"] else NO_POINTS
    keys = {
        cell["labels"]["encoder"]: cell["key"]
        for cell in cells.study.about["cells"]
        if cell["kind"] == "encoder"
    }
    found, shown = [], 0
    for pair in pairs:
        names = (pair.better_by_metric, pair.better_by_auc)
        told = (
            None if shown == MOST_PAIRS else _retrieved(neighbours, *(keys[one] for one in names))
        )
        shown += told is not None
        found.append(pair.model_copy(update={"retrieved": told}))
    return tuple(
        found
    ), "" if shown else "These encoders have no search in common that both were asked."


def _retrieved(neighbours: StudyNeighbours, one: str, other: str) -> Retrieved | None:
    """The search of both whose products differ most: the fewest in common, then one of the two finding what was engaged with."""
    first, second = neighbours.of(one), neighbours.of(other)
    common = [search for search in first if search in second]
    if not common:
        return None

    def difference(search: int) -> tuple[int, bool, int]:
        engaged = [
            any(row["is_engaged"] for row in rows) for rows in (first[search], second[search])
        ]
        return _num_shared(first[search], second[search]), engaged[0] == engaged[1], search

    chosen = min(common, key=difference)
    search = first[chosen][0]
    return Retrieved(
        modality=search["modality"],
        search=search["text"],
        picture=_url(neighbours.picture(search)),
        by_metric=tuple(_neighbour(neighbours, row) for row in first[chosen][1:]),
        by_auc=tuple(_neighbour(neighbours, row) for row in second[chosen][1:]),
        num_shared=_num_shared(first[chosen], second[chosen]),
        num_searches=len(common),
    )


def _num_shared(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> int:
    return len({row["item_id"] for row in one[1:]} & {row["item_id"] for row in other[1:]})


def _neighbour(neighbours: StudyNeighbours, row: Mapping[str, Any]) -> Neighbour:
    return Neighbour(
        name=row["text"],
        picture=_url(neighbours.picture(row)),
        similarity=row["similarity"],
        is_engaged=row["is_engaged"],
    )


def _url(picture: bytes | None) -> str:
    return "" if picture is None else f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
