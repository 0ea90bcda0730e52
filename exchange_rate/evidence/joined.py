"""Runs that other code logged -> a table of points: any CTR model joins a study by tags.

A run of a CTR model on one encoder's vectors joins the study that its tag `moon_rec.study` names. `python -m exchange_rate.log` writes such a run, plain MLflow calls do as well:

    moon_rec.study      the study's name; runs with one name join
    moon_rec.encoder    whose vectors the model read
    moon_rec.path       optional: the training that the encoder is a checkpoint of; by default the encoder is one of its own
    moon_rec.trained    optional: `false` for weights that were never trained; by default `true`
    moon_rec.ranker     which CTR model; for all runs of the study, or for none
    moon_rec.seed       which of its trainings; for all runs of the study, or for none
    moon_rec.metrics    optional: names of the encoder's metrics, with commas between; by default every figure of the run but AUCs and MLflow's own (`system/...`)

Its metrics are `auc` (from 0 to 1), `auc_error` and `auc_permuted` where they are known, and the encoder's: `image_search_recall_at_10`, for MLflow takes no `@` in a name, and
`image_search_recall_at_10_error`. A run counts once it is finished.

Where a study of our own has the name, its rankers on vectors are runs of the table, too, and what it measured of an encoder need not be logged again: a foreign CTR model on the
same encoders is then a further ranker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import ndtri

from exchange_rate.evidence.records import Study, encoder_metrics, read_study, table_of
from exchange_rate.names import CONTENT, PERMUTED
from moon_rec.errors import StudyError
from moon_rec.progress import say
from moon_rec.tracking import Tracker

TAG = "moon_rec."
STUDY, ENCODER, PATH, TRAINED, RANKER, SEED, METRICS = (
    f"{TAG}{name}" for name in ("study", "encoder", "path", "trained", "ranker", "seed", "metrics")
)
KIND = "point"
"""Of the runs that `exchange_rate.log` writes; others need none."""
OUTCOMES = ("auc", "gauc", "auc_warm", "auc_cold", "auc_permuted")
ERROR, ENDS = "_error", (".low", ".high", ".count")
MOST_NAMED = 5
HALF = float(ndtri(0.975))
"""Standard errors in half a 95 % interval."""


@dataclass(frozen=True)
class Joined:
    """The runs of a study, whoever logged them.

    Attributes:
        name: the study's.
        points: one row a run, with the columns of `exchange_rate.analysis.points_file`.
        is_simulated: a study of our own among them was on a simulated shop.
    """

    name: str
    points: pl.DataFrame
    is_simulated: bool = False


def read_joined(tracker: Tracker, name: str) -> Joined:
    """All runs that join the study `name`, those of our own study of that name among them.

    Raises:
        StudyError: no run joins it, or one that does cannot count; by run and tag or metric.
    """
    logged = joining(tracker, name)
    if not logged:
        there = sorted({run["tags"][STUDY] for run in tracker.runs() if STUDY in run["tags"]})
        known = f"there are {', '.join(there[:MOST_NAMED])}" if there else "no run has that tag"
        raise StudyError(
            f"{tracker.uri}, experiment {tracker.experiment!r}: no finished run has the tag {STUDY} = {name!r}; {known}: log one with python -m exchange_rate.log"
        )
    own = [run for run in tracker.runs(kind="study") if run["name"] == name]
    study = read_study(tracker, own[-1]["id"]) if own else None
    rows = [row_of(run) for run in logged]
    say(f"joined: {len(rows):,} runs that other code logged for {name!r}")
    if study is not None:
        ours = _rows_of_study(study)
        say(f"joined: {len(ours):,} runs of our own study {study.id}")
        rows = [*ours, *_with_metrics(rows, ours)]
    refuse_unlike(rows)
    for line in _torn(rows):
        say(f"joined: {line}")
    is_simulated = study is not None and bool(study.about["shop"]["is_simulated"])
    return Joined(name, _table(rows), is_simulated)


def joining(tracker: Tracker, name: str) -> list[dict[str, Any]]:
    """The finished runs with that study's tag, oldest first."""
    return [run for run in tracker.runs() if run["tags"].get(STUDY) == name]


