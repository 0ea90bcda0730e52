"""Where runs are tracked: which addresses can work at all, and how one is shown.

An address (MLflow calls it a tracking URI) may hold a password or a token. It is never shown, stored or logged as it is: `shown_uri` masks whatever may be
secret, and masks too much rather than too little.
"""

import os
import re
import tempfile
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

from moon_rec.errors import StudyError

DEFAULT_URI = "sqlite:///mlflow.db"
SQLITE = "sqlite:///"
MASK = "***"
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*):/*|^//")
_DATABASES = ("mysql", "postgresql", "mssql")
_LEAST_SECRET = 3
"""Characters: a shorter secret is masked where an address stands, not wherever its letters do."""


def shown_uri(uri: str) -> str:
    """The address as it may be shown: user names, passwords, values of a query and fragments are `***`."""
    start, rest = _split(uri)
    place, userinfo = rest, ""
    if "@" in rest and not uri.startswith(SQLITE):
        userinfo, _, place = rest.rpartition("@")
    if any(mark in userinfo for mark in "?#"):
        return f"{start}{MASK}"  # which "@" ends the password cannot be told
    fragment_mark = ""
    if not uri.startswith(SQLITE):  # where "#" may stand in a file's name
        place, fragment_mark, _ = place.partition("#")
    place, query_mark, query = place.partition("?")
    if query_mark:
        place += "?" + "&".join(_masked(piece) for piece in query.split("&"))
    if fragment_mark:
        place += f"#{MASK}"
    return f"{start}{MASK}@{place}" if userinfo or rest.startswith("@") else f"{start}{place}"


def without_secrets(text: str, uri: str) -> str:
    """A text of another library, such as an error, without what `shown_uri` masks in the address."""
    text = text.replace(uri, shown_uri(uri))
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return re.sub(r"(://)[^/\s@]*@", rf"\1{MASK}@", text)


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
    found = _SCHEME.match(uri)
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


def _split(uri: str) -> tuple[str, str]:
    """What stands before the place, and the rest."""
    if uri.startswith(SQLITE):
        return SQLITE, uri.removeprefix(SQLITE)
    found = _SCHEME.match(uri)
    start = found.group() if found else ""
    return start, uri[len(start) :]


def _masked(piece: str) -> str:
    name, equals, _ = piece.partition("=")
    return f"{name}={MASK}" if equals else MASK


def _secrets(uri: str) -> set[str]:
    """Every text that the address keeps secret, as it stands there and as it is meant."""
    _, rest = _split(uri)
    found: set[str] = set()
    if "@" in rest and not uri.startswith(SQLITE):
        userinfo, _, rest = rest.rpartition("@")
        user, colon, password = userinfo.partition(":")
        found |= {userinfo, password if colon else user}
    tail = re.split(r"[?#]", rest, maxsplit=1)[1:]
    for piece in re.split(r"[&#]", tail[0]) if tail else []:
        found.add(piece.partition("=")[2] or piece)
    found |= {unquote(one) for one in found}
    return {one for one in found if len(one) >= _LEAST_SECRET}
