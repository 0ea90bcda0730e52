"""A server may be dead, late, out of order or silent: the work ends as it would without, and each figure arrives once."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from moon_rec.tracking import Tracker
from moon_rec.tracking.commands import main as track

pytestmark = pytest.mark.usefixtures("impatient")


def work(tracker, between=lambda: None, before_end=lambda: None):
    """A run of ten figures, a document and a file; gives its id."""
    with tracker.run("work", "training", {"a": {"b": 1}}, {"shop": "abc"}, "key") as run:
        for step in range(10):
            run.log({"loss": 1.0 / (step + 1)}, step)
            if step == 4:
                between()
        run.json({"value": [1]}, "about.json")
        before_end()
    return run.id


def check_whole(server, run_id, status="FINISHED"):
    """The server has exactly one run, with each figure once and of the time of its making."""
    run = server.run("work")
    assert run["info"]["status"] == status
    assert run["tags"]["moon_rec.run"] == run_id and run["params"] == {"a.b": "1"}
    figures = [(one["key"], int(one.get("step", 0)), one["value"]) for one in run["metrics"]]
    assert figures == [("loss", step, 1.0 / (step + 1)) for step in range(10)]
    assert all(0 <= time.time() * 1000 - int(one["timestamp"]) < 60_000 for one in run["metrics"])
    assert [name.rpartition("/")[2] for name in server.files] == ["about.json"]


def sent(tracker):
    """Wait until the thread has sent what there is."""
    tracker._sender.settle(5)


def test_a_server_that_answers_has_all_and_no_journal_stays(server, state, capsys):
    run_id = work(Tracker(server.uri))
    check_whole(server, run_id)
    assert not state.exists() and capsys.readouterr().err == ""


def stop_at(moment, server):
    tracker = None

    def stop():
        sent(tracker)
        server.stop()

    if moment == "start":
        server.stop()
    tracker = Tracker(server.uri)
    moments = {"middle": {"between": stop}, "end": {"before_end": stop}}
    return tracker, moments.get(moment, {})


@pytest.mark.parametrize("moment", ["start", "middle", "end"])
def test_a_server_dead_at_start_middle_end_costs_nothing_and_is_sent_later(
    moment, server, state, capsys
):
    tracker, hooks = stop_at(moment, server)
    run_id = work(tracker, **hooks)
    said = capsys.readouterr().err
    assert f"python -m moon_rec track send {state}" in said and "Connection refused" in said
    assert said.count("1 run is not all in") == 1
    # readers in this process see the run all the same
    assert tracker.finished("key") == run_id
    assert tracker.read_json(run_id, "about.json") == {"value": [1]}
    assert tracker.fetch(run_id, "about.json").name == "about.json"
    server.start()
    track(["send"])
    check_whole(server, run_id)
    assert not state.exists()
    assert "sent 1 run" in capsys.readouterr().out


def test_a_server_that_comes_back_is_sent_all_before_the_end(server, state):
    def come_back():
        server.start()

    server.stop()
    tracker = Tracker(server.uri)
    run_id = work(tracker, before_end=come_back)
    check_whole(server, run_id)
    assert not state.exists()


@pytest.mark.parametrize("fault", ["error", "late", "hang"])
def test_faulty_answers_cost_nothing_and_nothing_arrives_twice(fault, server, state, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")

    def begin():
        sent(tracker)
        server.fault = fault

    tracker = Tracker(server.uri)
    begun = time.monotonic()
    run_id = work(tracker, between=begin)
    assert time.monotonic() - begun < 10
    time.sleep(1.2 if fault == "hang" else 0.1)
    server.fault = ""
    server._free.set()
    track(["send"])
    check_whole(server, run_id)
    assert not state.exists()


def test_a_server_silent_from_the_start_is_told_at_once(server, state, capsys):
    server.fault = "hang"
    begun = time.monotonic()
    tracker = Tracker(server.uri)
    assert time.monotonic() - begun < 3
    assert (
        "does not answer (no answer within 0.5 seconds); the work goes on"
        in capsys.readouterr().err
    )
    with tracker.run("work", "training", {}, {}):
        pass
    assert time.monotonic() - begun < 6 and len(list(state.iterdir())) == 1


def test_many_trackers_leave_no_threads_and_no_handles(server):
    def all_open():
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    uris = (server.uri, "http://127.0.0.1:9")
    for number in range(12):
        for uri in uris:
            with Tracker(uri).run(f"{number}", "training", {}, {}):
                pass
        if number == 1:
            before = all_open()
    assert all_open() <= before


def test_a_server_that_makes_a_run_without_answering_has_one_run_in_the_end(server, state):
    tracker = Tracker(server.uri)
    server.fault = "late create"
    run_id = work(tracker)
    made = len(server.runs)
    server.fault = ""
    track(["send"])
    alive = [run for run in server.runs.values() if run["info"]["lifecycle_stage"] == "active"]
    assert made >= 1 and len(alive) == 1
    server.runs = {run["info"]["run_id"]: run for run in alive}
    check_whole(server, run_id)


def test_a_slow_server_keeps_no_step_waiting(server):
    tracker = Tracker(server.uri)
    server.delay = 0.15
    steps = []
    with tracker.run("work", "training", {}, {}) as run:
        for step in range(50):
            begun = time.monotonic()
            run.log({"loss": 1.0}, step)
            steps.append(time.monotonic() - begun)
    assert sorted(steps)[45] < 0.1
    assert len(server.run("work")["metrics"]) == 50


def test_what_a_server_never_takes_is_told_and_the_rest_arrives(server, state, capsys):
    server.refuse = lambda path, body: any(
        one.get("step") in (3, "3") for one in body.get("metrics", [])
    )
    work(Tracker(server.uri))
    steps = [int(one.get("step", 0)) for one in server.run("work")["metrics"]]
    assert steps == [step for step in range(10) if step != 3]
    tags = server.run("work")["tags"]
    assert any("not this one" in value for name, value in tags.items() if "refused" in name)
    assert "refused one of 'work'" in capsys.readouterr().err and not state.exists()


def test_a_run_deleted_meanwhile_is_kept_in_the_journal(server, state, capsys):
    def delete():
        sent(tracker)
        server.run("work")["info"]["lifecycle_stage"] = "deleted"
        server.refuse = lambda path, body: path == "runs/log-batch"

    tracker = Tracker(server.uri)
    work(tracker, between=delete)
    assert "was deleted in the store" in capsys.readouterr().err
    assert len(list(state.iterdir())) == 1


def test_a_store_that_was_emptied_is_sent_all_anew(server, state):
    def empty():
        sent(tracker)
        server.runs, server.experiments, server.files = {}, {}, {}

    tracker = Tracker(server.uri)
    run_id = work(tracker, between=empty)
    track(["send"])
    check_whole(server, run_id)


def test_files_that_cannot_be_sent_keep_no_figure_waiting(server, state, capsys, monkeypatch):
    whole = server._do

    def no_files(method, parts, body):
        if method == "PUT":
            return 503, {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "no room"}
        return whole(method, parts, body)

    monkeypatch.setattr(server, "_do", no_files)
    run_id = work(Tracker(server.uri))
    assert server.run("work")["info"]["status"] == "FINISHED"
    assert "about.json cannot be sent" in capsys.readouterr().err
    monkeypatch.setattr(server, "_do", whole)
    track(["send"])
    check_whole(server, run_id)


def test_a_command_says_in_one_line_what_several_runs_have_not_sent(server, capsys):
    server.stop()
    with Tracker(server.uri) as tracker, tracker.run("study", "study", {}, {}) as study:
        for number in range(3):
            with tracker.run(f"cell {number}", "ranker", {}, {}, f"k{number}", study.id):
                pass
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2 and "does not answer" in said[0] and "4 runs are not all in" in said[1]


def test_children_find_their_parent_whenever_they_are_sent(server):
    server.stop()
    tracker = Tracker(server.uri)
    with (
        tracker.run("study", "study", {}, {}) as study,
        tracker.run("work", "ranker", {}, {}, parent=study.id),
    ):
        pass
    server.start()
    track(["send"])
    parent = server.run("study")["info"]["run_id"]
    assert server.run("work")["tags"]["mlflow.parentRunId"] == parent
    (found,) = Tracker(server.uri).runs(parent=study.id)
    assert found["name"] == "work"


KILLED = """
import os, signal, sys
from moon_rec.tracking import Tracker
tracker = Tracker(sys.argv[1])
with tracker.run("work", "training", {"a": {"b": 1}}, {}) as run:
    for step in range(10):
        run.log({"loss": 1.0 / (step + 1)}, step)
    run.json({"value": [1]}, "about.json")
    tracker._sender.settle(30)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_one_run_marked_killed(server, state, capsys):
    subprocess.run([sys.executable, "-c", KILLED, server.uri], check=False)
    (folder,) = state.iterdir()
    (folder / "sent.json").unlink()  # as if the kill had come before it was written
    track(["send"])
    check_whole(server, folder.name, "KILLED")
    assert "ended without a word" in capsys.readouterr().err and not state.exists()


def test_what_a_killed_command_left_goes_with_the_next_one_of_the_store(server, state, capsys):
    subprocess.run([sys.executable, "-c", KILLED, server.uri], check=False)
    (folder,) = state.iterdir()
    (folder / "sent.json").unlink()
    with Tracker(server.uri).run("another", "training", {}, {}):
        pass
    check_whole(server, folder.name, "KILLED")
    said = capsys.readouterr().err
    assert "1 run that earlier commands left in the journal: sent" in said and not state.exists()
