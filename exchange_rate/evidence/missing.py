"""What a study's report is without: cells that failed or were not run, runs that do not count, and what the fits lose by it."""

from typing import Any

import polars as pl

from exchange_rate.estimation.candidates import metric_errors
from exchange_rate.evidence.records import LeftOut, Study
from moon_rec.errors import StudyError

MOST_NAMED = 4


def missing(study: Study, content: pl.DataFrame) -> dict[str, Any]:
    """Failed cells, cells that were not run and runs that are left out, each by name with its reason; `text` says in a sentence what the fits lose, and is empty where all is there.

    Args:
        content: the runs of rankers on vectors that count, one a row.
    """
    cells = study.about["failed"]
    failed = [_entry(one["name"], one["error"]) for one in cells if not one["because"]]
    idle = [_entry(one["name"], one["error"]) for one in cells if one["because"]]
    left_out = [_entry(one.what, one.reason) for one in study.left_out]
    found = {"failed": failed, "not_run": idle, "left_out": left_out}
    counts = [
        (len(failed), "failed"),
        (len(idle), "not run for want of another"),
        (len(left_out), "tracked but left out"),
    ]
    parts = [f"{count} {words}" for count, words in counts if count]
    lost = _lost(study, content)
    if not parts and not lost:
        return found | {"text": ""}
    what = f"This study is not whole: of its cells {', '.join(parts)}." if parts else ""
    return found | {"text": " ".join(filter(None, (what, lost)))}


def nothing_left(study: Study) -> str:
    """Why there is no report of a study without a ranker on vectors."""
    failed = [one for one in study.about["failed"] if not one["because"]]
    reasons = [f"{one['name']} failed: {one['error']}" for one in failed]
    reasons += map(str, study.left_out)
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    why = f" ({'; '.join(reasons[:3])}{more})" if reasons else ""
    return f"study {study.id} has no ranker on vectors that counts{why}: there is nothing to report; run it again with python -m exchange_rate.study"


def without_unusable(
    content: pl.DataFrame, metrics: list[str]
) -> tuple[pl.DataFrame, list[LeftOut]]:
    """The runs with a metric taken out where its encoder's interval says nothing of its noise, and which those were: one such encoder would take the others' fit along."""
    left_out = []
    for metric in metrics:
        own = content.filter(pl.col(metric).is_finite().fill_null(False)).unique(
            "encoder", maintain_order=True
        )
        for place, name in enumerate(own["encoder"]):
            try:
                metric_errors(own[place : place + 1], metric)
            except StudyError as error:
                reason = str(error).replace(f"{metric}, row 0", metric)
                left_out.append(LeftOut(f"encoder {name!r}", reason))
                is_of = pl.col("encoder") == name
                content = content.with_columns(pl.when(~is_of).then(metric).alias(metric))
    return content, left_out


def _lost(study: Study, content: pl.DataFrame) -> str:
    """What the fits have of what the plan meant them to have; empty where that is all."""
    planned = study.about["planned"]
    names = list(planned["encoders"] if planned else study.about["encoders"])
    seeds = study.about["num_seeds"]
    runs = dict(content.group_by("encoder", maintain_order=True).len().iter_rows())
    wanted = seeds * len(names)
    if sum(runs.values()) >= wanted:
        return ""
    gone = [name for name in names if name not in runs]
    fewer = [name for name in names if 0 < runs.get(name, 0) < seeds]
    text = f"The fits have {len(names) - len(gone)} of {len(names)} encoders and {sum(runs.values())} of {wanted} runs of {study.about['rankers'][0]['content']}"
    if gone:
        text += f"; without {_listed(gone)}"
    if fewer:
        text += f"; with fewer seeds of {_listed(fewer)}"
    return f"{text}."


def _entry(name: str, reason: str) -> dict[str, str]:
    return {"name": name, "reason": reason}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(map(repr, names[:MOST_NAMED])) + more
