"""Where runs are tracked: which addresses (MLflow calls them tracking URIs) can work at all."""

import os
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from moon_rec.addresses import SCHEME, SQLITE, shown_uri
from moon_rec.errors import StudyError

DEFAULT_URI = "sqlite:///mlflow.db"
_DATABASES = ("mysql", "postgresql", "mssql")


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite store, from the root on; None for any other store."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


def absolute_uri(uri: str) -> str:
    """SQLite's file from the root on: one that is relative would be another after a change of folder."""
    path = sqlite_path(uri)
    return uri if path is None else f"{SQLITE}{path}"


def check_uri(uri: str) -> None:
    """Refuse an address that can never work, without asking anybody.

    Raises:
        StudyError: an unknown scheme, no host, a driver that is not installed, no file where one is wanted.
    """
    found = SCHEME.match(uri)
    scheme = (found.group(1) or "").lower() if found else ""
    if scheme in ("", "file"):
        raise _refused(
            uri, f"MLflow's file store is deprecated; name a database such as {DEFAULT_URI}"
        )
    family = scheme.partition("+")[0]
    if family == "sqlite":
        _check_sqlite(uri)
    elif family in _DATABASES:
        _check_driver(uri)
    elif scheme in ("http", "https"):
        _check_server(uri)
    elif uri not in ("databricks",) and scheme not in _other_schemes():
        known = f"{DEFAULT_URI}, http://HOST:PORT, or {', '.join(_DATABASES)}"
        raise _refused(uri, f"no store is known by {scheme!r}; name one such as {known}")


def check_folder(path: Path, uri: str) -> None:
    """Refuse a SQLite file whose folder neither is there nor can be made, or cannot be written.

    Raises:
        StudyError: names the folder and the reason.
    """
    folder = path.parent
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(13, "Permission denied")
        # asked by doing: permissions alone do not tell what a file system allows
        Path(tempfile.mkdtemp(dir=folder, prefix=".moon_rec-")).rmdir()
    except OSError as error:
        where = path if folder == path.parent and path.exists() else path.parent
        raise _refused(
            uri, f"{where} cannot be written ({error.strerror}); name another place"
        ) from None


def _check_sqlite(uri: str) -> None:
    path = uri.removeprefix(SQLITE)
    if not uri.startswith(SQLITE) or not Path(path).name or path == ":memory:":
        raise _refused(uri, f"names no file; wanted one such as {DEFAULT_URI}")
    if odd := [mark for mark in "?\0" if mark in path]:
        raise _refused(uri, f"{odd[0]!r} cannot stand in the file's name; name another")


def _check_driver(uri: str) -> None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except NoSuchModuleError:
        raise _refused(
            uri, f"no driver is known by {url.drivername!r}; name one such as mysql+pymysql"
        ) from None
    except (ArgumentError, ValueError):
        raise _refused(
            uri, "is no database's address; wanted DIALECT://USER:PASSWORD@HOST:PORT/NAME"
        ) from None
    except ImportError as error:
        raise _refused(
            uri,
            f"its driver {error.name or url.drivername} is not installed; install that package, or name another driver as in mysql+pymysql:// or postgresql+psycopg2://",
        ) from None


def _check_server(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise _refused(uri, "names no host and port; wanted one such as http://localhost:5000")
    if parts.query or parts.fragment:
        raise _refused(
            uri,
            "MLflow reads no query of a server's address; leave out what follows ? or #, and give a token as MLFLOW_TRACKING_TOKEN",
        )


def _other_schemes() -> set[str]:
    plugins = {found.name for found in entry_points(group="mlflow.tracking_store")}
    return plugins | {"databricks"}


def _refused(uri: str, why: str) -> StudyError:
    return StudyError(f"tracking store {shown_uri(uri)!r}: {why}")
