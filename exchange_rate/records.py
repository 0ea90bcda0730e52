"""Tracked runs -> one table: what the report reads, and all it reads.

A study is an MLflow run of kind `study` with the artifact `study.json`, which names the run of each of its cells (a cell that an earlier study had finished
is named, not repeated), the shop, and the definition of every number. Figures are the runs' metrics: an estimate's value under its name, its interval and
count under `<name>.low`, `<name>.high` and `<name>.count`.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from moon_rec.errors import StudyError
from moon_rec.tracking import Tracker

ABOUT = "study.json"
FORMAT = 2
"""Of `study.json`: the one whose rankers are called by their roles, `ids`, `content` and `permuted`, with their names beside."""
NAN = float("nan")


@dataclass(frozen=True)
class Study:
    """A finished study, as tracked.

    Attributes:
        id: its run.
        about: `study.json`: name, shop, period, steering metric, definitions, cells.
        runs: id -> run, of all its cells.
    """

    id: str
    about: dict[str, Any]
    runs: dict[str, dict[str, Any]]

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
    """The study of that run id, or the newest one.

    Raises:
        StudyError: no finished study, none of that id, or one whose cells are gone.
    """
    found = tracker.runs(kind="study")
    if not found:
        raise StudyError(
            f"{tracker.uri}, experiment {tracker.experiment!r}: no finished study; run python -m exchange_rate.study"
        )
    ids = [one["id"] for one in found]
    if study is not None and study not in ids:
        raise StudyError(
            f"no finished study {study!r} in {tracker.uri}; there are {', '.join(ids)}"
        )
    chosen = study or ids[-1]
    about = tracker.read_json(chosen, ABOUT)
    version = about.get("format", 1) if isinstance(about, dict) else "unknown"
    if version != FORMAT:
        raise StudyError(
            f"study {chosen} in {tracker.uri} was tracked by another version (format {version}, wanted {FORMAT}); run it again with python -m exchange_rate.study"
        )
    wanted = {cell["run"] for cell in about["cells"]}
    runs = {one["id"]: one for one in tracker.runs() if one["id"] in wanted}
    if gone := sorted(wanted - set(runs)):
        raise StudyError(f"study {chosen}: {len(gone)} of its runs are gone, such as {gone[0]}")
    return Study(chosen, about, runs)


def records_table(tracker: Tracker, study: str | None = None) -> pl.DataFrame:
    """One row a ranker run of a study; see `table_of`."""
    return table_of(read_study(tracker, study))


def table_of(study: Study) -> pl.DataFrame:
    """One row a ranker run.

    Returns:
        Columns `ranker` (ids, content or permuted), `encoder` (null for ids), `seed`, `run`; the ranker's metrics (`auc`, `auc.low`, ...); for rankers on vectors
        also `encoder_run`, what the encoder has seen (`stages`, `training_tokens`, `negatives`, ...) and its metrics; digests of what was read.
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
        row: dict[str, Any] = {**cell["labels"], "run": cell["run"], **run["metrics"]}
        own = encoders.get(cell["labels"]["encoder"])
        if own is not None:
            measured = study.runs[own["run"]]["metrics"]
            row |= {"encoder_run": own["run"], **_without(own["labels"], "encoder")}
            row |= {name: value for name, value in measured.items() if name not in row}
        row |= _digests(run["tags"])
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def encoder_table(study: Study) -> pl.DataFrame:
    """One row an encoder: its labels and metrics."""
    rows = [
        {**cell["labels"], "run": cell["run"], **study.runs[cell["run"]]["metrics"]}
        for cell in study.about["cells"]
        if cell["kind"] == "encoder"
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _digests(tags: dict[str, str]) -> dict[str, str]:
    start = "moon_rec.reads."
    return {
        f"{name.removeprefix(start)}_digest": value
        for name, value in tags.items()
        if name.startswith(start)
    }


def _without(labels: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in labels.items() if key != name}
