"""What evaluate noted of the vectors is told beside a difference of scores."""

import json

import pytest

from moon_rec.vector_pairs import Coverage, Covered
from ranking.judging.score_coverage import score_coverage, told_coverage

WHOLE, HALF = (Coverage(Covered(count, 120), Covered(590, 600)) for count in (120, 60))


def noted(folder, coverage):
    folder.mkdir(parents=True)
    about = {} if coverage is None else {"coverage": coverage.as_dict()}
    (folder / "metrics.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("coverage", [WHOLE, HALF, Coverage(None, None), None])
def test_a_note_is_read_of_one_folder_and_of_one_a_seed(tmp_path, coverage):
    noted(tmp_path / "one", coverage)
    for seed in (0, 1):
        noted(tmp_path / "many" / f"seed-{seed}", coverage)
    wanted = coverage if coverage in (WHOLE, HALF) else None
    assert score_coverage(tmp_path / "one") == score_coverage(tmp_path / "many") == wanted


def test_folders_of_unlike_coverage_are_named(tmp_path):
    folders = {
        name: noted(tmp_path / name, one)
        for name, one in (("old", WHOLE), ("new", HALF), ("ids", None))
    }
    lines = told_coverage(folders).splitlines()
    assert lines[0] == (
        "old: coverage: 120 of 120 (100.0%) items, 590 of 600 (98.3%) searches have a vector"
    )
    assert "unlike coverage of items: old 120 of 120 (100.0%), new 60 of 120 (50.0%)" in lines[2]
    assert len(lines) == 3
    assert told_coverage({"ids": folders["ids"]}) == ""


@pytest.mark.parametrize("text", ["", "[]", '{"coverage": null}', "no JSON"])
def test_scores_without_a_note_are_passed_over(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    assert score_coverage(tmp_path) is None
    assert score_coverage(tmp_path / "absent") is None
