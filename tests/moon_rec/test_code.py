"""A digest of code changes with every source, and with nothing else."""

import pytest

from moon_rec import code


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "planted_package"
    (folder / "inner").mkdir(parents=True)
    for name in ("__init__.py", "one.py", "inner/__init__.py", "inner/two.py"):
        (folder / name).write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code.code_digest.cache_clear()
    yield folder
    code.code_digest.cache_clear()


def digest(*modules):
    code.code_digest.cache_clear()
    return code.code_digest(*modules)


def test_a_changed_source_at_any_depth_changes_the_digest(package):
    whole, module = digest("planted_package"), digest("planted_package.one")
    (package / "notes.txt").write_text("no source")
    assert digest("planted_package") == whole
    (package / "inner" / "two.py").write_text("x = 2\n")
    assert digest("planted_package") != whole
    assert digest("planted_package.one") == module  # another module's source
    (package / "one.py").write_text("x = 3\n")
    assert digest("planted_package.one") != module


def test_a_library_of_another_version_changes_the_digest(package, monkeypatch):
    before = digest("planted_package")
    monkeypatch.setattr(code, "_version", lambda library: "0.0")
    assert digest("planted_package") != before
