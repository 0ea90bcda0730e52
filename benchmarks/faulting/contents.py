"""What lies in a folder, in a form in which two runs can be compared: bit for bit, but for what is named here.

`VARIES` is the whole list of what may differ between two runs that made the same thing.
"""

import fnmatch
import hashlib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

VARIES = {
    "seconds": "how long it took",
    "rows_per_second": "how quick it was",
    "peak_memory_mib": "memory of the machine's libraries",
    "run": "MLflow draws the ids of runs by chance",
    "id": "MLflow's id of a run, in a report",
    "study": "MLflow's id of the study, in a report",
    "start_time": "when it was tracked",
    "time": "when it was journalled",
}
"""Fields of JSON, and figures of tracked runs, that are not compared, each with its reason."""
LEFT_OUT = {
    "*__pycache__*": "Python's own",
    "*.db-*": "SQLite's own",
    "*artifacts/*": "folders named by MLflow's ids; what they hold is compared where a report shows it",
}
"""Files that are not compared, each with its reason."""
TIMES_IN_TEXT = re.compile(rb"\b\d+(\.\d+)? s\b")
"""Of Markdown: seconds."""
MLFLOW_ID = re.compile(rb"\b[0-9a-f]{32}\b")
"""Of Markdown, HTML and text: a run's id."""


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder below `folder`, relative -> digest of what is compared of it; folders are `folder`."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or any(fnmatch.fnmatch(name, pattern) for pattern in LEFT_OUT):
            continue
        found[name] = "folder" if path.is_dir() else _digest(path)
    return found


def _digest(path: Path) -> str:
    try:
        data = _compared(path)
    except (OSError, ValueError, sqlite3.Error) as error:
        return f"unreadable: {error}"
    return hashlib.sha256(data).hexdigest()[:16]


def _compared(path: Path) -> bytes:
    if path.suffix == ".db":
        return json.dumps(_tracked(path), sort_keys=True).encode()
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without(json.loads(data)), sort_keys=True).encode()
    if path.suffix in (".md", ".html", ".txt", ".log"):
        return MLFLOW_ID.sub(b"ID", TIMES_IN_TEXT.sub(b"TIME", data))
    return data


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without(item) for name, item in value.items() if name not in VARIES}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value


def _tracked(path: Path) -> list[Any]:
    """The finished runs of an MLflow store: name, key, parameters, figures. Runs that a kill left unfinished say so, and are no results."""
    base = sqlite3.connect(
        f"file:{path}?mode=rw", uri=True
    )  # rw: what a kill left of a write is taken back
    try:
        runs = base.execute("select run_uuid, name from runs where status = 'FINISHED'").fetchall()
        found = set()
        for run, name in runs:
            about = {"name": name}
            for table in ("params", "metrics", "latest_metrics"):
                rows = base.execute(f"select key, value from {table} where run_uuid = ?", (run,))
                about[table] = sorted([k, str(v)] for k, v in rows if k not in VARIES)  # type: ignore[assignment]
            rows = base.execute("select key, value from tags where run_uuid = ?", (run,))
            about["key"] = [v for k, v in rows if k.endswith("moon_rec.key")]  # type: ignore[assignment]
            found.add(json.dumps(about, sort_keys=True))
    finally:
        base.close()
    return sorted(found)


def differences(found: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """In words, a line each; empty where they are the same."""
    lines = [f"missing: {name}" for name in wanted if name not in found]
    lines += [f"left beside the output: {name}" for name in found if name not in wanted]
    lines += [
        f"differs: {name}"
        for name, digest in wanted.items()
        if name in found and found[name] != digest
    ]
    return lines
