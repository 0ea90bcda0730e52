"""What moved against an older report: `--against OLD`, a report's folder, its `report.json`, or the run id of another study in the same store."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from exchange_rate.analysis.results import (
    FORMAT_VERSION,
    Move,
    Moved,
    Number,
    Rate,
    Results,
)
from exchange_rate.analysis.study_analysis import analyse
from exchange_rate.analysis.words import counted, listed, with_interval, words
from exchange_rate.evidence.draws import read_draws
from exchange_rate.evidence.records import read_study
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.files import read_json
from moon_rec.tracking import Tracker

DATA = "report.json"
TEN = 0.1
SAME = 1e-9
"""Numbers that differ by less are the same."""


@dataclass(frozen=True)
class Older:
    """An older report, and what it is called."""

    name: str
    results: Results


def read_older(named: str, tracker: Tracker | None) -> Older:
    """The report that `--against` names.

    Args:
        tracker: the store in which a study of that run id may be; None where there is none.

    Raises:
        StudyError: neither a report nor such a study, or a report of another format, or one that was damaged; in one line.
    """
    path = Path(named)
    file = path / DATA if path.is_dir() else path
    if file.is_file():
        return Older(named, _results(read_json(file), file))
    if path.exists():
        raise StudyError(
            f"--against {named}: there is no {DATA} in it; name the folder of a report"
        )
    if tracker is None:
        raise StudyError(
            f"--against {named}: no file or folder there; name a report's folder or its {DATA}"
        )
    try:
        study = read_study(tracker, named)
    except MoonRecError as error:
        raise StudyError(
            f"--against {named}: no report there, and {error}; name a report's folder, its {DATA}, or a study's run id"
        ) from None
    store = (tracker.uri, tracker.experiment)
    return Older(f"study {named}", analyse(study, draws=read_draws(tracker, study), tracking=store))


def _results(value: Any, file: Path) -> Results:
    mend = "write that report again with python -m exchange_rate.report"
    version = value.get("format_version", "none") if isinstance(value, dict) else "none"
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise StudyError(
            f"{file} has format_version {str(version)[:20]}, wanted {FORMAT_VERSION}: {mend}"
        )
    try:
        return Results.model_validate(value)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        shown = repr(first["input"])[:60]
        raise StudyError(
            f"{file} is not as its schema says, {place}: {first['msg']}, not {shown}; {mend}"
        ) from None


def moved(older: Older, new: Results) -> Moved:
    """Headline, verdicts, and each encoder's metric and AUC, then and now."""
    old = older.results
    same_metric = old.about.steering_metric == new.about.steering_metric
    shops = [one.about.shop.digest if one.about.shop else None for one in (old, new)]
    definitions = tuple(_definitions(old, new))
    headline = (*_rates(old, new, same_metric), _choice(old, new))
    encoders = tuple(_encoders(old, new, same_metric))
    return Moved(
        name=older.name,
        text=_text(old, new, headline[0], encoders, bool(definitions)),
        is_same_shop=shops[0] == shops[1],
        definitions=definitions,
        headline=headline,
        encoders=encoders,
    )


def _definitions(old: Results, new: Results) -> Iterator[str]:
    """What is defined otherwise than then: of these, numbers do not compare."""
    shops = [one.about.shop.digest if one.about.shop else "no shop" for one in (old, new)]
    settings = [
        ("the shop", *shops),
        ("the steering metric", words(old.about.steering_metric), words(new.about.steering_metric)),
        ("the period", old.about.period, new.about.period),
        ("the label", old.about.label, new.about.label),
        ("what makes a product relevant", old.about.engagement, new.about.engagement),
        ("the ranker", old.ranker.content, new.ranker.content),
        ("the baseline", old.ranker.baseline, new.ranker.baseline),
        ("the width of vectors", old.about.width, new.about.width),
        ("coverage of intervals", old.about.level, new.about.level),
        ("what the rate is of", old.rate.name, new.rate.name),
    ]
    for what, before, now in settings:
        if before != now:
            yield f"Another {what.removeprefix('the ')} than then ({_or_none(before)}, now {_or_none(now)}): numbers that rest on it do not compare."
    before = {one.term: one.text for one in old.definitions}
    for one in new.definitions:
        if one.term in before and before[one.term] != one.text and one.term != "periods":
            yield f"{one.term} was defined otherwise: then “{before[one.term]}”, now “{one.text}”."


def _or_none(value: object) -> str:
    return "none" if value in (None, "") else str(value)


