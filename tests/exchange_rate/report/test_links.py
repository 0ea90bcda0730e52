"""Links of the report into a real MLflow server: each answers, and names the run that its row names."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from exchange_rate.report.write import write_report
from exchange_rate.study.run import run_study
from moon_rec.command import run
from moon_rec.tracking import Tracker
from moon_rec.tracking.commands import main as send

SECONDS = 300.0


@pytest.fixture
def server(tmp_path, empty_store):
    """The address of an MLflow server with a SQLite store, on a free port of this machine."""
    shutil.copy(empty_store, tmp_path / "server.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, port = address.split(":")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--artifacts-destination", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, start_new_session=True)  # fmt: skip
    try:
        end = time.monotonic() + SECONDS
        while not _answers(f"http://{address}/health"):
            assert process.poll() is None and time.monotonic() < end, (tmp_path / "server.log").read_text()  # fmt: skip
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # a busy machine: its workers take long to end
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _deliver(server: str) -> None:
    """Send what a busy machine has left in the journal: of that a server has no page yet."""
    end = time.monotonic() + SECONDS
    while not all(one.get("page") for one in Tracker(server, must_exist=True).runs()):
        assert time.monotonic() < end
        assert run(send, ["send"]) == 0


@pytest.mark.slow
def test_every_link_answers_and_names_its_run(server, shop, small, planted, tmp_path, monkeypatch):
    monkeypatch.setenv("MOON_REC_JOURNAL", str(tmp_path / "journal"))
    with Tracker(server) as tracker:
        run_study(shop, small, tmp_path / "work", tracker, workers=1)
    _deliver(server)
    report = write_report(Tracker(server, must_exist=True), tmp_path / "report")
    runs = {one.link: one for one in report.results.runs}
    page = report.page.read_text()
    links = set(re.findall(rf'href="({re.escape(server)}[^"]*)"', page))
    assert len(runs) == len(report.results.runs) > 10 and links == set(runs)
    for link, one in runs.items():
        assert _answers(link), link
        found = re.fullmatch(rf"{re.escape(server)}/#/experiments/(\d+)/runs/(\w+)", link)
        assert found is not None, link
        with urllib.request.urlopen(f"{server}/api/2.0/mlflow/runs/get?run_id={found[2]}") as answer:  # fmt: skip
            told = json.load(answer)["run"]
        assert told["info"]["experiment_id"] == found[1]
        assert told["info"]["run_name"] == one.name
        tags = {tag["key"]: tag["value"] for tag in told["data"]["tags"]}
        assert tags["moon_rec.run"] == one.id
        if one.auc is not None:
            assert {"auc": one.auc}.items() <= {tag["key"]: tag["value"] for tag in told["data"]["metrics"]}.items()  # fmt: skip
