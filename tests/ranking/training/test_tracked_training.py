"""A ranker is the same to the bit whatever becomes of the server that follows its training."""

import threading

import polars as pl
import pytest

from moon_rec.command import run
from moon_rec.tracking import sending, tracker
from moon_rec.tracking.commands import main as track
from ranking.train import main
from tests.moon_rec.tracking.stand_in import StandIn
from tests.ranking.conftest import plant_part

WORDS = ["--content", "none", "--set", "batch_size=16", "--set", "epochs=1"]


def train(planted, out, *words):
    assert run(main, [str(planted.shop.path), "--out", str(out), *WORDS, *words]) == 0
    return {path.name: path.read_bytes() for path in out.glob("*.safetensors")}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Half of the requests: a hundred steps and some, so that figures are sent on the way."""
    return plant_part(tmp_path_factory.mktemp("planted"), pl.col("request_id") % 2 == 1)


@pytest.fixture(scope="module")
def untracked(planted, tmp_path_factory):
    return train(planted, tmp_path_factory.mktemp("untracked") / "ranker")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.delenv("MOON_REC_JOURNAL", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(tracker, "SECONDS_OF_PATIENCE", 1.0)
    monkeypatch.setattr(sending, "SECONDS_BETWEEN_SENDS", 0.01)
    return tmp_path / "state" / "moon_rec" / "journal"


def test_a_dead_server_changes_no_bit_of_a_ranker(planted, untracked, tmp_path, capsys):
    assert untracked
    assert train(planted, tmp_path / "ranker", "--track", "http://127.0.0.1:9") == untracked
    said = capsys.readouterr().err
    assert "does not answer (Connection refused)" in said
    assert "1 run is not all in http://127.0.0.1:9" in said and "moon_rec track send" in said


@pytest.mark.parametrize("fault", ["killed", "hang", "error"])
def test_a_server_that_fails_midway_changes_no_bit_and_gets_all_later(
    fault, planted, untracked, tmp_path, state, capsys
):
    server = StandIn().start()

    def fail():
        if fault == "killed":
            server.stop()
        else:
            server.fault = fault

    def fails_at_the_first_figures(path, body):
        if path == "runs/log-batch" and body.get("metrics"):
            threading.Thread(target=fail).start()
            server.refuse = lambda path, body: False
        return False

    server.refuse = fails_at_the_first_figures
    try:
        assert train(planted, tmp_path / "ranker", "--track", server.uri) == untracked
        assert "not all in" in capsys.readouterr().err
        server.fault = ""
        server.stop()
        server.start()
        (folder,) = state.iterdir()
        for _ in range(100):  # a call that hangs may still hold the run
            if run(track, ["send"]) == 0:
                break
            threading.Event().wait(0.3)
        found = server.run("ranker")
        assert (
            found["info"]["status"] == "FINISHED" and found["tags"]["moon_rec.run"] == folder.name
        )
        once = {(one["key"], one.get("step", 0)) for one in found["metrics"]}
        assert len(once) == len(found["metrics"]) >= 2
    finally:
        server.stop()
