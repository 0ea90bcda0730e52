"""Tracked runs -> one table: what the report reads, and all it reads.

A study is an MLflow run of kind `study` with the artifact `study.json`, which names the run of each of its cells (a cell that an earlier study had finished
is named, not repeated), the shop, and the definition of every number. Figures are the runs' metrics: an estimate's value under its name, its interval and
count under `<name>.low`, `<name>.high` and `<name>.count`.

A store may hold anything: runs that were deleted, made by hand, or put in another's place. A cell counts where its run is there, is of its kind, key, labels and shop, and has the
figures that its kind cannot be without. One that does not is left out by name, with the reason; the others stay.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from exchange_rate.evidence.study_file import ABOUT, read_about, read_cell
from exchange_rate.names import BASELINE, CONTENT, REFERENCE
from moon_rec.errors import MoonRecError, StudyError
from moon_rec.progress import say
from moon_rec.shown import visible
from moon_rec.tracking import Tracker

NAN = float("nan")
HUGE = 1e300
"""Stores that know no infinity keep the largest number in its place."""
MOST_NAMED = 5
IDENTITY = ("encoder", "ranker", "role", "seed", "against", "reference")
"""Labels that say which cell of its kind it is."""
READS = "moon_rec.reads."


@dataclass(frozen=True)
class LeftOut:
    """A tracked run, or a figure of one, that does not count.

    Attributes:
        what: the cell's kind and name.
        reason: why, in words.
    """

    what: str
    reason: str

    def __str__(self) -> str:
        return visible(f"{self.what}: {self.reason}")


@dataclass(frozen=True)
class Study:
    """A finished study, as tracked.

    Attributes:
        id: its run.
        about: `study.json`: name, shop, period, steering metric, definitions, failed cells, and of the cells those that count.
        runs: id -> run, of these cells.
        left_out: what does not count, and why.
        metrics: names of the encoders' metrics, where they are told otherwise than by an interval beside each (`exchange_rate.analysis.points_file`).
    """

    id: str
    about: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    left_out: tuple[LeftOut, ...] = ()
    metrics: tuple[str, ...] | None = None

    def cells(self, kind: str) -> list[tuple[dict[str, Any], dict[str, float]]]:
        """Labels and metrics of every cell of a kind, in the plan's order."""
        return [
            (cell["labels"], self.runs[cell["run"]]["metrics"])
            for cell in self.about["cells"]
            if cell["kind"] == kind
        ]

    def definition(self, kind: str, name: str, **labels: str) -> str:
        """The definition of an estimate of a kind of cell (with these labels); empty when it has none."""
        for cell in self.about["cells"]:
            matches = all(cell["labels"].get(key) == value for key, value in labels.items())
            if cell["kind"] == kind and matches and name in cell["definitions"]:
                return str(self.about["definitions"][cell["definitions"][name]])
        return ""


def read_study(tracker: Tracker, study: str | None = None) -> Study:
    """The study of that run id, or the newest one that can be read.

    Raises:
        StudyError: no finished study, none of that id, or none that can be read.
    """
    found = {one["id"]: one for one in tracker.runs(kind="study")}
    if not found:
        raise StudyError(
            f"{tracker.uri}, experiment {tracker.experiment!r}: no finished study; run python -m exchange_rate.study"
        )
    if study is not None and study not in found:
        there = ", ".join([*found][-MOST_NAMED:])
        raise StudyError(f"no finished study {study!r} in {tracker.uri}; there are {there}")
    chosen, about, unread = _newest(tracker, found, [study] if study else [*reversed(found)])
    runs = {one["id"]: one for one in tracker.runs()}
    cells, left_out = _sound(about, runs)
    own = {cell["run"]: runs[cell["run"]] for cell in cells}
    own, figures = _finite(cells, own)
    for one in (left_out := [*unread, *left_out, *figures]):
        say(f"left out: {one}")
    return Study(chosen, about | {"cells": cells}, own, tuple(left_out))


