"""The small form of `python -m benchmarks.faults`: cheap commands, killed before some of their renames and stopped, gone on with, compared bit for bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faulting.contents import contents, differences
from benchmarks.faulting.faults import Fault, Watch

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "command",
    [
        "train",
        # what stands in its place is exchanged as `tests/moon_rec/test_outputs.py` has it killed between any two calls
        pytest.param("simulate over another", marks=pytest.mark.slow),
    ],
)
def test_killed_before_renames_and_stopped_all_go_on_to_the_same_bits(command, tmp_path):
    """In a process of its own, for children of one that has used polars wait for ever."""
    words = ["--command", command]
    words += ["--signal", "kill", "term", "--when", "renames", "--most-renames", "1"]
    out = tmp_path / "faults.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.faults", *words, "--out", str(out)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    rows = json.loads(out.read_text())["rows"]
    assert [row["command"] for row in rows] == [command, command]
    for row in rows:
        assert row["struck"] == row["trials"] == row["same bits"] == 1, row
        assert row["one line"] == (1 if row["fault"].startswith("term") else 0), row


@pytest.mark.parametrize("kind", ["missing", "differs", "left beside the output"])
def test_a_difference_is_told(tmp_path, kind):
    (tmp_path / "table.json").write_text('{"rows": 1, "seconds": 2.5}')
    wanted = contents(tmp_path)
    (tmp_path / "table.json").write_text('{"rows": 1, "seconds": 9.5}')
    assert differences(contents(tmp_path), wanted) == []  # how long it took may differ
    if kind == "missing":
        (tmp_path / "table.json").unlink()
    elif kind == "differs":
        (tmp_path / "table.json").write_text('{"rows": 2, "seconds": 2.5}')
    else:
        (tmp_path / ".table.json.tmp").touch()
    assert [line.split(":")[0] for line in differences(contents(tmp_path), wanted)] == [kind]


def test_moves_and_openings_below_the_folder_are_counted(tmp_path):
    """The watch itself, told what a process does."""
    watch = Watch(str(tmp_path), Fault())
    watch._see("open", (str(tmp_path / "a"), "w", 0o1101))
    watch._see("open", (str(tmp_path / "a"), "r", 0))
    watch._see("open", ("/elsewhere", "w", 0o1101))
    watch._see("os.rename", (str(tmp_path / "a"), str(tmp_path / "b"), -1, -1))
    watch._see("os.remove", ("/elsewhere/c", -1))
    watch._see("os.remove", ("inside a folder that rmtree holds open", 7))
    assert (watch.num_openings, watch.num_moves) == (1, 2)


def test_a_full_disk_comes_at_the_opening_asked_for(tmp_path):
    watch = Watch(str(tmp_path), Fault("full", opening=1))
    watch._see("open", (str(tmp_path / "a"), "w", 0o1101))
    with pytest.raises(OSError, match="No space left on device"):
        watch._see("open", (str(tmp_path / "b"), "w", 0o1101))
