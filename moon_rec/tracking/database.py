"""A SQLite store: what the file is, and how a new one comes to be.

A store is made beside its place, as `.NAME.new` under a lock, and takes the place when it is whole: of commands that start together one makes it and the
others wait, and a kill leaves no half of a store that nobody can open. A half that an earlier version left is replaced, if no run lies in it.
"""

import contextlib
import fcntl
import functools
import os
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moon_rec.addresses import SQLITE
from moon_rec.errors import StudyError
from moon_rec.progress import say
from moon_rec.tracking.address import DEFAULT_URI

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

SECONDS_AT_REST = 20.0
"""A half-made store that was written to more recently may be another's work in progress: it is waited for."""
ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class Condition:
    """What a file is as a store.

    Attributes:
        is_there: there is a store that can be opened.
        is_half_made: the tables of a store are not complete, and it holds no run.
    """

    is_there: bool
    is_half_made: bool = False


def condition_of(path: Path) -> Condition:
    """Look at the file of a SQLite store; it is only read.

    Raises:
        StudyError: it is a folder, no database, the database of something else, or a store of another version of MLflow.
    """
    if not path.is_file():
        if os.path.lexists(path):
            what = "is a folder" if path.is_dir() else "is no file"
            raise _refused(
                path, f"{what}; name the database of a study or training, such as {DEFAULT_URI}"
            )
        return Condition(False)
    try:
        tables, schema, num_runs = _contents(path)
    except sqlite3.Error as error:
        if "locked" in str(error):
            return Condition(True)
        raise _refused(
            path,
            f"is no SQLite database ({error}); name another file, such as {DEFAULT_URI}",
        ) from None
    if not tables:
        return Condition(False)
    if "experiments" not in tables:
        held = ", ".join(sorted(tables)[:3])
        raise _refused(
            path, f"holds {held}, no runs of MLflow; name another file, such as {DEFAULT_URI}"
        )
    if schema == _head():
        return Condition(True)
    if num_runs == 0:
        return Condition(False, is_half_made=True)
    raise _refused(path, _other_version(path, schema))


def create_store(path: Path) -> None:
    """Make the store if there is none; waits for another process that is making it.

    Raises:
        StudyError: see `condition_of`.
        OSError: the place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while not condition_of(path).is_there:
        fresh = path.with_name(f".{path.name}.new")
        with open(fresh, "ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not _is_same(fresh, held):
                continue  # another process has moved it into place
            condition = condition_of(path)
            if condition.is_there:
                fresh.unlink()
                return
            if condition.is_half_made and _seconds_at_rest(path) < SECONDS_AT_REST:
                time.sleep(0.5)
                continue
            os.ftruncate(held.fileno(), 0)  # what a killed process left
            fresh.with_name(f"{fresh.name}-journal").unlink(missing_ok=True)
            _make_tables(fresh, path.parent / ARTIFACTS)
            os.fsync(held.fileno())
            if condition.is_half_made:
                say(f"tracking store {path} was half made, without a run: it is made anew")
            os.replace(fresh, path)


def _make_tables(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"{SQLITE}{path}", artifacts.as_uri())
    store.engine.dispose()


def _contents(path: Path) -> tuple[set[str], str | None, int]:
    """Names of tables, MLflow's version of their schema, and how many runs there are."""
    try:
        return _read(path, "ro")
    except sqlite3.OperationalError as error:
        if "readonly" not in str(error):
            raise
        # a process was killed within a write: SQLite takes back, by the journal beside the file, what was written of it
        return _read(path, "rw")


def _read(path: Path, mode: str) -> tuple[set[str], str | None, int]:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=5)) as base:
        rows = base.execute("select name from sqlite_master where type = 'table'")
        tables = {name for (name,) in rows if not name.startswith("sqlite_")}
        schema = num_runs = None
        if "alembic_version" in tables:
            schema = base.execute("select version_num from alembic_version").fetchone()
        if "runs" in tables:
            num_runs = base.execute("select count(*) from runs").fetchone()[0]
        if "experiments" in tables:
            named = "select count(*) from experiments where name != 'Default'"
            num_runs = (num_runs or 0) + base.execute(named).fetchone()[0]
    return tables, schema[0] if schema else None, num_runs or 0


@functools.cache
def _head() -> str:
    """The schema that the installed MLflow works with."""
    return _scripts().get_heads()[0]


def _scripts() -> "ScriptDirectory":
    import mlflow
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))


def _other_version(path: Path, schema: str | None) -> str:
    import mlflow
    from alembic.util import CommandError

    try:
        known = schema is not None and _scripts().get_revision(schema) is not None
    except CommandError:
        known = False
    if schema is not None and not known:
        return f"was made by a newer MLflow (schema {schema}) than the one installed ({mlflow.__version__}); install that one"
    return f"was made by an older MLflow (schema {schema or 'unknown'}); copy it, then run: mlflow db upgrade {SQLITE}{path}"


def _is_same(path: Path, held: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(held.fileno()))
    except FileNotFoundError:
        return False


def _seconds_at_rest(path: Path) -> float:
    return time.time() - path.stat().st_mtime


def _refused(path: Path, why: str) -> StudyError:
    return StudyError(f"tracking store {f'{SQLITE}{path}'!r}: {path} {why}")
