"""Scores have the very ids of the log, whatever texts these are; inside, nothing is another number than before."""

import shutil
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from moon_rec.errors import RankingError
from moon_rec.shop import Shop
from moon_rec.shop.commands import main as shop_main
from moon_rec.shop.own_ids import with_own_ids
from moon_rec.shop.schema import IDS
from ranking.features import FeatureConfig, RankingTables
from ranking.score import score_impressions
from ranking.train import RankerConfig, train_ranker
from tests.own_ids import OWN, keep_own_ids, own_request

KEYS = ["request_id", "item_id", "user_id"]
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}

texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
    st.from_regex(r"0{1,3}[1-9]{1,4}", fullmatch=True),
    st.from_regex(r"[1-9]{3}\.[0-9]{3}\.0[0-9]", fullmatch=True),
    st.from_regex(r"[A-Z] [a-z]  [0-9]", fullmatch=True),
    st.integers(2**63, 2**64 - 1).map(str),
).filter(lambda text: text == text.strip() and text.isprintable())


@pytest.fixture(scope="module")
def ranker(planted):
    config = RankerConfig(
        content="none", batch_size=512, tower=(8,), attention_dim=4, embedding_dim=4
    )
    return train_ranker(RankingTables.build(planted.shop, FeatureConfig(history_length=4)), config)


@pytest.fixture(scope="module")
def plain(planted, ranker, tmp_path_factory):
    """Scores of the shop's test period under its whole numbers."""
    out = tmp_path_factory.mktemp("plain") / "scores.parquet"
    score_impressions(ranker, planted.shop, out, period="test")
    return pl.read_parquet(out)


@pytest.fixture
def own_shop(planted, tmp_path):
    shutil.copytree(planted.shop.path, tmp_path / "own")
    keep_own_ids(tmp_path / "own")
    return Shop.open(tmp_path / "own")


def as_own(frame):
    """The ids as the user of `own_shop` writes them."""
    return frame.with_columns(
        pl.col(f"{kind}_id").map_elements(name, pl.String)
        for kind, name in OWN.items()
        if f"{kind}_id" in frame.columns
    )


def test_a_period_is_scored_under_own_ids(own_shop, ranker, plain, tmp_path):
    score_impressions(ranker, own_shop, tmp_path / "scores.parquet", period="test", chunk_rows=100)
    found = pl.read_parquet(tmp_path / "scores.parquet")
    wanted = as_own(plain)
    assert found.drop("score").equals(wanted.drop("score"))
    assert (found["score"] - wanted["score"]).abs().max() < 1e-6


@pytest.mark.parametrize("order", ["as it is", "mixed"])
def test_files_of_own_ids_get_the_scores_of_the_shops_numbers(
    own_shop, planted, ranker, plain, tmp_path, order
):
    rows = planted.shop.in_period(planted.frames["impressions"], "test").collect()
    if order == "mixed":
        rows = rows.sample(fraction=1, shuffle=True, seed=1)
    own = as_own(rows).with_columns(
        search_id=pl.col("search_id").map_elements(own_request, pl.String),
        # hashes in a column of whole numbers are the same ids
        request_id=pl.col("request_id").cast(pl.UInt64),
    )
    own.write_parquet(tmp_path / "new.parquet")
    score_impressions(
        ranker, own_shop, tmp_path / "scores.parquet", [tmp_path / "new.parquet"], chunk_rows=70
    )
    found = pl.read_parquet(tmp_path / "scores.parquet")
    assert found.select(KEYS).equals(as_own(rows.select(KEYS)))
    joined = found.join(as_own(plain), on=KEYS, how="left", maintain_order="left")
    assert (joined["score"] - joined["score_right"]).abs().max() < 1e-6
    assert joined["is_cold"].equals(joined["is_cold_right"], check_names=False)


