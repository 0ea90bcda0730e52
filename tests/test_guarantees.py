"""`docs/guarantees.md` names only tests, benchmarks and commands that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
BENCHMARKS = sorted(set(re.findall(r"`python -m (benchmarks\.[\w.]+)", PAGE)))
FILES = sorted(set(re.findall(r"`(benchmarks/results/[\w.-]+)`", PAGE)))
ROW = re.compile(r"^\| (?!---|promise)(.+) \|$", re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), TESTS, ids=lambda value: value or "whole file")
def test_a_named_test_exists(file, name):
    assert (ROOT / file).is_file(), f"{file} is not there"
    source = (ROOT / file).read_text(encoding="utf-8")
    wanted = name or "test_"
    assert re.search(rf"^ *def {wanted}\b" if name else r"^ *def test_", source, re.MULTILINE), (
        f"{file} has no {wanted}"
    )


@pytest.mark.parametrize("module", BENCHMARKS)
def test_a_named_benchmark_exists(module):
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


@pytest.mark.parametrize("file", FILES)
def test_a_named_result_exists(file):
    assert (ROOT / file).is_file()


def test_every_promise_names_what_keeps_it():
    tables = PAGE.split("## What is not promised")[0].split("## Kills")[0]
    rows = [row for row in ROW.findall(tables) if "---" not in row]
    assert len(rows) >= 40
    for row in rows:
        promise, *_, kept = [cell.strip() for cell in row.split(" | ")]
        assert "`tests/" in kept or "`python -m benchmarks." in kept, promise


def test_what_is_not_promised_is_said():
    assert "## What is not promised" in PAGE
