"""MLflow runs: what a run is called, tagged and logged, and how a finished one is found again.

A run carries the tags `moon_rec.kind` (such as `encoder`, `ranker`, `study`), `moon_rec.key` (a digest of everything its result depends on) and one
`moon_rec.reads.<name>` for each artifact it read, by digest. A cell whose key has a finished run need not run again.
"""

import contextlib
import logging
import os
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from moon_rec.errors import StudyError, first_line
from moon_rec.files import read_json

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

DEFAULT_URI = "sqlite:///mlflow.db"
_TAG = "moon_rec."
_MAX_PARAM = 5_000
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]")


class TrackedRun:
    """A run that is going on; see `Tracker.run`."""

    def __init__(self, client: Any, run_id: str):
        self._client, self.id = client, run_id

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log finite figures; `@` in a name, which MLflow refuses, becomes `_at_`."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        entries = [
            Metric(_metric_name(name), float(value), now, step or 0)
            for name, value in metrics.items()
            if value == value and abs(value) != float("inf")
        ]
        for start in range(0, len(entries), 1000):
            self._client.log_batch(self.id, metrics=entries[start : start + 1000])

    def tag(self, name: str, value: object) -> None:
        """Set a tag."""
        self._client.set_tag(self.id, name, str(value))

    def artifact(self, path: Path | str) -> None:
        """Copy a file into the run's artifacts."""
        self._client.log_artifact(self.id, str(path))

    def json(self, value: Any, name: str) -> None:
        """Store a JSON document as the artifact `name`."""
        self._client.log_dict(self.id, value, name)


class Tracker:
    """A connection to one MLflow experiment.

    Args:
        uri: any MLflow tracking URI. For SQLite the folder is made, and artifacts lie in `artifacts/` beside the file. MLflow's own file store
            (`./mlruns`) is deprecated and refused.
        experiment: the experiment's name.
        must_exist: for those who only read: neither a store nor an experiment is made where there is none.

    Raises:
        StudyError: the store cannot be opened, holds something else, or is not there.
    """

    def __init__(
        self, uri: str = DEFAULT_URI, experiment: str = "moon_rec", *, must_exist: bool = False
    ):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.uri, self.experiment = uri, experiment
        artifacts = _prepare(uri, must_exist)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException

            for name in ("alembic", "mlflow.store.db.utils", "mlflow"):
                logging.getLogger(name).setLevel(logging.WARNING)
            try:
                self._client = MlflowClient(tracking_uri=_absolute(uri))
                found = self._client.get_experiment_by_name(experiment)
                if must_exist and found is None:
                    known = [one.name for one in self._client.search_experiments()]
                    raise StudyError(
                        f"{uri} has no experiment {experiment!r}; it has {', '.join(known)}"
                    )
                self._experiment_id = (
                    found.experiment_id
                    if found
                    else self._client.create_experiment(experiment, artifact_location=artifacts)
                )
            except (MlflowException, OSError) as error:
                raise StudyError(
                    f"cannot open the tracking store {uri!r}: {first_line(error)}; name one such as {DEFAULT_URI}"
                ) from None

    @contextlib.contextmanager
    def run(
        self,
        name: str,
        kind: str,
        params: Mapping[str, Any],
        reads: Mapping[str, str],
        key: str | None = None,
        parent: str | None = None,
    ) -> Iterator[TrackedRun]:
        """Track a block of work: the run is FINISHED when it ends well, FAILED when it raises.

        Args:
            params: settings, nested ones flattened with dots; what MLflow refuses in a name becomes `_`.
            reads: name -> digest of every artifact read.
            key: digest of all the result depends on.
            parent: id of the run this one belongs to.
        """
        tags = {_TAG + "kind": kind, "mlflow.runName": name}
        tags |= {f"{_TAG}reads.{what}": digest for what, digest in reads.items()}
        if key is not None:
            tags[_TAG + "key"] = key
        if parent is not None:
            tags["mlflow.parentRunId"] = parent
        made = self._client.create_run(self._experiment_id, tags=tags, run_name=name)
        run = TrackedRun(self._client, made.info.run_id)
        self._log_params(run.id, params)
        try:
            yield run
        except BaseException:
            self._client.set_terminated(run.id, "FAILED")
            raise
        self._client.set_terminated(run.id, "FINISHED")

    def finished(self, key: str) -> str | None:
        """Id of the newest finished run with this key, if any."""
        found = self._search(f"tags.`{_TAG}key` = '{key}' and attributes.status = 'FINISHED'")
        return found[0].info.run_id if found else None

    def runs(self, kind: str | None = None, parent: str | None = None) -> list[dict[str, Any]]:
        """Finished runs, oldest first, as dictionaries of id, name, kind, key, parent, start_time, params, metrics and tags."""
        parts = ["attributes.status = 'FINISHED'"]
        if kind is not None:
            parts.append(f"tags.`{_TAG}kind` = '{kind}'")
        if parent is not None:
            parts.append(f"tags.`mlflow.parentRunId` = '{parent}'")
        return [_as_dict(run) for run in reversed(self._search(" and ".join(parts)))]

    def read_json(self, run_id: str, name: str) -> Any:
        """A JSON artifact of a run, as `TrackedRun.json` stored it."""
        return read_json(self.fetch(run_id, name))

    def fetch(self, run_id: str, name: str) -> Path:
        """A file among a run's artifacts, on this machine.

        Raises:
            StudyError: it is not where it was tracked.
        """
        from mlflow.exceptions import MlflowException

        try:
            return Path(self._client.download_artifacts(run_id, name))
        except (MlflowException, OSError) as error:
            raise StudyError(
                f"run {run_id} in {self.uri}: its artifact {name} cannot be read ({first_line(error)}); put the store's artifacts back where they were tracked"
            ) from None

    def _search(self, filter_string: str) -> list["MlflowRun"]:
        runs: list[MlflowRun] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs.extend(page)
            token = page.token
            if not token:
                return runs

    def _log_params(self, run_id: str, params: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [
            Param(_NOT_IN_NAMES.sub("_", name), str(value)[:_MAX_PARAM])
            for name, value in _flatten(params)
        ]
        for start in range(0, len(flat), 100):
            self._client.log_batch(run_id, params=flat[start : start + 100])


def plain_metric_name(name: str) -> str:
    """The name as it was before `TrackedRun.log` made it fit for MLflow."""
    return name.replace("_at_", "@")


def _metric_name(name: str) -> str:
    return name.replace("@", "_at_")


def _absolute(uri: str) -> str:
    """SQLite's file from the root on: MLflow keeps stores by their URI, and one that is relative would be another after a change of folder."""
    if urlparse(uri).scheme != "sqlite":
        return uri
    return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).absolute()}"