def test_what_the_shop_does_not_know_is_scored_as_new_under_its_own_id(
    own_shop, planted, ranker, tmp_path, capsys
):
    """Requests to come are unknown, all of them; an unknown item and user are as those that training never saw."""
    rows = planted.shop.in_period(planted.frames["impressions"], "test").collect().head(60)
    strange = rows.with_columns(request_id=pl.col("request_id") + 10**6)
    place = pl.int_range(pl.len())
    own = as_own(strange).with_columns(
        request_id="next " + pl.col("request_id").cast(pl.String),
        item_id=pl.when(place % 6 == 5).then(pl.lit("007")).otherwise("item_id"),
        user_id=pl.when(place // 6 == 3).then(pl.lit("nobody")).otherwise("user_id"),
        search_id=None,
    )
    own.write_parquet(tmp_path / "new.parquet")
    score_impressions(ranker, own_shop, tmp_path / "scores.parquet", [tmp_path / "new.parquet"])
    found = pl.read_parquet(tmp_path / "scores.parquet")
    assert found.select(KEYS).equals(own.select(KEYS))
    said = capsys.readouterr().err
    assert "item_id of 10 of 60 rows is not known to the shop, such as '007': scored as new" in said
    assert "user_id of 6 of 60 rows is not known to the shop, such as 'nobody'" in said
    whole = strange.with_columns(
        item_id=pl.when(place % 6 == 5).then(10**7).otherwise("item_id"),
        user_id=pl.when(place // 6 == 3).then(10**7).otherwise("user_id"),
        search_id=pl.lit(None, pl.Int64),
    )
    whole.write_parquet(tmp_path / "whole.parquet")
    score_impressions(ranker, planted.shop, tmp_path / "2.parquet", [tmp_path / "whole.parquet"])
    other = pl.read_parquet(tmp_path / "2.parquet")
    assert (found["score"] - other["score"]).abs().max() < 1e-6
    assert found["is_cold"].equals(other["is_cold"])


def test_numbers_of_ours_are_no_own_ids(own_shop, planted, ranker, tmp_path):
    planted.frames["impressions"].head(50).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(
        RankingError, match=r"item_id of 50 of 50 rows is none of the shop's \(first '"
    ):
        score_impressions(ranker, own_shop, tmp_path / "s.parquet", [tmp_path / "new.parquet"])
    assert not (tmp_path / "s.parquet").exists()


def test_requests_by_texts_where_the_shop_numbered_its_own(planted, ranker, tmp_path):
    shutil.copytree(planted.shop.path, tmp_path / "own")
    keep_own_ids(tmp_path / "own", ("item", "user"))
    own = as_own(planted.frames["impressions"].head(50)).with_columns(
        search_id=pl.lit(None, pl.Int64)
    )
    own.write_parquet(tmp_path / "new.parquet")
    shop = Shop.open(tmp_path / "own")
    score_impressions(ranker, shop, tmp_path / "s.parquet", [tmp_path / "new.parquet"])
    assert pl.read_parquet(tmp_path / "s.parquet").select(KEYS).equals(own.select(KEYS))


@settings(max_examples=6, **QUIET)
@given(odd=st.lists(texts, min_size=9, max_size=9, unique=True))
def test_any_texts_come_out_as_they_went_in(planted, ranker, tmp_path_factory, odd):
    folder = tmp_path_factory.mktemp("odd")
    shutil.copytree(planted.shop.path, folder / "own")
    keep_own_ids(folder / "own")
    given = {"item": odd[:4], "user": odd[4:6], "request": odd[6:]}
    for kind, some in given.items():
        path = folder / "own" / IDS / f"{kind}.parquet"
        kept = pl.read_parquet(path).sort("id")
        assume(not kept["own"].is_in(some).any())
        own = pl.Series("own", [*some, *kept["own"][len(some) :]])
        kept.with_columns(own).sort("own").write_parquet(path)
    shop = Shop.open(folder / "own")
    rows = with_own_ids(planted.frames["impressions"].head(240), folder / "own")
    assert set(odd) & set(rows["item_id"]) | set(odd) & set(rows["user_id"])
    rows.write_parquet(folder / "new.parquet")
    score_impressions(ranker, shop, folder / "s.parquet", [folder / "new.parquet"], chunk_rows=50)
    assert pl.read_parquet(folder / "s.parquet").select(KEYS).equals(rows.select(KEYS))


@settings(max_examples=6, **QUIET)
@given(
    items=st.lists(texts, min_size=4, max_size=6, unique=True),
    users=st.lists(texts, min_size=3, max_size=4, unique=True),
    form=st.sampled_from(["csv", "parquet"]),
)
def test_a_log_comes_back_from_its_shop_as_it_was(
    tmp_path_factory, monkeypatch, items, users, form
):
    folder = tmp_path_factory.mktemp("log")
    start = datetime(2024, 3, 1)
    rows = [
        (
            users[page % len(users)],
            items[(page + place) % len(items)],
            start + timedelta(hours=page),
            place == page % 2,
        )
        for page in range(40)
        for place in range(2)
    ]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "time", "clicked"], orient="row")
    if form == "csv":
        log.write_csv(folder / "log.csv", datetime_format="%Y-%m-%d %H:%M:%S", quote_style="always")
    else:
        log.write_parquet(folder / "log.parquet")
    shop_main(
        ["import", "interactions", str(folder / f"log.{form}"), "--out", str(folder / "shop")]
    )
    shop = Shop.open(folder / "shop")
    found = with_own_ids(shop.impressions.collect(), shop.path).select(log.columns)
    as_texts = found.with_columns(pl.col("user_id", "item_id").cast(pl.String))
    assert as_texts.sort(pl.all()).equals(log.sort(pl.all()))
