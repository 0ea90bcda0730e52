"""A table of points measured elsewhere: the fits are those of the library on the same columns, in any form of file, and the page says what it does not know."""

import gzip
import json

import polars as pl
import pytest

from exchange_rate import analyse, fit_exchange_rate
from exchange_rate.analysis.points_file import read_points
from exchange_rate.estimation.judging import judge_metrics
from exchange_rate.report import main, write_points_report
from moon_rec.errors import StudyError
from tests.exchange_rate.analysis.conftest import ERROR, RECALL, WORDS


def test_the_rate_is_the_librarys_on_the_same_columns(points):
    rate = analyse(points).rate
    columns = points[RECALL], points["auc"], points["encoder"].to_list(), points["seed"].to_list()
    wanted = fit_exchange_rate(*columns, metric_error=ERROR)
    slope = rate.slope
    assert slope.value == pytest.approx(wanted.slope, rel=1e-9)
    assert (slope.low, slope.high) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    assert rate.verdict == wanted.verdict == "identified"
    assert slope.value == pytest.approx(0.2, abs=0.02)


def test_candidates_are_judged_as_the_library_judges_them(points):
    found = analyse(points)
    half = 1.959963984540054 * ERROR
    beside = {f"{RECALL}.low": pl.col(RECALL) - half, f"{RECALL}.high": pl.col(RECALL) + half}
    wanted = judge_metrics(points.with_columns(**beside), "auc", [RECALL, WORDS], steering=RECALL)
    assert [one.metric for one in found.candidates] == [one.metric for one in wanted.metrics]
    errors = [one.left_out_error.value for one in found.candidates]
    assert errors == pytest.approx([one.left_out_error for one in wanted.metrics], rel=1e-9)
    assert found.choice.metric == wanted.choice.answer == RECALL


def test_an_interval_and_a_standard_error_say_the_same(points):
    half = 1.959963984540054 * ERROR
    ends = points.drop(f"{RECALL}_error").with_columns(
        (pl.col(RECALL) - half).alias(f"{RECALL}.low"), (pl.col(RECALL) + half).alias(f"{RECALL}.high")
    )  # fmt: skip
    first, second = analyse(points), analyse(ends)
    assert first.rate.slope.high == pytest.approx(second.rate.slope.high)  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet", ".csv.gz"])
def test_any_form_of_file_gives_the_same_points(points, tmp_path, ending):
    file = tmp_path / f"points{ending}"
    match ending:
        case ".csv":
            points.write_csv(file)
        case ".tsv":
            points.write_csv(file, separator="\t")
        case ".jsonl":
            points.write_ndjson(file)
        case ".parquet":
            points.write_parquet(file)
        case _:
            file.write_bytes(gzip.compress(points.write_csv().encode()))
    found = analyse(read_points(file), name="x")
    wanted = analyse(points, name="x")
    assert found.rates == wanted.rates and found.candidates == wanted.candidates


def test_rows_without_seeds_share_none(points):
    """Numbered within encoders they would be taken for shared seeds, and an effect of the seed would be taken out."""
    without = points.drop("seed").sample(fraction=1, shuffle=True, seed=1)
    found = analyse(without).rate.slope.value
    columns = without[RECALL], without["auc"], without["encoder"].to_list()
    assert found == pytest.approx(fit_exchange_rate(*columns, metric_error=ERROR).slope, rel=1e-9)


def test_rankers_stand_side_by_side_and_one_is_the_headlines(points, capsys):
    both = pl.concat(
        [points.with_columns(ranker=pl.lit("ours")), points.with_columns(ranker=pl.lit("theirs"), auc=1 - pl.col("auc"))]
    )  # fmt: skip
    found = analyse(both)
    assert "2 rankers side by side, the headline is of ours" in capsys.readouterr().err
    assert found.about.ranker == "ours" and found.rate.slope.value == pytest.approx(0.2, abs=0.02)
    other = analyse(both, ranker="theirs")
    assert other.rate.ranker == "theirs" and other.rate.slope.value == pytest.approx(-0.2, abs=0.02)
    for one in (found, other):
        rates = {row.name: row.rate.value for row in one.rankers}
        assert rates["ours"] == pytest.approx(-rates["theirs"]) == pytest.approx(0.2, abs=0.02)
    assert found.rankers[0].name == "ours" and other.rankers[0].name == "theirs"
    with pytest.raises(StudyError, match=r"no ranker 'trees'; it has ours, theirs"):
        analyse(both, ranker="trees")