def _rates(old: Results, new: Results, same_metric: bool) -> Iterator[Move]:
    """The headline's rate first, whatever it is of; then those of equal ranker and outcome."""
    then = {(one.ranker, one.outcome): one for one in old.rates}
    metric = words(new.about.steering_metric)
    for place, rate in enumerate(new.rates):
        before = old.rates[0] if place == 0 else then.get((rate.ranker, rate.outcome))
        what = f"{rate.name} of {rate.ranker}, points for ten points of {metric}"
        yield _move(what, before, rate, same_metric)
        if (
            place == 0
            and before is not None
            and before.shape is not None
            and rate.shape is not None
        ):
            yield Move(
                what=f"the next ten points of {metric} at the best encoder",
                old=_scaled(before.shape.next_point),
                new=_scaled(rate.shape.next_point),
                text=_compared(before.shape.next_point, rate.shape.next_point),
            )


def _move(what: str, before: Rate | None, rate: Rate, same_metric: bool) -> Move:
    if before is None:
        return Move(what=what, old=None, new=_scaled(rate.slope), new_verdict=rate.verdict, text="was not there")  # fmt: skip
    text = _compared(before.slope, rate.slope)
    if not same_metric or before.outcome != rate.outcome:
        text = "of another metric or outcome: the two do not compare"
    elif before.verdict != rate.verdict:
        text += f"; the verdict was {before.verdict}"
    return Move(
        what=what,
        old=_scaled(before.slope),
        new=_scaled(rate.slope),
        old_verdict=before.verdict,
        new_verdict=rate.verdict,
        text=text,
    )


def _choice(old: Results, new: Results) -> Move:
    then, now = (one.choice.metric for one in (old, new))
    return Move(
        what="the metric to trust",
        old=None,
        new=None,
        old_verdict="none" if then is None else words(then),
        new_verdict="none" if now is None else words(now),
        text="the same" if then == now else "another",
    )


def _encoders(old: Results, new: Results, same_metric: bool) -> Iterator[Move]:
    """Metric and AUC of encoders that are in one of them, where they differ."""
    then, now = ({one.name: one for one in found.encoders} for found in (old, new))
    metric = words(new.about.steering_metric)
    for name in dict.fromkeys((*now, *then)):
        before, after = then.get(name), now.get(name)
        for what, field in ((metric, "metric"), ("AUC", "auc")):
            if field == "metric" and not same_metric:
                continue
            pair = [None if one is None else getattr(one, field) for one in (before, after)]
            text = "new" if before is None else "gone" if after is None else _compared(*pair)
            if text != "the same":
                yield Move(what=f"{name}: {what}", old=pair[0], new=pair[1], text=text)


def _compared(old: Number | None, new: Number | None) -> str:
    """How a number stands to what it was."""
    values = [None if one is None else one.value for one in (old, new)]
    if values[0] is None or values[1] is None:
        return "the same" if values == [None, None] else "known in one of them alone"
    assert old is not None and new is not None
    if abs(values[0] - values[1]) <= SAME * max(1.0, abs(values[0])):
        return "the same"
    ends = (old.low, old.high, new.low, new.high)
    if None in ends:
        return "moved; without an interval nothing is said of how far"
    apart = new.low > old.high or new.high < old.low  # type: ignore[operator]
    return "moved: the intervals do not meet" if apart else "moved within the intervals"


def _scaled(number: Number) -> Number:
    """A rate in points of AUC for ten points of the metric."""
    ends = [None if one is None else 10 * one for one in (number.value, number.low, number.high)]
    words = f"{number.definition}; in points for ten points" if number.definition else ""
    return Number(value=ends[0], low=ends[1], high=ends[2], definition=words, source=number.source)


def _text(
    old: Results, new: Results, rate: Move, encoders: tuple[Move, ...], is_other: bool
) -> str:
    """In sentences."""
    before, after = old.rate, new.rate
    told = [
        f"{with_interval(one.slope, TEN)} ({one.verdict})"
        if one.slope.value is not None
        else f"none ({one.verdict})"
        for one in (before, after)
    ]
    text = f"The rate was {told[0]} points of AUC for ten points, and is {told[1]}: {rate.text}."
    names = [{one.name for one in found.encoders} for found in (old, new)]
    fresh, gone = sorted(names[1] - names[0]), sorted(names[0] - names[1])
    for count, verb in ((fresh, "new"), (gone, "gone")):
        if count:
            text += f" {counted(len(count), 'encoder')} {'is' if len(count) == 1 else 'are'} {verb} ({listed(count)})."
    both = len(names[0] & names[1])
    other = {one.what.rpartition(": ")[0] for one in encoders if one.text.startswith("moved")}
    text += f" Of {counted(both, 'encoder')} in both, {len(other)} have another metric or AUC."
    return text + (" Definitions differ, see below: not all numbers compare." if is_other else "")