def row_of(run: dict[str, Any]) -> dict[str, Any]:
    """A run as a row of the table.

    Raises:
        StudyError: a tag or figure that a point cannot be without.
    """
    tags, figures, shown = run["tags"], run["metrics"], f"run {run['name']!r} ({run['id']})"
    if not tags.get(ENCODER, "").strip():
        raise StudyError(
            f"{shown} has no tag {ENCODER}: say whose vectors the model read, mlflow.set_tag({ENCODER!r}, ...)"
        )
    trained = tags.get(TRAINED, "true").strip().lower()
    if trained not in ("true", "false"):
        raise StudyError(f"{shown}: the tag {TRAINED} is {trained!r}; wanted true or false")
    if lost := [name for name in tags if name.startswith(f"{TAG}not_finite.")]:
        figure = lost[0].removeprefix(f"{TAG}not_finite.")
        raise StudyError(f"{shown}, {figure}: {tags[lost[0]]} is no figure; delete the run and log it anew")  # fmt: skip
    if bad := [name for name, value in figures.items() if not np.isfinite(value)]:
        raise StudyError(f"{shown}, {bad[0]}: {figures[bad[0]]} is no figure; delete the run and log it anew")  # fmt: skip
    if "auc" not in figures:
        there = ", ".join(sorted(figures)[:MOST_NAMED]) or "none"
        raise StudyError(f"{shown} has no metric auc; it has {there}: log the run's AUC as auc")
    row = {"run": shown, "encoder": tags[ENCODER], "path": tags.get(PATH) or tags[ENCODER]}
    row |= {"ranker": tags.get(RANKER), "seed": tags.get(SEED), "trained": trained == "true"}
    return row | _figures(figures, tags.get(METRICS), shown)


def _figures(figures: dict[str, float], named: str | None, shown: str) -> dict[str, float]:
    """The AUCs and the encoder's metrics, with their errors."""
    kept = [one for one in figures if one.removesuffix(ERROR) in OUTCOMES]
    if named is None:
        kept += [one for one in figures if not one.startswith("system/") and one not in kept]
    else:
        wanted = [one.strip() for one in named.replace("_at_", "@").split(",") if one.strip()]
        if lost := [one for one in wanted if one not in figures]:
            raise StudyError(
                f"{shown}: its tag {METRICS} names {lost[0]!r}, which it has not logged; it has {', '.join(sorted(figures)[:MOST_NAMED])}"
            )
        kept += [one for one in figures if one.removesuffix(ERROR) in wanted and one not in kept]
    return {one: figures[one] for one in kept}


def refuse_unlike(rows: Sequence[dict[str, Any]]) -> None:
    """Refuse rows that are no runs of one study.

    Raises:
        StudyError: one run twice, a ranker or seed that some lack, an encoder of two values, paths or of two minds on whether it was trained; by run.
    """
    for name, tag in (("ranker", RANKER), ("seed", SEED)):
        without = [row for row in rows if row[name] is None]
        if without and len(without) < len(rows):
            there = next(row for row in rows if row[name] is not None)
            raise StudyError(
                f"{without[0]['run']} has no tag {tag} where {there['run']} has {there[name]!r}; give it to all runs of the study, or to none"
            )
    seen: dict[tuple[Any, ...], str] = {}
    for row in rows:
        which = (row["encoder"], row["ranker"], row["seed"])
        if row["seed"] is not None and which in seen:
            raise StudyError(
                f"{row['run']} is encoder {which[0]!r}, ranker {which[1] or 'unnamed'!r}, seed {which[2]!r} again, as {seen[which]}; name their seeds apart, or delete one"
            )
        seen[which] = row["run"]
    first: dict[tuple[str, str], tuple[Any, str]] = {}
    for row in rows:
        for name, value in row.items():
            if name in _OF_THE_RUN or name.removesuffix(ERROR) in OUTCOMES or _is_end(name):
                continue
            before, run = first.setdefault((row["encoder"], name), (value, row["run"]))
            if before != value:
                raise StudyError(
                    f"encoder {row['encoder']!r} has {name} {before!r} in {run} and {value!r} in {row['run']}: a metric is the encoder's, the same in all of its runs; mend one, or name the encoder's metrics in the tag {METRICS}"
                )


