"""Score a period and judge the scores: `python -m ranking.evaluate RANKER SHOP --out scores.parquet`.

Notable choices
- Scores are a table of rows, so that whatever is asked later (other segments, paired comparison with
  another ranker) needs no model.
- Validation chooses, test is scored once; equal validation and test rows are refused.
- Every number comes with its interval over users and its definition.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

from moon_rec.command import Parser, run
from moon_rec.embedding_table import EmbeddingTable
from moon_rec.errors import RankingError
from moon_rec.estimate import Estimate
from moon_rec.files import atomic_file, write_json
from moon_rec.shop import Shop
from ranking.features import Period, RankingTables
from ranking.judgement import NUM_RESAMPLES, evaluate, share_of_the_way
from ranking.trained import TrainedRanker

__all__ = ["evaluate", "score", "share_of_the_way"]


def score(ranker: TrainedRanker, tables: RankingTables, period: Period = "test") -> pl.DataFrame:
    """Scores of a period's impressions.

    Returns:
        One row an impression, in order of time: `request_id, item_id, user_id, label, score, is_cold`;
        the score is a click probability (float64), cold means fewer than `cold_below` train impressions.

    Raises:
        RankingError: tables other than the ranker's, or validation and test that are the same rows.
    """
    refuse_equal_periods(tables)
    requests = tables.periods[period]
    place = requests.row_requests()
    return pl.DataFrame(
        {
            "request_id": requests.request_ids[place],
            "item_id": tables.items.ids[requests.items],
            "user_id": requests.user_ids[place],
            "label": requests.labels.astype(np.int8),
            "score": ranker.predict(tables, period),
            "is_cold": requests.is_cold,
        }
    )


def refuse_equal_periods(tables: RankingTables) -> None:
    """Raise RankingError where validation and test hold an impression in common."""
    rows = [_keys(tables, period) for period in ("validation", "test")]
    common = rows[0].join(rows[1], on=["request_id", "item_id"], how="semi")
    if common.height:
        raise RankingError(
            f"validation and test share {common.height} impressions (first: request "
            f"{common['request_id'][0]}); what chooses must not judge: mend the two times"
        )


def _keys(tables: RankingTables, period: Period) -> pl.DataFrame:
    requests = tables.periods[period]
    return pl.DataFrame(
        {"request_id": requests.request_ids[requests.row_requests()], "item_id": requests.items}
    )


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = Parser(
        prog="python -m ranking.evaluate",
        description="Score a shop's period with a trained ranker, write the scores and print the metrics.",
        example="python -m ranking.evaluate demo/cube demo/shop --items demo/encoder/items "
        "--queries demo/encoder/queries --out demo/cube_scores",
    )
    parser.add_argument("ranker", type=Path, help="folder of the ranker")
    parser.add_argument("shop", type=Path, help="folder of the shop")
    parser.add_argument("--items", type=Path, help="embedding table of the items")
    parser.add_argument("--queries", type=Path, help="embedding table of the searches")
    parser.add_argument("--period", choices=("validation", "test"), default="test")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores and metrics")
    parser.add_argument("--resamples", type=int, default=NUM_RESAMPLES, help="of users")
    given = parser.parse_args(argv)
    items = EmbeddingTable.open(given.items) if given.items else None
    queries = EmbeddingTable.open(given.queries) if given.queries else None
    ranker = TrainedRanker.load(given.ranker, items, queries)
    shop = Shop.open(given.shop)
    tables = RankingTables.build(shop, preparation=ranker.preparation)
    scores = score(ranker, tables, given.period)
    truth = shop.truth if ranker.features.label == "clicked" else None
    metrics = evaluate(scores, truth, given.resamples)
    save_scores(scores, given.out, metrics, shop, given.period)
    simulated = " (simulated)" if shop.is_simulated else ""
    print(f"{shop.name}{simulated}, {given.period}: {scores.height:,} impressions")
    for name, metric in metrics.items():
        print(f"{name:24} {metric}  {metric.definition}")


def save_scores(
    scores: pl.DataFrame, folder: Path, metrics: dict[str, Estimate], shop: Shop, period: Period
) -> None:
    """Write `scores.parquet` and `metrics.json` into `folder`."""
    with atomic_file(folder / "scores.parquet") as temporary:
        scores.write_parquet(temporary)
    about = {
        "shop": shop.name,
        "shop_digest": shop.digest,
        "is_simulated": shop.is_simulated,
        "period": period,
        "metrics": {name: metric.as_dict() for name, metric in metrics.items()},
    }
    write_json(folder / "metrics.json", about)


if __name__ == "__main__":
    sys.exit(run(main))
