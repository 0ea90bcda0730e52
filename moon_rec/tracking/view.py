"""Runs as their readers see them, whether they lie in the store or still in a journal."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moon_rec.tracking.journal import Entry, JournalReader
from moon_rec.tracking.names import plain_metric_name
from moon_rec.tracking.store import PARENT, RUN, TAG

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun


def of_store(run: "MlflowRun") -> dict[str, Any]:
    """A run of the store. Its id is ours; one of an earlier version has MLflow's alone. `page` is where MLflow's own pages show it; one of a journal has none."""
    tags = dict(run.data.tags)
    return {
        "id": tags.get(RUN, run.info.run_id),
        "name": run.info.run_name,
        "kind": tags.get(TAG + "kind"),
        "key": tags.get(TAG + "key"),
        "parent": tags.get(PARENT) or tags.get("mlflow.parentRunId"),
        "start_time": run.info.start_time,
        "status": run.info.status,
        "params": dict(run.data.params),
        "metrics": {plain_metric_name(name): value for name, value in run.data.metrics.items()},
        "tags": tags,
        "page": f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}",
    }


def of_journal(journal: JournalReader) -> dict[str, Any]:
    """A run of a journal; of each figure the value of the last step counts, as in MLflow."""
    newest: dict[str, tuple[int, int, float]] = {}
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    status, opening = "RUNNING", Entry()
    for _, entry in journal.read():
        match entry["op"]:
            case "open":
                opening = entry
                tags |= entry["tags"]
            case "params":
                params |= entry["params"]
            case "tag":
                tags[entry["name"]] = entry["value"]
            case "metrics":
                for name, value in entry["metrics"].items():
                    found = (int(entry["step"]), int(entry["time"]), float(value))
                    newest[name] = max(newest.get(name, found), found)
            case "end":
                status = str(entry["status"])
            case _:
                pass
    return {
        "id": opening["id"],
        "name": opening["name"],
        "kind": tags.get(TAG + "kind"),
        "key": tags.get(TAG + "key"),
        "parent": tags.get(PARENT),
        "start_time": int(opening["time"]),
        "status": status,
        "params": params,
        "metrics": {plain_metric_name(name): value for name, (_, _, value) in newest.items()},
        "tags": tags,
    }


def file_of(
    journal: JournalReader, name: str, new_folder: Callable[[], Path]
) -> tuple[Path | None, str]:
    """A file or document that a journal has, where it can be read, and why it was kept out of the journal where it was; None where there is none."""
    found = None
    for number, entry in journal.read():
        if entry["op"] in ("file", "text") and entry["name"] == name:
            found = number, entry  # the last of a name counts, as in MLflow
    if found is None:
        return None, ""
    number, entry = found
    if entry["op"] == "file":
        path = journal.file(entry, number)
        if path.exists() or "fault" not in entry:
            return path, ""
        return None, f"it could not be copied when it was tracked: {entry['fault']}"
    path = new_folder() / Path(name).name
    path.write_text(str(entry["text"]), encoding="utf-8")
    return path, ""
