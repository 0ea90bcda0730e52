"""Outputs: marks, refusals, and that a folder is the old one or the new one at every moment."""

from pathlib import Path

import pytest

from moon_rec.errors import MoonRecError
from moon_rec.files import atomic_file, write_json
from moon_rec.outputs import OutputKind, atomic_folder, check_output, json_with

THING = OutputKind("a thing", "thing.json", json_with("thing"), ("data", "below/*.txt"))


def make(folder: Path, value: object = 1, overwrite: bool = False) -> Path:
    """A thing whose two files agree."""
    with atomic_folder(folder, THING, overwrite) as inside:
        (inside / "data").write_text(str(value))
        (inside / "below").mkdir()
        (inside / "below" / "one.txt").write_text("text")
        write_json(inside / "thing.json", {"thing": value})
    return folder


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.json") as path:
        path.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "folder", THING) as folder:
        (folder / "part").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_only_when_asked(tmp_path):
    out = make(tmp_path / "out", "old")
    with pytest.raises(MoonRecError, match="exists already; --overwrite replaces it"):
        make(out, "new")
    assert (out / "data").read_text() == "old"
    check_output(out, THING, overwrite=True)
    make(out, "new", overwrite=True)
    assert (out / "data").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
