"""A ranker's AUC and GAUC under draws of users that all rankers, and all encoders, are taken under: `moon_rec.user_draws`.

The bootstrap of `resampling` draws users anew for each table of scores and is good for the interval of that table. Here a user's weight depends on the user and the draw alone, so
what two rankers of different processes have in common by luck of the test users can be told from what differs. Rows are sorted once; each draw then costs one pass.
"""

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.user_draws import SEED, DrawCounts, weight_rows
from ranking.groups import group_codes
from ranking.judging.resampling import Statistic
from ranking.judging.segments import segments_of
from ranking.significance import statistic_of

METRICS = ("auc", "gauc")


def scores_under_draws(
    scores: pl.DataFrame, counts: DrawCounts, seed: int = SEED
) -> dict[str, np.ndarray]:
    """AUC and GAUC (by impressions) of scored impressions under every row of weights.

    Args:
        scores: what `ranking.evaluate.score` gives; `user_id` the shop's own, whole numbers.

    Returns:
        `auc`, `gauc` and each with `_cold` and `_warm`, where they have a value on all users: `(counts.rows,)` as in `weight_rows`. NaN where a half has none; a draw
        always has one. Row order plays no part.

    Raises:
        RankingError: user ids that are no whole numbers, or what `ranking.metrics.auc` refuses.
    """
    if not scores["user_id"].dtype.is_integer():
        raise RankingError(
            f"user_id of the scores is of {scores['user_id'].dtype}: users are drawn by the shop's own ids, whole numbers"
        )
    # within a user equal rows are alike, so that sums come in one order whatever the order of rows
    scores = scores.sort("score", "user_id", "label")
    ids = np.unique(scores["user_id"].to_numpy())
    codes = group_codes(scores["user_id"], scores.height)
    labels, given = scores["label"].to_numpy(), scores["score"].to_numpy()
    statistics: dict[str, Statistic] = {}
    for segment in segments_of(scores).judged:
        rows = segment.rows
        for metric in METRICS:
            found = statistic_of(metric, labels[rows], given[rows], codes[rows])
            if found.counted:
                statistics[f"{metric}{segment.key}"] = found
    drawn = [
        [one.value(weights) for one in statistics.values()]
        for block in weight_rows(ids, counts, seed)
        for weights in block
    ]
    return dict(zip(statistics, np.array(drawn).T, strict=True))
