"""Your own log: from two CSV files to the AUC of a ranker."""

from pathlib import Path

from moon_rec.shop.readers.interactions import InteractionsConfig, LogColumns, import_interactions
from ranking.evaluate import evaluate, score
from ranking.features import RankingTables
from ranking.train import RankerConfig, train_ranker

HERE = Path(__file__).parent


def main(out: Path) -> dict[str, float]:
    # --8<-- [start:shop]
    # Columns with usual names are found; `session` is not one of them, so it is named here.
    shop = import_interactions(
        [HERE / "clicks.csv"],
        out / "shop",
        items=[HERE / "products.csv"],
        config=InteractionsConfig(log=LogColumns(request="session")),
    )
    print(f"{shop}\ntraining ends at {shop.cut_time}, the test begins at {shop.test_time}")
    # --8<-- [end:shop]

    # --8<-- [start:ranker]
    tables = RankingTables.build(shop)  # vocabularies and scales come from the train period only
    ranker = train_ranker(tables, RankerConfig(content="none", epochs=3))
    ranker.save(out / "ids")
    # --8<-- [end:ranker]

    # --8<-- [start:auc]
    scores = score(ranker, tables)  # one row per impression of the test period
    metrics = evaluate(scores, num_resamples=200)
    for name in ("auc", "gauc", "log_loss", "calibration"):
        print(f"{name:12} {metrics[name]}   {metrics[name].definition}")
    # --8<-- [end:auc]
    return {name: estimate.value for name, estimate in metrics.items()}


if __name__ == "__main__":
    main(Path("runs/own_log"))
