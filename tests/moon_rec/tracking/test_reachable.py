"""A tracking server is asked while a command's libraries load, so that it is told within ten seconds that one does not answer."""

import socket
import sys
import time

import pytest

from moon_rec import reachable
from moon_rec.tracking import Tracker, tracker


@pytest.fixture
def silent():
    """The address of a server that takes connections and never answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield f"http://me:hush@127.0.0.1:{taken.getsockname()[1]}"


def words(module: str, *rest: str) -> list[str]:
    return [sys.executable, "-m", module, "SHOP", *rest]


def test_the_time_that_libraries_take_to_load_counts(silent, monkeypatch, capsys):
    monkeypatch.setattr(reachable, "SECONDS", 0.3)
    monkeypatch.setattr(tracker, "SECONDS_TO_REACH", 30.0)
    monkeypatch.setattr(tracker, "Store", lambda *_: None)  # which loads MLflow, after the line
    monkeypatch.setattr(sys, "orig_argv", words("ranking.train", "--out", "x", "--track", silent))
    reachable.look_early()
    time.sleep(0.4)  # as they do
    start = time.monotonic()
    Tracker(silent)
    assert time.monotonic() - start < 5
    said = " ".join(capsys.readouterr().err.split())
    assert "does not answer (no answer within 0.3 seconds); the work goes on" in said
    assert "hush" not in said
    assert reachable._early is None  # a later tracker asks anew


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (words("exchange_rate.study", "--tracking=HTTP://a:1"), "HTTP://a:1"),
        (words("representation.posttrain", "--track", "https://a"), "https://a"),
        (words("ranking.train", "--track", "sqlite:///x.db"), ""),
        (words("ranking.train", "--track"), ""),
        (words("ranking.train", "--out", "http://a"), ""),
        (words("pytest", "--track", "http://a"), ""),
        ([sys.executable, "script.py", "-m", "ranking.train", "--track", "http://a"], ""),
    ],
)
def test_only_a_server_that_a_command_of_ours_was_given_is_asked(monkeypatch, given, found):
    asked = []
    monkeypatch.setattr(reachable, "Look", lambda uri, _: asked.append(uri))
    monkeypatch.setattr(sys, "orig_argv", given)
    reachable.look_early()
    monkeypatch.setattr(reachable, "_early", None)
    assert asked == [found] * bool(found)
    monkeypatch.setenv("RANK", "1")  # of several processes the first alone tracks
    reachable.look_early()
    assert len(asked) == bool(found)


def test_whatever_a_server_says_is_an_answer(server):
    reachable.wait_for_answer(server.uri, 5)
    reachable.wait_for_answer(f"{server.uri}/no/such/place", 5)


def test_who_does_not_take_part_is_told_as_the_system_says():
    with pytest.raises(ConnectionRefusedError):
        reachable.wait_for_answer("http://127.0.0.1:9", 5)
