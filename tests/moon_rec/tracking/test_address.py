"""No password, token or fragment of an address is ever shown; an address that can never work is refused at once."""

import pytest

from moon_rec.addresses import shown_words
from moon_rec.errors import StudyError
from moon_rec.kept import begin_command, what_is_kept
from moon_rec.tracking import Tracker, shown_uri, without_secrets
from moon_rec.tracking.commands import main as track

SHOWN = {
    "sqlite:///runs/mlflow.db": "sqlite:///runs/mlflow.db",
    "sqlite:////a/b@c#1/mlflow.db": "sqlite:////a/b@c#1/mlflow.db",
    "http://localhost:5000": "http://localhost:5000",
    "https://host/path/of/mlflow": "https://host/path/of/mlflow",
    "http://me:hush@host:5000/x": "http://***@host:5000/x",
    "http://:hush@host": "http://***@host",
    "http://hush@host": "http://***@host",
    "http://@host": "http://***@host",
    "http://me:p%40hush@host": "http://***@host",
    "http://me:a@hush@host": "http://***@host",
    "postgresql://me:hu/sh@host/db": "postgresql://***@host/db",
    "postgresql://me:hu?sh@host/db": "postgresql://***",
    "postgresql://me:hu#sh@host/db": "postgresql://***",
    "mysql+pymysql://me:hush@host/db?ssl=hush&hush": "mysql+pymysql://***@host/db?ssl=***&***",
    "postgresql://host/db?password=x@hush": "postgresql://***",
    "http://host/?token=hush": "http://host/?token=***",
    "http://host/#hush": "http://host/#***",
    "http:/me:hush@host": "http:/***@host",
    "htp:me:hush@host": "htp:***@host",
    "me:hush@host/db": "me:***@host/db",
    "hush@host": "***@host",
    "databricks://profile": "databricks://profile",
    "sqlite+pysqlcipher://:hush@/file.db": "sqlite+pysqlcipher://***@/file.db",
}


@pytest.mark.parametrize("uri", SHOWN)
def test_an_address_is_shown_without_what_may_be_secret(uri):
    assert shown_uri(uri) == SHOWN[uri]
    assert shown_uri(shown_uri(uri)) == shown_uri(uri)


def test_texts_of_others_are_shown_without_secrets():
    uri = "http://me:p%40ssword@host:5000"
    text = f"API request to {uri}/api failed for p@ssword, p%40ssword at http://you:x@host"
    shown = without_secrets(text, uri)
    assert "ssword" not in shown and "you" not in shown and "http://***@host:5000/api" in shown


def test_a_command_is_shown_without_secrets():
    words = ["ranking.train", "a@b", "--track", "me:hush@host", "--tracking=http://hush@host"]
    words += ["--set", "a=b@c", "postgresql://me:hush@host/db", "--resume"]
    assert shown_words(words) == [
        "ranking.train",
        "a@b",
        "--track",
        "me:***@host",
        "--tracking=http://***@host",
        "--set",
        "a=b@c",
        "postgresql://***@host/db",
        "--resume",
    ]


def test_a_command_that_is_stopped_shows_no_password():
    uri = "http://me:hush@127.0.0.1:9"
    begin_command(["python", "-m", "ranking.train", "shop", "--track", uri])
    assert "--track 'http://***@127.0.0.1:9'" in what_is_kept()
    begin_command([])


NEVER = {
    "htp://localhost:5000": "no store is known by 'htp'",
    "http:/localhost:5000": "names no host",
    "http://": "names no host",
    "http://host:port": "names no host and port",
    "http://host/?token=hush": "MLFLOW_TRACKING_TOKEN",
    "mysql+pymysql://me:hush@host/db": "pymysql is not installed",
    "postgresql://me:hush@host/db": "is not installed; install that package",
    "mysql+nothing://me:hush@host/db": "no driver is known",
    "mysql://me:hush@host:port/db": "is no database's address",
    "sqlite://mlflow.db": "names no file",
    "sqlite:///": "names no file",
    "sqlite:///:memory:": "names no file",
    "sqlite:///a.db?mode=hush": "'?' cannot stand",
    "./mlruns": "file store is deprecated",
    "file:///tmp/mlruns": "file store is deprecated",
    "": "file store is deprecated",
}


@pytest.mark.parametrize("uri", NEVER)
def test_an_address_that_can_never_work_is_refused(uri, tmp_path):
    with pytest.raises(StudyError) as refused:
        Tracker(uri)
    assert NEVER[uri] in str(refused.value)
    assert "hush" not in str(refused.value) and "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_no_password_is_printed_or_stored(server, state, tmp_path, capfd):
    uri = f"http://me:h%75sh@127.0.0.1:{server.port}"
    server.stop()
    with Tracker(uri) as tracker, tracker.run("work", "training", {"a": 1}, {}) as run:
        run.log({"loss": 1.0})
        assert tracker.finished("no such key") is None
    for words in (["list"], ["send"]):
        try:
            track(words)
        except StudyError as error:
            print(error)
    printed = "".join(capfd.readouterr())
    assert "--track URI" in printed and "***@127.0.0.1" in printed
    for path in tmp_path.rglob("*"):
        printed += str(path) + (path.read_text() if path.is_file() else "")
    assert "hush" not in printed and "h%75sh" not in printed
    server.start()
    track(["send", "--track", uri])
    assert len(server.run("work")["metrics"]) == 1 and not state.exists()
    assert "h%75sh" not in "".join(capfd.readouterr())
    assert "hush" not in str(server.runs) + str(server.experiments)
