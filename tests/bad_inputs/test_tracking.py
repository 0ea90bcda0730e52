"""Bad tracking stores, servers and journals: refused in one line before any work, or handled and said."""

import atexit
import functools
import json
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from moon_rec.tracking import Tracker
from moon_rec.tracking.journal import VERSION
from moon_rec.tracking.store import Store
from tests.bad_inputs.harness import Case, check

DEAD = "http://127.0.0.1:9"
RUN = "18eba8990f66c71ffa42cef3c873efbb"


@functools.cache
def empty_store() -> Path:
    """The file of a store without runs, made once."""
    path = Path(tempfile.mkdtemp(prefix="moon_rec-store-")) / "mlflow.db"
    Store(f"sqlite:///{path}", "moon_rec").open(create=True)
    return path


@functools.cache
def silent_port() -> int:
    """A port where connections are taken and never answered."""
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen()
    atexit.register(silent.close)
    return silent.getsockname()[1]


def train(uri: str, says: tuple[str, ...], name: str, damage=lambda folder: None) -> Case:
    return Case(
        f"tracking: {name}", f"ranking.train shop --out new --track {uri}", says, damage=damage
    )


def text(folder: Path) -> None:
    (folder / "notes.txt").write_text("to do " * 100)


def other_database(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as base:
        base.execute("create table invoices (id integer)")


def store(*statements: str) -> Callable[[Path], None]:
    """A store of its own in the workspace, changed."""

    def damage(folder: Path) -> None:
        shutil.copy(empty_store(), folder / "mlflow.db")
        with closing(sqlite3.connect(folder / "mlflow.db")) as base:
            for statement in statements:
                base.execute(statement)
            base.commit()

    return damage


def journal(*lines: object, uri: str = DEAD, version: int = VERSION) -> Callable[[Path], None]:
    """A journal of one run, `waiting/`: its opening, then `lines`; a text is written as it is."""

    def damage(folder: Path) -> None:
        run = folder / "waiting" / RUN
        run.mkdir(parents=True)
        opening = {"op": "open", "version": version, "id": RUN, "name": "work", "time": 1}
        opening |= {"uri": uri, "experiment": "moon_rec", "tags": {"moon_rec.run": RUN}}
        texts = [one if isinstance(one, str) else json.dumps(one) + "\n" for one in lines]
        (run / "entries.jsonl").write_text(json.dumps(opening) + "\n" + "".join(texts))

    return damage


def send(name: str, says: tuple[str, ...], damage, options: str = "", told: bool = False) -> Case:
    words = f"moon_rec track send waiting {options}"
    return Case(f"tracking: a journal {name}", words, says, damage=damage, told=told)


def log(**figures: float) -> Callable[[Path], object]:
    def action(folder: Path) -> object:
        tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
        with tracker.run("work", "training", {}, {}) as run:
            run.log(figures, 3)
        (found,) = tracker.runs()
        return found["metrics"], sorted(found["tags"].items())

    return action


def long_settings(folder: Path) -> object:
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}")
    with tracker.run("work", "training", {"long": "x" * 9000, "n" * 300: 1, "a//b": 2}, {}) as run:
        pass
    (found,) = tracker.runs()
    return found["params"], len(tracker.read_json(run.id, "long_params.json")["long"])


def lost_file(folder: Path) -> None:
    store()(folder)
    with Tracker(f"sqlite:///{folder / 'mlflow.db'}").run("work", "training", {}, {}) as run:
        run.json({}, "study.json")
    for path in (empty_store().parent / "artifacts").rglob("study.json"):
        path.unlink()


def fetch(folder: Path) -> object:
    reader = Tracker(f"sqlite:///{folder / 'mlflow.db'}", must_exist=True)
    return reader.fetch(reader.runs()[0]["id"], "study.json")