_OF_THE_RUN = ("run", "ranker", "seed", "encoder")


def _is_end(name: str) -> bool:
    return name.endswith(ENDS)


def _torn(rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    """Metrics that some encoders have and others have not, in words: names that differ by a slip look so."""
    encoders = {row["encoder"] for row in rows}
    by_name: dict[str, set[str]] = {}
    for row in rows:
        for name in row:
            if name not in (*_OF_THE_RUN, "path", "trained") and not _is_end(name) and not name.endswith(ERROR):  # fmt: skip
                by_name.setdefault(name, set()).add(row["encoder"])
    for name, owners in by_name.items():
        if len(owners) < len(encoders) and name not in OUTCOMES:
            without = sorted(encoders - owners)
            more = " ..." if len(without) > MOST_NAMED else ""
            yield f"{name} is of {len(owners)} of {len(encoders)} encoders, not of {', '.join(without[:MOST_NAMED])}{more}"


def _rows_of_study(study: Study) -> list[dict[str, Any]]:
    """The rankers on vectors of a study of our own, with what it measured of their encoders."""
    table = table_of(study)
    content = table.filter(pl.col("role") == CONTENT)
    permuted = {
        (one["ranker"], one["encoder"], one["seed"]): one["auc"]
        for one in table.filter(pl.col("role") == PERMUTED).iter_rows(named=True)
    }
    metrics = encoder_metrics(study, content)
    figures = [f"{name}{end}" for name in (*metrics, *OUTCOMES) for end in ("", *ENDS)]
    kept = [name for name in figures if name in content.columns]
    rows = []
    for one in content.iter_rows(named=True):
        row = {"run": f"run {one['run']}", "seed": str(one["seed"])}
        row |= {name: one[name] for name in ("encoder", "path", "ranker")}
        row["trained"] = one["is_trained"]
        own = permuted.get((one["ranker"], one["encoder"], one["seed"]))
        row |= {} if own is None else {"auc_permuted": own}
        rows.append(row | {name: one[name] for name in kept if one[name] is not None})
    return rows


def _with_metrics(
    rows: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Logged runs with intervals for errors, as our own have, and with what our study knows of their encoders."""
    known = {}
    for row in ours:
        about = {name: value for name, value in row.items() if not name.startswith(OUTCOMES)}
        known[row["encoder"]] = {name: about[name] for name in about if name not in _OF_THE_RUN}
    found = []
    for logged in rows:
        own, row = known.get(logged["encoder"], {}), dict(logged)
        for name in [name for name in row if name.endswith(ERROR)]:
            size, base = row.pop(name), name.removesuffix(ERROR)
            if not size > 0:
                raise StudyError(f"{row['run']}, {name}: {size:g} is no standard error; wanted more than 0")  # fmt: skip
            row |= {f"{base}.low": row[base] - HALF * size, f"{base}.high": row[base] + HALF * size}
        told = {name: value for name, value in row.items() if name not in ("path", "trained")}
        found.append(row | own | told)
    return found


def _table(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """The rows; names that none has are no columns."""
    frame = pl.DataFrame([{k: v for k, v in row.items() if k != "run"} for row in rows], infer_schema_length=None)  # fmt: skip
    return frame.drop([name for name in ("ranker", "seed") if frame[name].is_null().all()])
