"""The version of code changes with every source, and with nothing else."""

import pytest

from moon_rec.code_version import code_version


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "planted_package"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "one.py", "inner/__init__.py", "inner/two.py"):
        (folder / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def code(*modules):
    return code_version.__wrapped__(modules)["code"]  # not the one that is kept


def test_a_changed_source_at_any_depth_changes_the_version(package):
    whole, module = code("planted_package"), code("planted_package.one")
    (package / "notes.txt").write_text("no source")
    assert code("planted_package") == whole
    (package / "inner" / "two.py").write_text("x = 2\n")
    assert code("planted_package") != whole
    assert code("planted_package.one") == module  # another module's source
    (package / "one.py").write_text("x = 3\n")
    assert code("planted_package.one") != module


def test_versions_of_libraries_stand_beside_it(package):
    found = code_version(("planted_package",), ("torch",))
    assert found == {"code": code("planted_package"), "torch": found["torch"]} and found["torch"]
