"""What all tests share: repeatable hypothesis runs, quiet MLflow, and the folder of real data."""

import gc
import os
import signal
import sqlite3
from pathlib import Path

import hypothesis
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Hardly anything of what is loaded until all tests are found is garbage: `pytest_collection_finish` turns the collector on.
gc.disable()

# No test pulls the plug: what is written need not be on the disk. Tests of that order watch the calls; commands in processes of their own make them.
os.fsync = lambda handle: None

# A shell starts jobs in the background with Ctrl-C ignored, and so it would stay for the commands that tests stop by it.
for each, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(each) is signal.SIG_IGN:
        signal.signal(each, handler)

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


LONG = (
    "moon_rec/test_outputs.py",
    "ranking/training/test_distributed.py",
    "settings/test_effects.py",
    "ranking/training/test_training.py",
    "ranking/ways/test_ways.py",
    "test_examples.py",
    "test_faults.py",
    "moon_rec/tracking/test_delivery.py",
    "ranking/test_stopped.py",
    "representation/posttraining/test_one_or_many.py",
    "ranking/test_model.py",
    "exchange_rate/report/test_report.py",
    "representation/training/test_distributed.py",
    "representation/pretraining/test_two_processes.py",
    "representation/training/test_picture_file.py",
    "representation/posttraining/test_step_memory.py",
    "representation/posttraining/test_stopped.py",
    "ranking/ways/test_orphans.py",
    "moon_rec/test_signals.py",
    "exchange_rate/study/test_study.py",
    "test_nothing_is_run.py",
)
"""Files of few tests that take long, the longest first: a file is one process's work, and the last one's is everybody's. Before them the one that forks hundreds of times: a small process is sooner copied."""


def pytest_collection_modifyitems(items):
    """The long files begin; all others keep their order."""
    root = Path(__file__).parent
    places = {root / name: place for place, name in enumerate(LONG)}
    assert all(path.is_file() for path in places), "a file of LONG is gone"
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish():
    """What was loaded stays to the end: the collector need not look through it again and again (a twentieth of the time)."""
    _freeze()
    gc.set_threshold(10_000, 20, 10)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Nor through what a file of tests has left, which are libraries loaded on the way and fixtures of the session."""
    if nextitem is not None and nextitem.path != item.path:
        _freeze()


def _freeze():
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def stores_are_not_flushed():
    """SQLite waits for the disk at every commit, of which a tracked run has several; as above, no test pulls the plug."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def connected(connection, _):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.fixture(scope="session", autouse=True)
def migrations_are_read_once():
    """MLflow reads sixty modules of migrations for each store it opens, to learn the newest version of its tables."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, {}

    def from_config(config):
        place = config.get_main_option("script_location")
        return known.get(place) or known.setdefault(place, read(config))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", staticmethod(from_config))
        yield


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; the test is skipped where there is none."""
    from moon_rec import data_folder

    folder = data_folder()
    if folder is None:
        pytest.skip("no real data: set MOON_REC_DATA to a folder with myntra/, movielens/ ...")
    return folder
