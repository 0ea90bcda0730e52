"""Your own CTR model: judge the scores of any model, and compare it with a ranker of moon_rec."""

from pathlib import Path

import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from moon_rec import Shop, simulate_shop
from moon_rec.shop.simulate import SimulationConfig
from ranking import Comparison, compare
from ranking.evaluate import main as evaluate_scores
from ranking.evaluate import score
from ranking.features import RankingTables
from ranking.train import RankerConfig, train_ranker

KEYS = ["request_id", "item_id"]


def my_scores(shop: Shop) -> pl.DataFrame:
    """Replace this: `request_id, item_id, score` of the test rows. Here: boosted trees over four numbers."""
    items = shop.items.select("item_id", "price")
    rows = shop.impressions.join(items, on="item_id", maintain_order="left").collect()
    train = rows.filter(pl.col("time") < shop.cut_time)
    for key in ("user_id", "item_id"):
        rate = ((pl.col("clicked").sum() + 1) / (pl.len() + 8)).alias(f"rate of {key}")
        rows = rows.join(train.group_by(key).agg(rate), on=key, how="left", maintain_order="left")
    features = ["rate of user_id", "rate of item_id", "price", "position"]
    learnt = rows.filter(pl.col("time") < shop.cut_time)
    test = rows.filter(pl.col("time") >= shop.test_time)
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    model.fit(learnt.select(features).to_numpy(), learnt["clicked"].to_numpy())
    clicks = model.predict_proba(test.select(features).to_numpy())[:, 1]
    return test.select(KEYS).with_columns(score=clicks)


def main(out: Path) -> Comparison:
    simulation = SimulationConfig(num_items=300, num_users=200, num_requests=1_500)
    shop = simulate_shop(simulation, out / "shop")
    tables = RankingTables.build(shop)
    ids = score(train_ranker(tables, RankerConfig()), tables).sort(KEYS)
    # --8<-- [start:judge]
    my_scores(shop).write_parquet(out / "mine.parquet")
    words = [shop.path, "--scores", out / "mine.parquet", "--out", out / "mine"]
    evaluate_scores([str(word) for word in words])  # what `python -m ranking.evaluate` does
    mine = pl.read_parquet(out / "mine" / "scores.parquet").sort(KEYS)
    columns = (ids["label"], ids["score"], mine["score"], ids["user_id"])
    difference = compare(*(column.to_numpy() for column in columns))
    print(f"my model minus ids only: {difference}: {difference.verdict}")
    # --8<-- [end:judge]
    return difference


if __name__ == "__main__":
    main(Path("runs/own_ctr_model"))
