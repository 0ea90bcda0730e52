"""What moved against an older report."""

import json

import polars as pl
import pytest

from exchange_rate import analyse
from exchange_rate.report import main
from exchange_rate.report.against import Older, moved, read_older
from exchange_rate.report.write import write_points_report
from moon_rec.errors import StudyError
from tests.exchange_rate.analysis.conftest import RECALL, WORDS, make_points


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return write_points_report(make_points(), tmp_path_factory.mktemp("old") / "report")


def test_nothing_moves_against_itself(old):
    found = moved(Older("old", old.results), old.results)
    assert found.encoders == () and found.definitions == ()
    assert {one.text for one in found.headline} == {"the same"}
    assert "0 have another metric or AUC" in found.text


def test_headline_encoders_and_verdicts_are_told_then_and_now(old, tmp_path, capsys):
    points = make_points().filter(pl.col("encoder") != "encoder 2")
    points = points.with_columns(
        auc=pl.when(pl.col("encoder") == "encoder 5").then(pl.col("auc") + 0.02).otherwise("auc")
    )
    file = tmp_path / "points.csv"
    points.write_csv(file)
    main(["--points", str(file), "--against", str(old.folder), "--out", str(tmp_path / "new")])
    printed = capsys.readouterr().out
    data = json.loads((tmp_path / "new" / "report.json").read_text())["moved"]
    rows = {one["what"]: one for one in data["encoders"]}
    assert rows["encoder 2: AUC"]["text"] == "gone" and rows["encoder 2: AUC"]["new"] is None
    assert rows["encoder 5: AUC"]["text"].startswith("moved: the intervals do not meet")
    assert rows["encoder 5: AUC"]["old"]["value"] < rows["encoder 5: AUC"]["new"]["value"]
    assert "encoder 5: image-search recall@10" not in rows
    first = data["headline"][0]
    assert first["old_verdict"] == "identified" and first["old"]["value"] == pytest.approx(
        2, abs=0.2
    )
    assert "The rate was +2.0" in printed and "1 encoder is gone (encoder 2)" in printed
    page = (tmp_path / "new" / "report.html").read_text()
    assert "What moved since" in page and "encoder 5: AUC" in page
    assert "encoder 5: AUC" in (tmp_path / "new" / "report.md").read_text()


def test_what_is_defined_otherwise_does_not_compare(old):
    other = analyse(make_points(), WORDS, name="others")
    found = moved(Older("old", old.results), other)
    assert any("Another steering metric than then" in one for one in found.definitions)
    assert "do not compare" in found.headline[0].text
    assert (
        not any(RECALL in one.what for one in found.encoders) and "Definitions differ" in found.text
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data.pop("counts"), ("report.json is not as its schema says, counts", "write that report again")),
        (lambda data: data["counts"].update(paths="many"), ("counts.paths", "'many'")),
        (lambda data: data["counts"].update(more=1), ("counts.more",)),
        (lambda data: data.update(format_version=2), ("format_version 2, wanted 3",)),
        (lambda data: data.pop("format_version"), ("format_version none, wanted 3",)),
    ],
)  # fmt: skip
def test_a_report_that_breaks_its_schema_is_refused_by_field(old, tmp_path, damage, says):
    data = json.loads((old.folder / "report.json").read_text())
    damage(data)
    (tmp_path / "report.json").write_text(json.dumps(data))
    with pytest.raises(StudyError) as told:
        read_older(str(tmp_path), None)
    assert all(piece in str(told.value) for piece in says) and "\n" not in str(told.value)
