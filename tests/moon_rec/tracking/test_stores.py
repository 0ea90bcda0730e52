"""SQLite stores: made once however many begin together, mended or refused when half made, never made by reading."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from moon_rec.errors import StudyError
from moon_rec.tracking import Tracker, database
from moon_rec.tracking.database import condition_of, create_store

OPENS = """
import sys
from moon_rec.tracking import Tracker
with Tracker(sys.argv[1]).run(sys.argv[2], "training", {}, {}) as run:
    run.log({"loss": 1.0})
"""


def together(folder):
    """Three processes that open one new store at the same time; what it holds then."""
    uri = f"sqlite:///{folder}/new/mlflow.db"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", OPENS, uri, str(number)], stderr=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    said = [one.communicate()[1] for one in started]
    assert [one.returncode for one in started] == [0, 0, 0], said
    assert said == ["", "", ""]
    found = Tracker(uri, must_exist=True).runs()
    assert sorted(one["name"] for one in found) == ["0", "1", "2"]
    assert all(one["metrics"] == {"loss": 1.0} for one in found)
    assert [path.name for path in (folder / "new").iterdir()] == ["mlflow.db"]


@pytest.mark.slow
@pytest.mark.parametrize("round", range(5))
def test_three_processes_open_one_new_store(tmp_path, round):
    together(tmp_path)


@pytest.fixture
def copied(monkeypatch, empty_store):
    """A new store is a copy that takes a moment; gives the places where one was made."""
    made = []

    def make(path, artifacts):
        made.append(path)
        time.sleep(0.05)
        shutil.copy(empty_store, path)

    monkeypatch.setattr(database, "_make_tables", make)
    return made


def test_of_many_that_begin_together_one_makes_the_store(tmp_path, copied):
    for number in range(20):
        path = tmp_path / str(number) / "mlflow.db"
        threads = [threading.Thread(target=create_store, args=(path,)) for _ in range(5)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(copied) == number + 1 and condition_of(path).is_there
        assert [one.name for one in path.parent.iterdir()] == ["mlflow.db"]


def test_what_a_kill_left_of_a_new_store_is_made_anew(tmp_path, copied):
    path = tmp_path / "mlflow.db"
    (tmp_path / ".mlflow.db.new").write_bytes(b"half of it" * 100)
    (tmp_path / ".mlflow.db.new-journal").write_bytes(b"more")
    create_store(path)
    assert condition_of(path).is_there
    assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"]


def half_made(path):
    with closing(sqlite3.connect(path)) as base:
        base.execute("drop table alembic_version")
        base.execute("delete from experiments")
        base.commit()


def test_a_half_made_store_is_mended_and_said(database, copied, monkeypatch, capsys):
    half_made(database)
    monkeypatch.setattr("moon_rec.tracking.database.SECONDS_AT_REST", 0.0)
    with Tracker(f"sqlite:///{database}").run("work", "training", {}, {}):
        pass
    assert "half made, without a run: it is made anew" in capsys.readouterr().err
    assert len(Tracker(f"sqlite:///{database}").runs()) == 1


def test_a_half_made_store_that_is_being_written_is_waited_for(
    database, copied, monkeypatch, empty_store
):
    half_made(database)
    monkeypatch.setattr("moon_rec.tracking.database.SECONDS_AT_REST", 5.0)
    done = threading.Timer(0.3, lambda: shutil.copy(empty_store, database))
    done.start()
    create_store(database)
    assert copied == [] and condition_of(database).is_there


@pytest.mark.parametrize(
    ("schema", "says"), [("0123456789ab", "newer MLflow"), ("451aebb31d03", "mlflow db upgrade")]
)
def test_a_store_of_another_version_is_refused(database, schema, says):
    with Tracker(f"sqlite:///{database}").run("work", "training", {}, {}):
        pass
    with closing(sqlite3.connect(database)) as base:
        base.execute("update alembic_version set version_num = ?", (schema,))
        base.commit()
    for must_exist in (False, True):
        with pytest.raises(StudyError, match=says):
            Tracker(f"sqlite:///{database}", must_exist=must_exist)


def test_a_locked_store_costs_nothing(database, monkeypatch, capsys):
    """Another process writes for longer than is waited for: the journal has the run, and it is sent later."""
    from moon_rec.tracking import tracker as module
    from moon_rec.tracking.commands import main as track

    monkeypatch.setattr(module, "SECONDS_FOR_SQLITE", 1.0)
    uri = f"sqlite:///{database}"
    tracker = Tracker(uri)
    with closing(sqlite3.connect(database)) as base:
        base.execute("begin immediate")
        with tracker.run("work", "training", {}, {}, "key") as run:
            run.log({"loss": 1.0})
        assert "not all in" in capsys.readouterr().err
        assert Tracker(uri).finished("key") == run.id
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            track(["send", "--track", uri])
            break
        except StudyError as error:
            assert "being written" in str(error)
            time.sleep(0.5)
    (found,) = Tracker(uri).runs()
    assert found["id"] == run.id and found["metrics"] == {"loss": 1.0}


KILLED_WITHIN_A_WRITE = """
import os, signal, sqlite3, sys
base = sqlite3.connect(sys.argv[1], isolation_level=None)
base.execute("pragma cache_size = 2")
base.execute("begin immediate")
for number in range(500):
    base.execute("insert into experiments (name) values (?)", (f"{number}" * 100,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_store_whose_writer_was_killed_goes_on_without_what_it_had_begun(database):
    subprocess.run([sys.executable, "-c", KILLED_WITHIN_A_WRITE, str(database)], check=False)
    assert database.with_name(f"{database.name}-journal").stat().st_size, "nothing was begun"
    assert condition_of(database).is_there
    with closing(sqlite3.connect(database)) as base:
        assert base.execute("select count(*) from experiments").fetchone()[0] < 10


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_readers_make_nothing(tmp_path, database):
    with Tracker(f"sqlite:///{database}").run("work", "training", {}, {}) as run:
        run.json({"a": 1}, "about.json")
    reader_of = {"there": database, "not there": tmp_path / "none" / "mlflow.db"}
    (tmp_path / "empty.db").touch()
    reader_of["empty"] = tmp_path / "empty.db"
    before = listing(tmp_path)
    for path in reader_of.values():
        try:
            reader = Tracker(f"sqlite:///{path}", must_exist=True)
            assert reader.read_json(reader.runs()[0]["id"], "about.json") == {"a": 1}
        except StudyError:
            assert path != database
    with pytest.raises(StudyError, match="no experiment 'other'"):
        Tracker(f"sqlite:///{database}", "other", must_exist=True)
    assert listing(tmp_path) == before


def test_a_tracker_makes_nothing_before_its_first_run(tmp_path):
    tracker = Tracker(f"sqlite:///{tmp_path}/new/mlflow.db")
    assert tracker.runs() == [] and tracker.finished("key") is None
    assert listing(tmp_path) == []


def open_handles(database):
    """How many handles this process has on a file."""
    handles = Path("/proc/self/fd")
    return sum(one.is_symlink() and os.readlink(one) == str(database) for one in handles.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="handles are counted in /proc")
def test_no_connection_stays_open_after_a_run_or_a_look(tmp_path, empty_store):
    """Each keeps pages and statements in memory, of a store that grows ever more."""
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    with Tracker(f"sqlite:///{database}") as tracker:
        for number in range(3):
            with tracker.run(str(number), "training", {}, {}) as run:
                run.log({"loss": 1.0})
    assert open_handles(database) == 0
    reader = Tracker(f"sqlite:///{database}", must_exist=True)
    assert len(reader.runs()) == 3
    assert open_handles(database) == 0
    assert len(reader.runs()) == 3, "it opens again"