def test_the_headline_is_among_trained_encoders(points):
    """An untrained encoder far off would make of a rate of .2 another one."""
    far = points.head(3).with_columns(encoder=pl.lit("random weights"), auc=pl.lit(0.55), **{RECALL: pl.lit(0.0)})  # fmt: skip
    both = pl.concat([points.with_columns(trained=True), far.with_columns(trained=False)])
    found = analyse(both)
    slopes = [one.rate.slope for one in (found, analyse(points))]
    assert slopes[0].value == pytest.approx(slopes[1].value, rel=1e-12)
    assert slopes[0].low == pytest.approx(slopes[1].low, rel=1e-9)
    assert found.rate.untrained == ("random weights",) and found.rate.num_encoders == 7
    everyone = found.rate.all_encoders
    assert everyone is not None and everyone.value > 1.1 * found.rate.slope.value
    assert found.counts.trained == 7 and found.counts.encoders == 8
    checks = next(one for one in found.headline if one.kind == "checks")
    assert "with 1 untrained encoder it would be" in checks.text


def test_permuted_vectors_make_the_rate_that_of_content_with_its_direct_effect(points):
    permuted = points.with_columns(auc_permuted=pl.lit(0.57))
    found = analyse(permuted)
    rate = found.rate
    assert rate.outcome == "auc_over_permuted" and rate.slope.value == pytest.approx(0.2, abs=0.02)
    assert rate.intercept is not None and rate.intercept.value == pytest.approx(0.03, abs=0.005)
    assert rate.direct_effect and "Content gains +" in found.headline[0].text
    first = found.encoders[0]
    assert first.over_permuted is not None and first.auc_permuted is not None
    assert first.over_permuted.value == pytest.approx(first.auc.value - 0.57)
    assert "over permuted" not in analyse(points).headline[0].text


def test_the_error_of_a_single_run_is_its_interval(points):
    once = points.filter(pl.col("seed") == "seed 0").with_columns(auc_error=pl.lit(0.002))
    auc = analyse(once).encoders[0].auc
    assert auc.high - auc.value == pytest.approx(1.96 * 0.002, rel=1e-3)
    assert "given" in auc.definition
    without = analyse(once.drop("auc_error")).encoders[0].auc
    assert without.low is None and "no interval" in without.definition


def test_checkpoints_of_one_training_are_one_path(points):
    apart = analyse(points)
    assert apart.counts.paths == 7 and apart.rate.num_paths == 7
    one = analyse(points.with_columns(path=pl.lit("one training")))
    assert one.rate.verdict == "not identified" and one.rate.slope.value is None
    assert "1 path" in one.headline[0].text


def test_the_page_says_what_points_cannot_say(points, tmp_path):
    report = write_points_report(points, tmp_path / "report", name="mine.csv", is_simulated=True)
    page, markdown = report.page.read_text(), (report.folder / "report.md").read_text()
    for text in (page, markdown):
        assert "mine.csv" in text and "imulated" in text
        assert "says nothing of a baseline" in text
        assert "Training tokens" not in text and "gain on cold" not in text
    assert json.loads((report.folder / "report.json").read_text())["about"]["shop"] is None
    assert {one.stem for one in (report.folder / "figures").iterdir()} == {"exchange_rate", "checks", "candidates"}  # fmt: skip
    assert {one.suffix for one in (report.folder / "figures").iterdir()} == {".png", ".svg"}


def test_the_command_writes_it(points, tmp_path, capsys):
    points.write_csv(tmp_path / "points.csv")
    main(["--points", str(tmp_path / "points.csv"), "--metric", RECALL, "--out", str(tmp_path / "report")])  # fmt: skip
    printed = capsys.readouterr().out
    assert printed.startswith(
        "Among 7 trained encoders on 7 paths, ten more points of image-search recall@10 go with +2.0"
    )
    assert "7 encoders on 7 training paths" in printed
