"""The MLflow store behind an address: runs are found, made, filled and read.

MLflow's own retries, which back off for minutes, are turned off, and a request that is not answered within `SECONDS_TO_ANSWER` is given up. Both can be set
otherwise by MLflow's environment variables. Whoever must not wait even that long asks through `within`.
"""

import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from moon_rec.addresses import shown_uri, without_secrets
from moon_rec.errors import StudyError, first_line
from moon_rec.tracking.address import absolute_uri, sqlite_path
from moon_rec.tracking.database import ARTIFACTS, condition_of, create_store

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

TAG = "moon_rec."
RUN = TAG + "run"
PARENT = TAG + "parent"
SECONDS_TO_ANSWER = 20
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS_TO_ANSWER),
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "60",
}
_HEART_OF_IT = (
    r"\[Errno -?\d+\] ([^'\")\]>]+)",
    r"(too many \d+ error responses)",
    r"(Remote end closed connection without response)",
    r"(\w+ timed out)",
)
"""What counts in the long texts of an HTTP library."""
Found = TypeVar("Found")


class Store:
    """One experiment of one store; nothing is opened before it is needed.

    Args:
        uri: as a user gave it, passwords included.
        experiment: its name.
    """

    def __init__(self, uri: str, experiment: str):
        self._uri, self.experiment = absolute_uri(uri), experiment
        self.shown = shown_uri(self._uri)
        self._client: Any = None
        self._engine: Any = None  # SQLAlchemy's, of a database
        self._experiment_id: str | None = None
        self._guard = threading.Lock()  # a reader and the sender may open it at once
        load_mlflow(is_database="http" not in self._uri.partition(":")[0])

    def open(self, create: bool = False) -> bool:
        """Reach the store; whether it has the experiment. With `create` what is missing is made.

        Raises:
            StudyError: it can never take a run: no store, or a deleted experiment.
            Exception: whatever MLflow, a driver or the network raise; see `why`.
        """
        if self._experiment_id is not None:
            return True
        path = sqlite_path(self._uri)
        if path is not None and not condition_of(path).is_there:
            if not create:
                return False
            create_store(path)
        with self._guard:
            return self._connect(create, path)

    def _connect(self, create: bool, path: Path | None) -> bool:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        client = MlflowClient(tracking_uri=self._uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None and create:
            artifacts = None if path is None else (path.parent / ARTIFACTS).as_uri()
            try:
                client.create_experiment(self.experiment, artifact_location=artifacts)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise  # else another process was quicker
            found = client.get_experiment_by_name(self.experiment)
        self._client = client
        self._engine = getattr(client._tracking_client.store, "engine", None)
        if found is None:
            return False
        if found.lifecycle_stage == "deleted":
            raise StudyError(
                f"tracking store {self.shown}: its experiment {self.experiment!r} was deleted, and keeps its name; restore it: MLFLOW_TRACKING_URI={self.shown} mlflow experiments restore --experiment-id {found.experiment_id}"
            )
        self._experiment_id = found.experiment_id
        return True

    def forget(self) -> None:
        """Look for the experiment again at the next use."""
        self._experiment_id = None

    def release(self) -> None:
        """Close connections to a database that nobody uses now; they open again at the next use.

        SQLite keeps for each up to 2 MiB of pages and 128 statements with all that they asked for: as many ids as there were runs, at every number of runs another statement.
        """
        if self._engine is not None:
            self._engine.dispose()

    def experiments(self) -> list[str]:
        """Names of the experiments that there are."""
        return [one.name for one in self._client.search_experiments()]

    def find(self, run: str) -> list[str]:
        """MLflow's ids of the runs that carry our id, the first made first."""
        return [one.info.run_id for one in reversed(self.search(f"tags.`{RUN}` = '{run}'"))]

    def create(self, name: str, tags: Mapping[str, str], time: int) -> str:
        """Make a run; gives MLflow's id."""
        made = self._client.create_run(
            self._experiment_id, start_time=time, tags=dict(tags), run_name=name
        )
        return made.info.run_id

    def log_params(self, run: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        entries = [Param(name, value) for name, value in params.items()]
        for start in range(0, len(entries), 100):
            self._client.log_batch(run, params=entries[start : start + 100])

    def log_metrics(
        self, run: str, figures: Sequence[tuple[str, float, int, int]], doubtful: bool
    ) -> None:
        """Log (name, value, time, step).

        Args:
            doubtful: an earlier attempt may have been half taken: what is there already is left out.
        """
        from mlflow.entities import Metric

        if doubtful:
            there = {
                (one.key, one.value, one.timestamp, one.step)
                for name in sorted({name for name, *_ in figures})
                for one in self._client.get_metric_history(run, name)
            }
            figures = [one for one in figures if one not in there]
        entries = [Metric(*one) for one in figures]
        for start in range(0, len(entries), 500):
            self._client.log_batch(run, metrics=entries[start : start + 500])

    def set_tag(self, run: str, name: str, value: str) -> None:
        self._client.set_tag(run, name, value)

    def log_dataset(self, run: str, name: str, digest: str, source: str) -> None:
        from mlflow.entities import Dataset, DatasetInput

        made = Dataset(name, digest, "moon_rec", source)
        self._client.log_inputs(run, [DatasetInput(made, [])])

    def log_text(self, run: str, text: str, name: str) -> None:
        self._client.log_text(run, text, name)

    def log_file(self, run: str, path: Path) -> None:
        self._client.log_artifact(run, str(path))

    def end(self, run: str, status: str, time: int) -> None:
        self._client.set_terminated(run, status, time)

    def is_deleted(self, run: str) -> bool:
        return self._client.get_run(run).info.lifecycle_stage == "deleted"

    def delete(self, run: str) -> None:
        self._client.delete_run(run)

    def search(self, filter_string: str) -> "list[MlflowRun]":
        """Runs of the experiment, newest first."""
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

    def download(self, run: str, name: str, folder: Path) -> Path:
        """A file of a run, copied into a folder."""
        return Path(self._client.download_artifacts(run, name, str(folder)))

    def why(self, error: BaseException) -> str:
        """What went wrong, in a few words and without secrets."""
        return why_of(error, self._uri)


def why_of(error: BaseException, uri: str) -> str:
    """What went wrong at an address, in a few words and without its secrets."""
    text = first_line(error)
    for pattern in _HEART_OF_IT:
        if not isinstance(error, TimeoutError) and (found := re.search(pattern, text)):
            text = found.group(1).strip()
            break
    text = without_secrets(" ".join(text.split()), uri)
    return text if len(text) <= 300 else f"{text[:300]} ..."


def code_of(error: BaseException) -> str:
    """MLflow's code of an error; empty where it has none."""
    return str(getattr(error, "error_code", ""))


def within(seconds: float, work: Callable[[], Found]) -> Found:
    """What `work` gives, or TimeoutError when it takes longer; it then goes on unheard."""
    box: list[Any] = []

    def do() -> None:
        try:
            box.append((True, work()))
        except BaseException as error:  # raised below, by the one who waits
            box.append((False, error))

    thread = threading.Thread(target=do, name="moon_rec tracking", daemon=True)
    thread.start()
    thread.join(seconds)
    if not box:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    is_found, found = box[0]
    if not is_found:
        raise found
    return found


def load_mlflow(is_database: bool) -> None:
    """Import MLflow, made to wait for nobody and to write nothing but what is asked.

    Its part for databases is imported here as well: two threads that import it at once might see half of it.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow

        if is_database:
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # what these say is an error that is told in one line, and may hold an address with its password
    for name in ("mlflow", "mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