REPORT = "exchange_rate.report --out new --tracking"
CASES = [
    train("htp://localhost:5000", ("no store is known by 'htp'", "sqlite:///mlflow.db"), "a scheme misspelt"),
    train("http:/localhost:5000", ("names no host", "http://localhost:5000"), "a slash too few"),
    train("http://me:hush@host:5o00", ("names no host and port", "***@host"), "a port that is no number"),
    train("https://host/?token=hush", ("?token=***", "MLFLOW_TRACKING_TOKEN"), "a token in the address"),
    train("mysql+pymysql://me:hush@host/db", ("pymysql is not installed", "***@host"), "a driver that is missing"),
    train("postgresql://me:hush@host/db", ("is not installed", "install that package"), "a database's usual driver missing"),
    train("mysql+no://me:hush@host/db", ("no driver is known by 'mysql+no'",), "a driver that nobody knows"),
    train("sqlite://mlflow.db", ("names no file", "sqlite:///mlflow.db"), "SQLite with two slashes"),
    train("./mlruns", ("file store is deprecated",), "a folder of files"),
    train("sqlite:///shop", ("shop is a folder",), "a database that is a folder"),
    train("sqlite:///notes.txt", ("notes.txt is no SQLite database",), "a database that is a text", text),
    train("sqlite:///mlflow.db", ("holds invoices", "name another file"), "the database of something else", other_database),
    train("sqlite:///notes.txt/deep/mlflow.db", ("cannot be written", "name another place"), "a folder inside a file", text),
    train("sqlite:////proc/none/mlflow.db", ("/proc/none cannot be written",), "a folder that cannot be"),
    train("sqlite:///mlflow.db", ("'moon_rec' was deleted", "mlflow experiments restore"), "a deleted experiment", store("update experiments set lifecycle_stage = 'deleted' where name = 'moon_rec'")),
    train("sqlite:///mlflow.db", ("newer MLflow (schema ffff)", "install that one"), "a store of a newer MLflow", store("update alembic_version set version_num = 'ffff'")),
    train("sqlite:///mlflow.db", ("older MLflow (schema 451aebb31d03)", "mlflow db upgrade"), "a store of an older MLflow", store("update alembic_version set version_num = '451aebb31d03'")),
    Case("tracking: the report of a dead server", f"{REPORT} http://me:hush@127.0.0.1:9", ("Connection refused", "***@127.0.0.1:9")),
    Case("tracking: the report of a half-made store", f"{REPORT} sqlite:///mlflow.db", ("half made",), store("drop table alembic_version", "delete from experiments")),
    Case("tracking: the report of a server that never answers", lambda folder: Tracker(f"http://127.0.0.1:{silent_port()}", must_exist=True), ("no answer within",)),
    Case("tracking: a run without its file", fetch, ("its artifact study.json cannot be read", "put the store's artifacts back"), lost_file),
    Case("tracking: send without a journal", "moon_rec track send nowhere", ("no journal at nowhere",)),
    Case("tracking: send to an address that can never work", "moon_rec track send shop --track htp://x", ("no store is known by 'htp'",)),
    send("that a dead server is sent", ("Connection refused", "all of it is kept"), journal()),
    send("with a damaged line", ("line 3: no entry of a journal", "mend or remove that line"), journal({"op": "params", "params": {}}, "{torn\n", {"op": "end", "status": "FINISHED", "time": 2})),
    send("of another version", ("no journal of this version (wanted 1)",), journal(version=9)),
    send("whose password is not kept", ("had a password", "--track URI"), journal(uri="http://***@127.0.0.1:9")),
    send("with a torn last line", ("12 bytes of a torn last line are cut off", "sent 1 run"), lambda folder: (store()(folder), journal('{"op":"param')(folder)), "--track sqlite:///mlflow.db", told=True),
    send("of a killed process", ("ended without a word: it is marked KILLED",), lambda folder: (store()(folder), journal()(folder)), "--track sqlite:///mlflow.db", told=True),
    send("torn in its first line", ("it holds no run and is removed",), lambda folder: (journal()(folder), (folder / "waiting" / RUN / "entries.jsonl").write_text('{"op":"op')), told=True),
    Case("tracking: an infinity logged", log(loss=float("inf"), auc=0.5), ("loss is inf at step 3", "('moon_rec.not_finite.loss', 'inf at step 3')", "{'auc': 0.5}"), store(), told=True),
    Case("tracking: a NaN logged", log(loss=float("nan")), ("loss is nan at step 3", "kept as a tag"), store(), told=True),
    Case("tracking: settings and names that are too long", long_settings, ("too long for MLflow are cut", "9,000 characters", "'a/_/b': '2'", "9000)"), store(), told=True),
    Case("tracking: a server that is dead", "representation.curate shop --out new --items items --queries queries --track http://me:hush@127.0.0.1:9", ("does not answer (Connection refused)", "1 run is not all in http://***@127.0.0.1:9", "python -m moon_rec track send"), told=True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_tracking(case, workspace, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("MOON_REC_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    check(case, workspace, capsys, monkeypatch)
    assert "hush" not in "".join(capsys.readouterr())