def _newest(
    tracker: Tracker, found: Mapping[str, dict[str, Any]], ids: list[str]
) -> tuple[str, dict[str, Any], list[LeftOut]]:
    """The first of these studies whose `study.json` is its own and can be read, with those before it.

    Raises:
        MoonRecError: none; the first one's reason.
    """
    unread: list[tuple[str, MoonRecError]] = []
    for one in ids:
        what = f"{ABOUT} of study {one} in {tracker.uri}"
        try:
            about = read_about(tracker.fetch(one, ABOUT), what)
            if about["key"] != found[one]["key"]:
                raise StudyError(f"{what} is of another study (key {about['key']!r})")
            if about["shop"]["digest"] != found[one]["tags"].get(f"{READS}shop"):
                raise StudyError(f"{what} is of another shop ({about['shop']['digest']!r})")
            return one, about, [LeftOut(f"study {name}", str(error)) for name, error in unread]
        except MoonRecError as error:
            unread.append((one, error))
    raise unread[0][1]


def _sound(
    about: dict[str, Any], runs: Mapping[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """The cells that count, and those that do not."""
    cells, left_out = [], []
    seen: set[tuple[Any, ...]] = set()
    for place, value in enumerate(about["cells"]):
        what = f"cells[{place}] of {ABOUT}"
        try:
            cell = read_cell(value, len(about["definitions"]))
            what = f"{cell['kind']} {cell['name']!r}"
            _check_run(cell, runs.get(cell["run"]), about["shop"]["digest"])
            identity = (cell["kind"], *(cell["labels"].get(name) for name in IDENTITY))
            if cell["labels"] and identity in seen:
                raise StudyError("it stands a second time; the first one counts")
            seen.add(identity)
        except MoonRecError as error:
            left_out.append(LeftOut(what, str(error)))
        else:
            cells.append(cell)
    encoders = {cell["labels"]["encoder"]: cell for cell in cells if cell["kind"] == "encoder"}
    kept = []
    for cell in cells:
        reason = _without_encoder(cell, encoders, runs)
        if reason:
            left_out.append(LeftOut(f"{cell['kind']} {cell['name']!r}", reason))
        else:
            kept.append(cell)
    return kept, left_out


def _check_run(cell: dict[str, Any], run: dict[str, Any] | None, shop: str) -> None:
    """Refuse a run that is not this cell's.

    Raises:
        StudyError: says what is wrong with it.
    """
    name = f"run {cell['run']}"
    if run is None:
        raise StudyError(
            f"{name} is not among the store's finished runs: it was deleted, did not end well, or is another store's"
        )
    if run["kind"] != cell["kind"]:
        raise StudyError(f"{name} is a run of kind {run['kind']!r}")
    if cell["key"] is not None and run["key"] != cell["key"]:
        raise StudyError(f"{name} has key {run['key']!r}, the cell {cell['key']!r}: another's run")
    if (read := run["tags"].get(f"{READS}shop")) != shop:
        raise StudyError(f"{name} read the shop {read!r}, the study's is {shop!r}")
    # a baseline's run, and a reference's comparison with it, is that of every ranker that shares it
    shared = {"ranker"} if cell["labels"].get("role") in (BASELINE, REFERENCE) else set()
    for label in IDENTITY:
        is_told = label in cell["labels"] and label not in shared
        if is_told and run["params"].get(label) != str(cell["labels"][label]):
            raise StudyError(
                f"{name} is of {label} {run['params'].get(label)!r}, the cell of {str(cell['labels'][label])!r}"
            )
    if cell["kind"] == "ranker":
        auc = run["metrics"].get("auc")
        if auc is None or not 0 <= auc <= 1:
            raise StudyError(f"{name} has {'no AUC' if auc is None else f'the AUC {auc:g}'}")


def _without_encoder(
    cell: dict[str, Any],
    encoders: Mapping[str, dict[str, Any]],
    runs: Mapping[str, dict[str, Any]],
) -> str:
    """Why a ranker or comparison cannot count beside these encoders; empty where it can."""
    name = cell["labels"].get("encoder")
    if cell["kind"] not in ("ranker", "comparison") or name is None:
        return ""
    if name not in encoders:
        return f"its encoder {name!r} has no run that counts"
    if cell["kind"] != "ranker" or cell["labels"]["role"] != CONTENT:
        return ""
    tags, theirs = runs[cell["run"]]["tags"], runs[encoders[name]["run"]]["tags"]
    for table in ("items", "queries"):
        read, made = tags.get(f"{READS}{table}"), theirs.get(f"{READS}{table}")
        if read is not None and made is not None and read != made:
            return f"it read the {table} table {read!r}, its encoder's is {made!r}"
    return ""


def _finite(
    cells: Iterable[dict[str, Any]], runs: dict[str, dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[LeftOut]]:
    """The runs without figures that are none, and which those were."""
    left_out = []
    for cell in cells:
        run = runs[cell["run"]]
        bad = {
            name: value
            for name, value in run["metrics"].items()
            if not math.isfinite(value) or abs(value) >= HUGE
        }
        if bad:
            named = ", ".join(f"{name} = {value:g}" for name, value in [*bad.items()][:MOST_NAMED])
            more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
            left_out.append(
                LeftOut(f"{cell['kind']} {cell['name']!r}", f"no figures: {named}{more}")
            )
            kept = {name: value for name, value in run["metrics"].items() if name not in bad}
            runs[cell["run"]] = run | {"metrics": kept}
    return runs, left_out


def records_table(tracker: Tracker, study: str | None = None) -> pl.DataFrame:
    """One row a ranker run of a study; see `table_of`."""
    return table_of(read_study(tracker, study))


def table_of(study: Study) -> pl.DataFrame:
    """One row a ranker run.

    Returns:
        Columns `ranker` (its name in the plan), `role` (baseline, content, permuted or reference), `encoder` (null for a baseline and a reference), `seed`, `run`; the ranker's metrics (`auc`,
        `auc.low`, ...); for rankers on vectors also `encoder_run`, the encoder's labels (`path`, `is_trained`, `origin`, `stages`, `training_tokens`, ...) and its
        metrics; digests of what was read. A baseline that several rankers share has a row for each, of one `run`.
    """
    encoders = {
        cell["labels"]["encoder"]: cell
        for cell in study.about["cells"]
        if cell["kind"] == "encoder"
    }
    rows = []
    for cell in study.about["cells"]:
        if cell["kind"] != "ranker":
            continue
        run = study.runs[cell["run"]]
        row: dict[str, Any] = run["metrics"] | cell["labels"] | {"run": cell["run"]}
        own = encoders.get(cell["labels"]["encoder"])
        if own is not None:
            measured = study.runs[own["run"]]["metrics"]
            row |= {"encoder_run": own["run"], **_without(own["labels"], "encoder")}
            row |= {name: value for name, value in measured.items() if name not in row}
        row |= _digests(run["tags"])
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None) if rows else pl.DataFrame(schema=_NO_ROW)


_NO_ROW = {
    "ranker": pl.String,
    "role": pl.String,
    "encoder": pl.String,
    "seed": pl.Int64,
    "run": pl.String,
}


def encoder_table(study: Study) -> pl.DataFrame:
    """One row an encoder: its labels and metrics."""
    rows = [
        study.runs[cell["run"]]["metrics"] | cell["labels"] | {"run": cell["run"]}
        for cell in study.about["cells"]
        if cell["kind"] == "encoder"
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def encoder_metrics(study: Study, content: pl.DataFrame) -> list[str]:
    """Names of the metrics that encoders of the study were measured by, but for those of the validation period."""
    if study.metrics is not None:
        return [*study.metrics]
    labels = {name for labels, _ in study.cells("encoder") for name in labels}
    return [
        name
        for name in encoder_table(study).columns
        if f"{name}.low" in content.columns
        and name not in labels
        and not name.startswith("validation.")
    ]


def _digests(tags: dict[str, str]) -> dict[str, str]:
    return {
        f"{name.removeprefix(READS)}_digest": value
        for name, value in tags.items()
        if name.startswith(READS)
    }


def _without(labels: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if key != name}
