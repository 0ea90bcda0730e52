"""Scaling laws of a study: how the steering metric and AUC grow along every axis that its encoders, or its rankers, have (`exchange_rate.analysis.axes`)."""

from collections.abc import Sequence

import numpy as np

from exchange_rate.analysis.axes import AXES, Group, groups_of
from exchange_rate.analysis.cells import Cells
from exchange_rate.analysis.quantities import finite, number
from exchange_rate.analysis.results import (
    Encoder,
    Form,
    HeldOut,
    Law,
    LawPoint,
    Line,
    Named,
    Number,
)
from exchange_rate.laws.analysis import analyse_law
from exchange_rate.laws.results import FormFit, LawResult
from moon_rec.errors import StudyError

FORM = "power"
LINE_POINTS = 60
ROOM = 2.0
"""A band ends so many times the spread of the points beyond them: where it is infinite, too."""


def laws_of(
    encoders: Sequence[Encoder], cells: Cells, steering: str, level: float
) -> tuple[Law, ...]:
    """Of the steering metric and of AUC, of every group of points that differ on one axis; of rankers of AUC alone. Empty where nothing grows."""
    found = []
    for group in groups_of(encoders, cells):
        if group.metric:
            found.append(_law(steering, group, group.metric, level))
        found.append(_law("auc", group, group.auc, level))
    return tuple(found)


def _law(name: str, group: Group, values: Sequence[Number], level: float) -> Law:
    points = tuple(
        LawPoint(name=one, x=x, y=y.value, low=y.low, high=y.high)
        for one, x, y in zip(group.names, group.x, values, strict=True)
        if y.value is not None
    )
    x, y = [one.x for one in points], [one.y for one in points]
    about = {"name": name, "axis": AXES[group.axis], "along": group.words, "path": group.path, "points": points}  # fmt: skip
    try:
        law = analyse_law(x, y, FORM, level=level, average_repeats=True)
    except StudyError as error:  # none of them has the figure
        reason = str(error)
        return Law(
            **about,
            form="none",
            verdict="not identified",
            reason=reason,
            sentence=f"No law: {reason}.",
            parameters=(),
            forms=(),
            line=None,
        )
    return Law(
        **about,
        form=law.text,
        verdict=law.verdict,
        reason=law.reason,
        sentence=law.sentence,
        parameters=_parameters(law) if law.stands else (),
        forms=tuple(_form(one) for one in law.forms),
        line=_line(law, x, y),
    )


def _line(law: LawResult, x: Sequence[float], y: Sequence[float]) -> Line | None:
    """The law between the smallest and the largest point, with its band; None where it does not stand."""
    if not law.stands or law.law is None:
        return None
    grid = np.geomspace(min(x), max(x), LINE_POINTS)
    room = ROOM * max(float(np.ptp(y)), 1e-12)
    ends = (min(y) - room, max(y) + room)
    value = law.law.predict(grid)
    low, high = law.law.band(grid)
    low = np.clip(np.nan_to_num(low, nan=ends[0], neginf=ends[0]), *ends)
    high = np.clip(np.nan_to_num(high, nan=ends[1], posinf=ends[1]), *ends)
    return Line(x=tuple(grid), value=tuple(value), low=tuple(low), high=tuple(high))


def _parameters(law: LawResult) -> tuple[Named, ...]:
    source = f"{law.num_points} points"
    return tuple(
        Named(
            name=name,
            number=number(value, *law.intervals[name], f"{name} of {law.text}", source),
        )
        for name, value in law.parameters.items()
    )


def _form(one: FormFit) -> Form:
    return Form(
        form=one.form,
        text=one.text,
        verdict=one.verdict,
        weight=finite(one.weight),
        held_out=tuple(
            HeldOut(
                x=point.x,
                observed=point.observed,
                predicted=point.predicted,
                low=finite(point.low),
                high=finite(point.high),
            )
            for point in one.held_out
            if np.isfinite(point.predicted)
        ),
        held_out_error=finite(one.held_out_error),
    )
