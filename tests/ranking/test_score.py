"""Streaming scores equal `predict`, whatever the chunks, files, batch sizes and order of rows."""

import copy
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moon_rec.command import run
from moon_rec.errors import RankingError
from ranking.evaluate import score
from ranking.features import FeatureConfig, RankingTables
from ranking.metrics import gauc
from ranking.score import main as score_main
from ranking.score import score_impressions
from ranking.train import RankerConfig, train_ranker

FEATURES = FeatureConfig(history_length=8, query_history_length=4, context=("dwell",))
SMALL = {"epochs": 1, "batch_size": 64, "tower": (16,), "attention_dim": 8, "embedding_dim": 8}
KEYS = ["request_id", "item_id"]


@pytest.fixture(scope="module")
def tables(planted):
    return RankingTables.build(planted.shop, FEATURES)


@pytest.fixture(scope="module")
def cube(planted, tables):
    config = RankerConfig(content="cube", **SMALL)
    return train_ranker(tables, config, planted.items, planted.queries)


@pytest.fixture(scope="module")
def wanted(tables, cube):
    """What `predict` says of every impression."""
    return pl.concat([score(cube, tables, period) for period in ("train", "validation", "test")])


def check(found, shown, wanted):
    """Rows of `shown` in order, with the wanted scores."""
    assert found.select(KEYS).equals(shown.select(KEYS))
    joined = found.join(wanted, on=KEYS, how="left", maintain_order="left")
    assert (joined["score"] - joined["score_right"]).abs().max() < 1e-6
    assert joined["is_cold"].equals(joined["is_cold_right"], check_names=False)
    assert joined["user_id"].equals(joined["user_id_right"], check_names=False)
    if "label" in found.columns:
        assert joined["label"].equals(joined["label_right"], check_names=False)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunk_rows=st.integers(1, 350),
    batch_size=st.sampled_from([1, 5, 64, 4096]),
    group=st.integers(1, 450),
    num_files=st.integers(1, 3),
    order=st.sampled_from(["as it is", "requests", "rows"]),
    has_label=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_chunk_file_batch_and_order(
    planted,
    cube,
    wanted,
    tmp_path,
    chunk_rows,
    batch_size,
    group,
    num_files,
    order,
    has_label,
    seed,
):
    shown = planted.frames["impressions"].drop("carted", "purchased", "position").tail(600)
    if order == "rows":
        shown = shown.sample(fraction=1, shuffle=True, seed=seed)
    if order == "requests":
        mixed = pl.Series(np.random.default_rng(seed).random(10_000)).gather(shown["request_id"])
        shown = shown.with_columns(mixed=mixed).sort("mixed", maintain_order=True).drop("mixed")
    if not has_label:
        shown = shown.drop("clicked")
    files = [tmp_path / f"part{number}.parquet" for number in range(num_files)]
    ends = np.linspace(0, shown.height, num_files + 1).astype(int)
    for file, start, end in zip(files, ends[:-1], ends[1:], strict=True):
        shown[start:end].write_parquet(file, row_group_size=group)
    out = tmp_path / "scores.parquet"
    number = score_impressions(
        cube, planted.shop, out, files, chunk_rows=chunk_rows, batch_size=batch_size
    )
    found = pl.read_parquet(out)
    assert number == found.height
    assert ("label" in found.columns) == has_label
    check(found, shown, wanted)


def test_a_period_of_the_shop(planted, cube, wanted, tmp_path):
    out = tmp_path / "scores.parquet"
    score_impressions(cube, planted.shop, out, period="test", chunk_rows=100)
    shown = planted.shop.in_period(planted.frames["impressions"], "test").collect()
    check(pl.read_parquet(out), shown, wanted)


def test_gauc_is_the_same_for_any_batch_size_and_row_order(planted, cube, make_shop, tmp_path):
    mixed = planted.frames["impressions"].sample(fraction=1, shuffle=True, seed=3)
    shops = [planted.shop, make_shop({**planted.frames, "impressions": mixed}, tmp_path / "mixed")]
    found = []
    for number, shop in enumerate(shops):
        for batch_size in (1, 7, 64, 4096):
            out = tmp_path / f"{number}-{batch_size}.parquet"
            score_impressions(cube, shop, out, period="test", batch_size=batch_size, chunk_rows=333)
            scores = pl.read_parquet(out)
            columns = (scores[name].to_numpy() for name in ("label", "score", "user_id"))
            found.append(gauc(*columns))
    assert {result.value for result in found} == {found[0].value}
    assert 0 < found[0].value < 1


def test_requests_to_come_have_the_shops_whole_history(planted, cube, make_shop, tmp_path):
    """No label, no search, a time after all events: as the tables' last events say."""
    last = planted.frames["impressions"]["time"].max()
    users = sorted(planted.frames["impressions"]["user_id"].unique())[:5]
    future = pl.DataFrame(
        {
            "request_id": np.repeat(np.arange(5), 3) + 10**8,
            "user_id": np.repeat(users, 3),
            "item_id": [7 * item for item in (5, 50, 115)] * 5,
            "time": [last.replace(year=2027)] * 15,
            "dwell": [None] * 15,
        },
        schema_overrides={"dwell": pl.Float64},
    )
    future.write_parquet(tmp_path / "future.parquet")
    score_impressions(cube, planted.shop, tmp_path / "out.parquet", [tmp_path / "future.parquet"])
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["request_id", "item_id", "user_id", "score", "is_cold"]
    assert found["is_cold"].to_list() == [False, False, True] * 5
    # the same rows as impressions of a shop that holds them
    labelled = future.with_columns(
        search_id=pl.lit(None, pl.Int64),
        position=pl.lit(0, pl.Int32),
        clicked=False,
        carted=False,
        purchased=False,
    )
    shown = planted.frames["impressions"]
    frames = {
        **planted.frames,
        "impressions": pl.concat([shown, labelled.select(shown.columns)], how="vertical_relaxed"),
    }
    whole = RankingTables.build(make_shop(frames, tmp_path / "whole"), preparation=cube.preparation)
    inside = score(cube, whole).filter(pl.col("request_id") >= 10**8)
    joined = found.join(inside, on=KEYS, how="left", maintain_order="left")
    assert (joined["score"] - joined["score_right"]).abs().max() < 1e-6


