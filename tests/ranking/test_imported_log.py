"""The same log as CSV with ids that are texts and as Parquet tables with whole numbers: the same rankers, the same AUCs, to the bit."""

from datetime import timedelta

import polars as pl
import pytest

from moon_rec.shop import Shop
from moon_rec.shop.commands import main
from moon_rec.shop.own_ids import with_own_ids
from ranking.evaluate import evaluate, score
from ranking.features import FeatureConfig, RankingTables
from ranking.train import RankerConfig, train_ranker
from tests.moon_rec.shop.readers.interactions import layouts

CONFIG = RankerConfig(
    content="none", epochs=2, batch_size=32, tower=(16,), attention_dim=4, embedding_dim=8
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The shop of the tables, and that of the CSV."""
    folder = tmp_path_factory.mktemp("one_log")
    rows = layouts.behaviour(num_pages=400)
    ids = {"request_id": pl.col("page") * 3 + 7, "user_id": pl.col("user") * 11}
    rows = rows.select(**ids, item_id=pl.col("item") * 5 + 100, time="time", clicked="clicked")
    rows = rows.with_columns(
        position=pl.int_range(pl.len(), dtype=pl.Int32).over("request_id"),
        search_id=pl.lit(None, pl.Int64),
        carted=pl.lit(False),
        purchased=pl.lit(False),
    )
    items = rows.select("item_id").unique().sort("item_id")
    items = items.with_columns(
        spu_id="item_id",
        title=pl.format("Thing {}", "item_id"),
        category=pl.when(pl.col("item_id") % 2 == 0).then(pl.lit("a")).otherwise(pl.lit("b")),
        attributes=pl.lit([], pl.List(pl.Struct({"name": pl.String, "value": pl.String}))),
        listed_at=pl.lit(layouts.START - timedelta(days=1)).cast(pl.Datetime("us")),
    )
    tables = folder / "tables"
    tables.mkdir()
    rows.write_parquet(tables / "impressions.parquet")
    items.write_parquet(tables / "items.parquet")
    texts = [
        pl.format("{}-{}", pl.lit(name[0]), pl.col(name).cast(pl.String).str.zfill(6)).alias(name)
        for name in ("request_id", "user_id", "item_id")
    ]
    rows.drop("search_id").with_columns(texts).write_csv(folder / "log.csv")
    items.drop("attributes", "spu_id").with_columns(texts[2]).write_csv(folder / "items.csv")
    words = [str(folder / "log.csv"), "--items", str(folder / "items.csv")]
    main(["import", "tables", "--data", str(tables), "--out", str(folder / "one")])
    main(["import", "interactions", *words, "--out", str(folder / "two")])
    return Shop.open(folder / "one"), Shop.open(folder / "two")


def trained(shop, seed=0):
    """What a ranker of the shop scores on test, and every metric of it."""
    tables = RankingTables.build(shop, FeatureConfig(history_length=10, query_history_length=5))
    scores = score(train_ranker(tables, CONFIG.model_copy(update={"seed": seed})), tables)
    return scores, evaluate(scores, num_resamples=20)


def test_the_same_log_gives_the_same_aucs_to_the_bit(both):
    tables, csv = both
    assert (tables.cut_time, tables.test_time) == (csv.cut_time, csv.test_time)
    own = with_own_ids(csv.impressions.collect(), csv.path)
    assert own["item_id"].str.starts_with("i-").all() and own["user_id"].str.starts_with("u-").all()
    (scores, metrics), (others, same) = trained(tables), trained(csv)
    assert scores["score"].to_list() == others["score"].to_list()
    assert metrics == same and {"auc", "gauc", "log_loss"} <= metrics.keys()
    another, _ = trained(tables, seed=1)
    assert another["score"].to_list() != scores["score"].to_list(), "the rankers are trained"
