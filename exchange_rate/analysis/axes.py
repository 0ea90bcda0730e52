"""What grows from encoder to encoder, or from ranker to ranker: the axes along which a law is asked for, and the points of each that are alike in all else.

Two kinds of groups. *Along* one training: its checkpoints (tokens) and its widths. *Across* trainings: the end of each, for a number of negatives or of tokens is that of a training
of its own. Encoders of a group are alike on every other axis; what no axis tells (losses, pairs, rates) may differ, and the page says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.encoders import seed_means
from exchange_rate.analysis.results import Encoder, Number
from exchange_rate.names import CONTENT

Axis = Literal["posttraining_tokens", "pretraining_tokens", "negatives", "width", "history_length"]
AXES: dict[Axis, str] = {
    "posttraining_tokens": "post-training tokens",
    "pretraining_tokens": "pretraining tokens",
    "negatives": "negatives",
    "width": "width of the vectors",
    "history_length": "length of histories",
}
"""Axis -> its name for people, in the order of the page."""
OF_ENCODERS: tuple[Axis, ...] = (
    "posttraining_tokens",
    "pretraining_tokens",
    "negatives",
    "width",
)
ALIKE = 1.1
"""Counts of tokens at most this factor apart are alike: trainings of equal steps read texts of unequal length."""
FEWEST_ALONG, FEWEST_ACROSS = 4, 3
"""Distinct values that a law is tried on; the longest training is tried whatever its number."""
HISTORY_SETTING = "features.history_length"
"""Of a tracked ranker run."""


@dataclass(frozen=True)
class Group:
    """Points that differ on one axis alone.

    Attributes:
        axis: which.
        path: the training that all belong to; empty where there are several.
        words: what the points are, in words.
        names, x: one entry a point, x rising.
        metric: the steering metric of each; empty of rankers, which have none.
        auc: of each.
    """

    axis: Axis
    path: str
    words: str
    names: tuple[str, ...]
    x: tuple[float, ...]
    metric: tuple[Number, ...]
    auc: tuple[Number, ...]


def groups_of(encoders: Sequence[Encoder], cells: Cells) -> tuple[Group, ...]:
    """All groups with enough points, by axis; those along a training before those across."""
    found: list[Group] = []
    for axis in OF_ENCODERS:
        found += _along(encoders, axis)
        found += _across(encoders, axis)
    return (*found, *_of_rankers(cells))


def value_of(encoder: Encoder, axis: Axis) -> float:
    """Where an encoder lies on an axis; 0 where it lies nowhere."""
    return float(getattr(encoder, axis, None) or 0.0)


def _along(encoders: Sequence[Encoder], axis: Axis) -> Iterator[Group]:
    paths: dict[str, list[Encoder]] = {}
    for one in encoders:
        if value_of(one, axis) > 0:
            paths.setdefault(one.path, []).append(one)
    longest = max(paths, key=lambda path: len(paths[path]), default=None)
    for path, own in paths.items():
        groups = _alike(own, axis)
        most = max(groups, key=len)
        for alike in groups:
            is_longest = path == longest and alike is most and axis == OF_ENCODERS[0]
            if is_longest or _num_distinct(alike, axis) >= FEWEST_ALONG:
                what = "widths" if axis == "width" else "checkpoints"
                yield _group(axis, path, f"{what} of “{path}”", alike)


def _across(encoders: Sequence[Encoder], axis: Axis) -> Iterator[Group]:
    """The ends of trainings: the encoder of the most tokens, of these the widest."""
    ends: dict[str, Encoder] = {}
    for one in encoders:
        before = ends.get(one.path)
        if value_of(one, axis) > 0 and (before is None or _reached(one) > _reached(before)):
            ends[one.path] = one
    for alike in _alike(ends.values(), axis):
        if _num_distinct(alike, axis) >= FEWEST_ACROSS:
            others = [f"{_short(value)} {AXES[other]}" for other in OF_ENCODERS if other != axis and (value := value_of(alike[0], other))]  # fmt: skip
            words = " and ".join(others)
            yield _group(axis, "", "ends of trainings" + (f" with {words}" if words else ""), alike)


def _reached(encoder: Encoder) -> tuple[float, float]:
    return encoder.training_tokens, encoder.width or 0.0


def _alike(encoders: Iterable[Encoder], axis: Axis) -> list[list[Encoder]]:
    """The encoders in groups that differ on this axis alone."""
    groups: list[list[Encoder]] = []
    for one in encoders:
        for group in groups:
            if all(_is_alike(one, group[0], other) for other in OF_ENCODERS if other != axis):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _is_alike(one: Encoder, other: Encoder, axis: Axis) -> bool:
    values = sorted((value_of(one, axis), value_of(other, axis)))
    factor = ALIKE if axis.endswith("tokens") else 1.0
    return values[1] <= factor * values[0]


def _num_distinct(encoders: Sequence[Encoder], axis: Axis) -> int:
    """Values that are told apart on an axis."""
    values = sorted(value_of(one, axis) for one in encoders)
    factor = ALIKE if axis.endswith("tokens") else 1.0
    count, last = 0, 0.0
    for value in values:
        if value > factor * last:
            count, last = count + 1, value
    return count


def _group(axis: Axis, path: str, words: str, encoders: Sequence[Encoder]) -> Group:
    ordered = sorted(encoders, key=lambda one: value_of(one, axis))
    return Group(
        axis,
        path,
        words,
        tuple(one.name for one in ordered),
        tuple(value_of(one, axis) for one in ordered),
        tuple(one.metric for one in ordered),
        tuple(one.auc for one in ordered),
    )


def _of_rankers(cells: Cells) -> Iterator[Group]:
    """Of each encoder the rankers that read it, by the length of the histories that they read."""
    level = cells.study.about["level"]
    points: dict[str, list[tuple[float, str, Number]]] = {}
    for names in cells.rankers:
        runs = cells.runs(names["name"], CONTENT)
        if runs.is_empty():
            continue
        length = _history_length(cells.study.runs[runs["run"][0]])
        if length:
            auc = seed_means(runs, "auc", f"AUC of {names[CONTENT]}", level)
            for encoder, number in auc.items():
                points.setdefault(encoder, []).append((length, names["name"], number))
    for encoder, found in points.items():
        found.sort(key=lambda one: one[0])
        if len({x for x, _, _ in found}) >= FEWEST_ACROSS:
            x, names, auc = zip(*found, strict=True)
            yield Group("history_length", "", f"rankers on “{encoder}”", names, x, (), auc)


def _history_length(run: Mapping) -> float:
    """What a ranker's run says of it; 0 where it says nothing."""
    try:
        length = float(run.get("params", {}).get(HISTORY_SETTING, 0))
    except ValueError:
        return 0.0
    return length if np.isfinite(length) and length > 0 else 0.0


def _short(value: float) -> str:
    return f"{value:,.0f}"