def _check_database(path: Path, uri: str, must_exist: bool) -> None:
    """Refuse what MLflow would fail on, or fill with its own tables."""
    if not path.is_file():
        if path.exists() or must_exist:
            what = "is a folder" if path.exists() else "is not there"
            raise StudyError(
                f"tracking store {uri!r}: {path} {what}; name the database of a study, such as {DEFAULT_URI}"
            )
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        ) as base:
            rows = base.execute("select name from sqlite_master where type = 'table'")
            tables = {name for (name,) in rows}
    except sqlite3.Error as error:
        raise StudyError(
            f"tracking store {uri!r}: {path} is no SQLite database ({error}); name another file, such as {DEFAULT_URI}"
        ) from None
    if "experiments" not in tables and (tables or must_exist):
        held = f"holds {', '.join(sorted(tables)[:3])}" if tables else "is empty"
        raise StudyError(
            f"tracking store {uri!r}: {path} {held}, no runs of MLflow; name another file, such as {DEFAULT_URI}"
        )


def _prepare(uri: str, must_exist: bool) -> str | None:
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file"):
        raise StudyError(
            f"tracking store {uri!r}: MLflow's file store is deprecated; name a database such as {DEFAULT_URI}"
        )
    if parsed.scheme != "sqlite":
        return None
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or not path.name:
        raise StudyError(f"tracking store {uri!r} names no file; wanted one such as {DEFAULT_URI}")
    _check_database(path, uri, must_exist)
    folder = path.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "artifacts").as_uri()


def _flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _as_dict(run: "MlflowRun") -> dict[str, Any]:
    tags = dict(run.data.tags)
    return {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "kind": tags.get(_TAG + "kind"),
        "key": tags.get(_TAG + "key"),
        "parent": tags.get("mlflow.parentRunId"),
        "start_time": run.info.start_time,
        "params": dict(run.data.params),
        "metrics": {plain_metric_name(name): value for name, value in run.data.metrics.items()},
        "tags": tags,
    }
