"""A table of points measured elsewhere: the fits are those of the library on the same columns, in any form of file, and the page says what it does not know."""

import gzip
import json

import numpy as np
import polars as pl
import pytest

from exchange_rate import analyse, fit_exchange_rate, rank_metrics
from exchange_rate.analysis.headline import headline
from exchange_rate.analysis.points_file import read_points
from exchange_rate.report.write import main, write_points_report
from moon_rec.errors import StudyError

RECALL, WORDS = "image_search_recall@10", "text_search_recall@10"
ERROR = 0.01


@pytest.fixture
def points():
    """Seven encoders, three seeds, AUC rising by .2 per unit of recall."""
    random = np.random.default_rng(0)
    recall = np.linspace(0.1, 0.7, 7) + random.normal(0, 0.01, 7)
    rows = [
        {
            "encoder": f"encoder {place}",
            "seed": f"seed {seed}",
            RECALL: recall[place],
            f"{RECALL}_error": ERROR,
            WORDS: random.uniform(0.2, 0.3) if seed == 0 else None,
            "auc": 0.6 + 0.2 * recall[place] + random.normal(0, 0.001),
        }
        for place in range(7)
        for seed in range(3)
    ]
    frame = pl.DataFrame(rows)
    return frame.with_columns(pl.col(WORDS).forward_fill())


def test_the_rate_is_the_librarys_on_the_same_columns(points):
    data = analyse(points)
    columns = points[RECALL], points["auc"], points["encoder"].to_list(), points["seed"].to_list()
    wanted = fit_exchange_rate(*columns, metric_error=ERROR)
    slope = data["rates"]["auc"]["slope"]
    assert slope["value"] == pytest.approx(wanted.slope, rel=1e-9)
    assert (slope["low"], slope["high"]) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    assert data["rates"]["auc"]["verdict"] == wanted.verdict == "identified"
    assert slope["value"] == pytest.approx(0.2, abs=0.02)


def test_candidates_are_ranked_as_the_library_ranks_them(points):
    data = analyse(points)
    half = 1.959963984540054 * ERROR
    beside = {f"{RECALL}.low": pl.col(RECALL) - half, f"{RECALL}.high": pl.col(RECALL) + half}
    wanted = rank_metrics(points.with_columns(**beside), metrics=[RECALL, WORDS])
    assert [one["metric"] for one in data["candidates"]] == wanted["metric"].to_list()
    found = [one["left_out_error"]["value"] for one in data["candidates"]]
    assert found == pytest.approx(wanted["left_out_error"].to_list(), rel=1e-9)


def test_an_interval_and_a_standard_error_say_the_same(points):
    half = 1.959963984540054 * ERROR
    ends = points.drop(f"{RECALL}_error").with_columns(
        (pl.col(RECALL) - half).alias(f"{RECALL}.low"), (pl.col(RECALL) + half).alias(f"{RECALL}.high")
    )  # fmt: skip
    first, second = analyse(points), analyse(ends)
    assert first["rates"]["auc"]["slope"]["high"] == pytest.approx(second["rates"]["auc"]["slope"]["high"])  # fmt: skip


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
    assert found["rates"] == wanted["rates"] and found["candidates"] == wanted["candidates"]


def test_rows_without_seeds_share_none(points):
    """Numbered within encoders they would be taken for shared seeds, and an effect of the seed would be taken out."""
    without = points.drop("seed").sample(fraction=1, shuffle=True, seed=1)
    found = analyse(without)["rates"]["auc"]["slope"]["value"]
    columns = without[RECALL], without["auc"], without["encoder"].to_list()
    assert found == pytest.approx(fit_exchange_rate(*columns, metric_error=ERROR).slope, rel=1e-9)


def test_one_ranker_of_several_is_asked_for(points):
    both = pl.concat(
        [points.with_columns(ranker=pl.lit("ours")), points.with_columns(ranker=pl.lit("theirs"), auc=1 - pl.col("auc"))]
    )  # fmt: skip
    with pytest.raises(StudyError, match=r"2 rankers .*--ranker"):
        analyse(both)
    assert analyse(both, ranker="theirs")["rates"]["auc"]["slope"]["value"] < 0
    assert analyse(both, ranker="ours")["rankers"]["content"] == "ours"


def test_the_error_of_a_single_run_is_its_interval(points):
    once = points.filter(pl.col("seed") == "seed 0").with_columns(auc_error=pl.lit(0.002))
    auc = analyse(once)["encoders"][0]["auc"]
    assert auc["high"] - auc["value"] == pytest.approx(1.96 * 0.002, rel=1e-3)
    assert "given" in auc["definition"]
    without = analyse(once.drop("auc_error"))["encoders"][0]["auc"]
    assert without["low"] is None and "no interval" in without["definition"]


def test_checkpoints_of_one_training_are_said_not_to_be_independent(points):
    apart = analyse(points)
    assert apart["counts"]["paths"] == 7
    one = sentences(points.with_columns(path=pl.lit("one training")))
    assert any("come from one training" in text and "too narrow" in text for text in one)
    assert not any("too narrow" in text for text in sentences(points))


def sentences(points):
    return [one["text"] for one in headline(analyse(points))]


def test_the_page_says_what_points_cannot_say(points, tmp_path):
    report = write_points_report(points, tmp_path / "report", name="mine.csv", is_simulated=True)
    page, markdown = report.page.read_text(), (report.folder / "report.md").read_text()
    for text in (page, markdown):
        assert "mine.csv" in text and "permuted control" in text and "imulated" in text
        assert "how much of an AUC is content is not known" in text
        assert "Training tokens" not in text and "gain on cold" not in text
    assert json.loads((report.folder / "report.json").read_text())["study"]["shop"] is None
    assert {one.name for one in (report.folder / "figures").iterdir()} == {"exchange_rate.png", "candidates.png"}  # fmt: skip


def test_the_command_writes_it(points, tmp_path, capsys):
    points.write_csv(tmp_path / "points.csv")
    main(["--points", str(tmp_path / "points.csv"), "--metric", RECALL, "--out", str(tmp_path / "report")])  # fmt: skip
    printed = capsys.readouterr().out
    assert "Ten points of image-search recall@10 go with +2.0" in printed
    assert "7 encoders on 7 training paths" in printed
