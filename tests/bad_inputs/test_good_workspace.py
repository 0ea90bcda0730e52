"""What the catalogue's cases stand on: the workspace is good before it is broken, and the cases are many."""

import importlib
from pathlib import Path

from moon_rec.__main__ import main as moon_rec
from moon_rec.embedding_table import EmbeddingTable

FEWEST_CASES = 1_200


def test_the_workspace_is_good(workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    assert moon_rec(["shop", "check", "shop"]) == 0
    assert moon_rec(["shop", "import", "tables", "--data", "tables", "--out", "new"]) == 0
    assert len(EmbeddingTable.open(workspace / "items")) == 117


def test_the_catalogue_is_large_and_its_names_are_unique():
    names = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.bad_inputs.{file.stem}")
        names += [case.name for case in getattr(module, "CASES", [])]
    assert len(set(names)) == len(names)
    assert len(names) >= FEWEST_CASES
