"""Processes of `ranking.ways` end with it: at a signal within seconds, and even when it is killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.stopping import start, wait_for

SIZES = [
    "batch_size=8",
    "tower=[4]",
    "embedding_dim=2",
    "attention_dim=2",
    "epochs=50",
    "unknown_rate=0.1",
]


@pytest.fixture(scope="module")
def words(planted, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("vectors")
    planted.items.save(folder / "items")
    shop, items = planted.shop.path, folder / "items"
    words = ["ranking.ways", str(shop), "--items", str(items), "--out", str(folder / "out")]
    words += ["--way", "simtier", "--no-permuted", "--no-cost", "--processes", "2"]
    return [*words, *(word for size in SIZES for word in ("--set", size))]


def children_of(pid: int) -> dict[int, str]:
    """Processes whose parent it is, with the words they were started by."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            words = (status.parent / "cmdline").read_text()
        except OSError:
            continue
        if parent == pid:
            found[int(status.parent.name)] = words
    return found


def trainers_of(pid: int) -> set[int]:
    return {child for child, words in children_of(pid).items() if "spawn_main" in words}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL]
)
def test_no_trainer_is_left(words, tmp_path, how):
    errors = tmp_path / "errors"
    child = start(words, errors)
    try:
        wait_for(lambda: len(trainers_of(child.pid)) == 2, child, errors)
        trainers = trainers_of(child.pid)
        wait_for(lambda: all(_threads(each) > 3 for each in trainers), child, errors)
        sent = time.monotonic()
        child.send_signal(how)
        code = child.wait(30)
        wait_for(lambda: not any(Path(f"/proc/{each}").exists() for each in trainers))
        assert time.monotonic() - sent < 15
    finally:
        child.kill()
        child.wait()
    if how == signal.SIGTERM:
        assert code == 143
        (line,) = [one for one in errors.read_text().splitlines() if one.startswith("stopped")]
        assert "no ranker is finished yet" in line and "--processes 2" in line
    assert "Traceback" not in errors.read_text()


def _threads(pid: int) -> int:
    """A trainer that works has more than one."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0
