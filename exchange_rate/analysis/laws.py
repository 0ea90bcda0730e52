"""Scaling laws along the trainings of a study: how the steering metric and AUC grow with post-training tokens."""

from collections.abc import Sequence

from exchange_rate.analysis.quantities import finite, number
from exchange_rate.analysis.results import (
    Encoder,
    Form,
    HeldOut,
    Law,
    LawPoint,
    Named,
    Number,
)
from exchange_rate.laws.analysis import analyse_law
from exchange_rate.laws.results import FormFit, LawResult
from moon_rec.errors import StudyError

TOKENS = "post-training tokens"
FORM = "power"
FEWEST = 4
"""Checkpoints of a path that a law is tried on; the longest path is tried whatever its number."""


def laws_of(encoders: Sequence[Encoder], steering: str, level: float) -> tuple[Law, ...]:
    """Of the steering metric and of AUC, along every training with enough checkpoints; empty where nothing was post-trained."""
    paths: dict[str, list[Encoder]] = {}
    for one in encoders:
        if one.posttraining_tokens > 0:
            paths.setdefault(one.path, []).append(one)
    longest = max(paths, key=lambda path: len(paths[path]), default=None)
    found = []
    for path, own in paths.items():
        if path != longest and len(own) < FEWEST:
            continue
        found.append(_law(steering, path, own, [one.metric for one in own], level))
        found.append(_law("auc", path, own, [one.auc for one in own], level))
    return tuple(found)


def _law(
    name: str, path: str, encoders: Sequence[Encoder], values: Sequence[Number], level: float
) -> Law:
    points = tuple(
        LawPoint(name=one.name, x=one.posttraining_tokens, y=y.value, low=y.low, high=y.high)
        for one, y in zip(encoders, values, strict=True)
        if y.value is not None
    )
    try:
        law = analyse_law([one.x for one in points], [one.y for one in points], FORM, level=level)
    except StudyError as error:  # no checkpoint has the figure
        reason = str(error)
        return Law(
            name=name,
            axis=TOKENS,
            path=path,
            form="none",
            verdict="not identified",
            reason=reason,
            sentence=f"No law: {reason}.",
            parameters=(),
            points=points,
            forms=(),
            line=None,
        )
    return Law(
        name=name,
        axis=TOKENS,
        path=path,
        form=law.text,
        verdict=law.verdict,
        reason=law.reason,
        sentence=law.sentence,
        parameters=_parameters(law) if law.stands else (),
        points=points,
        forms=tuple(_form(one) for one in law.forms),
        line=None,
    )


def _parameters(law: LawResult) -> tuple[Named, ...]:
    source = f"{law.num_points} checkpoints"
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
        ),
        held_out_error=finite(one.held_out_error),
    )
