"""A stand-in for a server, a journal of the test's own, and an empty SQLite store to copy."""

import shutil

import pytest

from moon_rec.tracking import sending, tracker
from moon_rec.tracking.store import Store
from tests.moon_rec.tracking.stand_in import StandIn


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Where journals of servers lie."""
    monkeypatch.delenv("MOON_REC_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state" / "moon_rec" / "journal"


@pytest.fixture
def server():
    one = StandIn().start()
    yield one
    one.stop()


@pytest.fixture
def impatient(monkeypatch):
    """Waits of tenths of a second, for what would be waited for in vain."""
    monkeypatch.setattr(tracker, "SECONDS_OF_PATIENCE", 0.5)
    monkeypatch.setattr(tracker, "SECONDS_TO_REACH", 0.5)
    monkeypatch.setattr(sending, "SECONDS_BETWEEN_SENDS", 0.01)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}", "moon_rec").open(create=True)
    return path


@pytest.fixture
def database(tmp_path, empty_store):
    """The file of a SQLite store of the test's own, without runs."""
    path = tmp_path / "tracked" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_store, path)
    return path