def test_files_that_cannot_be_scored_are_named(planted, cube, tmp_path):
    shown = planted.frames["impressions"].head(12)

    def refused(frame, reason):
        frame.write_parquet(tmp_path / "bad.parquet")
        with pytest.raises(RankingError, match=reason) as caught:
            score_impressions(
                cube, planted.shop, tmp_path / "out.parquet", [tmp_path / "bad.parquet"]
            )
        assert "\n" not in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["bad.parquet"]

    refused(shown.drop("user_id"), "column user_id is missing")
    refused(shown.drop("dwell"), r"context column 'dwell' of .*bad\.parquet is absent")
    refused(
        shown.with_columns(dwell=pl.lit("long")), r"'dwell' of .*bad\.parquet is String: wanted"
    )
    refused(
        shown.with_columns(pl.col("item_id").cast(pl.String), clicked=pl.lit(2)),
        r"item_id row 0: '\d+' is String, wanted whole .*clicked row 0: 2 is neither 0 nor 1 \(12 rows",
    )
    refused(shown.head(0), "no impression to score")
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(RankingError, match="cannot be read as Parquet"):
        score_impressions(cube, planted.shop, tmp_path / "o.parquet", [tmp_path / "bad.parquet"])


def test_a_score_that_is_no_number_is_never_written(planted, cube, tmp_path):
    broken = copy.deepcopy(cube.model)
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(float("nan"))
    with pytest.raises(RankingError, match=r"the model scores row 0 \(item \d+\) nan, 60 of 60"):
        planted.frames["impressions"].tail(60).write_parquet(tmp_path / "shown.parquet")
        score_impressions(
            replace(cube, model=broken),
            planted.shop,
            tmp_path / "out.parquet",
            [tmp_path / "shown.parquet"],
        )
    assert [path.name for path in tmp_path.iterdir()] == ["shown.parquet"]


def test_labels_may_be_numbers_or_missing(planted, cube, wanted, tmp_path):
    shown = planted.frames["impressions"].tail(60)
    numbers = shown.with_columns(
        clicked=pl.when(pl.int_range(pl.len()) % 5 > 0).then(pl.col("clicked").cast(pl.Int64))
    )
    numbers.write_parquet(tmp_path / "shown.parquet")
    score_impressions(cube, planted.shop, tmp_path / "out.parquet", [tmp_path / "shown.parquet"])
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found["label"].to_list() == numbers["clicked"].to_list()
    check(found.drop("label"), shown, wanted)


def test_times_of_another_zone_are_moved_to_utc(planted, cube, wanted, tmp_path):
    shown = planted.frames["impressions"].tail(60)
    zone = pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
    shown.with_columns(zone).write_parquet(tmp_path / "shown.parquet")
    score_impressions(cube, planted.shop, tmp_path / "out.parquet", [tmp_path / "shown.parquet"])
    check(pl.read_parquet(tmp_path / "out.parquet"), shown, wanted)


def test_the_command(planted, cube, tmp_path, capsys):
    cube.save(tmp_path / "ranker")
    planted.items.save(tmp_path / "items")
    planted.queries.save(tmp_path / "queries")
    out = tmp_path / "scores.parquet"
    words = [str(tmp_path / "ranker"), str(planted.shop.path), "--out", str(out)]
    vectors = ["--items", str(tmp_path / "items"), "--queries", str(tmp_path / "queries")]
    assert run(score_main, [*words, *vectors]) == 0
    shown = planted.shop.in_period(planted.frames["impressions"], "test").collect()
    assert pl.read_parquet(out).height == shown.height
    assert run(score_main, [*words, *vectors]) == 2
    assert "exists already" in capsys.readouterr().err
    out.unlink()
    (tmp_path / "parts").mkdir()
    for number, part in enumerate((shown[:30], shown[30:])):
        part.write_parquet(tmp_path / "parts" / f"{number}.parquet")
    assert run(score_main, [*words, *vectors, "--impressions", str(tmp_path / "parts")]) == 0
    assert pl.read_parquet(out)["item_id"].equals(shown["item_id"])
    out.unlink()
    capsys.readouterr()
    (tmp_path / "none").mkdir()
    for wrong, reason in (
        ([*words, *vectors, "--impressions", str(tmp_path / "none")], "holds no .parquet file"),
        ([*words, *vectors[:2]], "trained with queries vectors"),
    ):
        assert run(score_main, wrong) == 2
        said = capsys.readouterr().err
        assert reason in said and said.count("\n") == 1
        assert not out.exists()


def test_help_has_a_worked_example(capsys):
    with pytest.raises(SystemExit):
        score_main(["--help"])
    assert re.search(r"example:\n\s+python -m ranking\.score", capsys.readouterr().out)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_scores(planted, cube, wanted, tmp_path):
    try:
        cube.model.to("cuda")
        score_impressions(cube, planted.shop, tmp_path / "scores.parquet")
    finally:
        cube.model.to("cpu")
    found = pl.read_parquet(tmp_path / "scores.parquet")
    joined = found.join(wanted, on=KEYS, how="left", maintain_order="left")
    assert (joined["score"] - joined["score_right"]).abs().max() < 1e-4
