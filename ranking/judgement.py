"""Judge tables of scores: every metric with its interval, overall, on cold and on warm items. No torch."""

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.estimate import Estimate
from ranking.metrics import NUM_BINS, check_probabilities, checked, group_codes
from ranking.resampling import (
    Statistic,
    WeightedAuc,
    interval,
    resample,
    weighted_calibration,
    weighted_gauc,
    weighted_log_loss,
)

NUM_RESAMPLES = 500
"""Of the intervals; each costs one pass over the rows a metric."""

SEGMENTS = ("", "_cold", "_warm")


def evaluate(
    scores: pl.DataFrame,
    truth: pl.DataFrame | pl.LazyFrame | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """All metrics of a table of scores, overall and on cold and warm items.

    Args:
        scores: what `score` gives.
        truth: `request_id, item_id, click_probability` of a simulated shop.
        num_resamples: of the bootstrap over users, shared by all metrics.

    Returns:
        `auc, gauc, log_loss, calibration` (predicted over observed clicks), `calibration_error`, each
        also with `_cold` and `_warm`; with truth also `auc_best, auc_best_cold, auc_best_warm`. What
        has no value (a segment without clicks, no user with both classes) is left out.

    Raises:
        RankingError: labels of one class overall, NaN scores, a column or a true probability missing.
    """
    _check_columns(scores)
    checked(scores["label"].to_numpy(), scores["score"].to_numpy())
    columns = {"": scores["score"].to_numpy()}
    if truth is not None:
        columns["best"] = true_probabilities(scores, truth)
    users = group_codes(scores["user_id"].to_numpy(), scores.height)
    cold = scores["is_cold"].to_numpy()
    rows = {"": np.ones(cold.size, dtype=bool), "_cold": cold, "_warm": ~cold}
    found: dict[str, tuple[Statistic, int, str]] = {}
    for segment in SEGMENTS:
        chosen = rows[segment]
        labels = scores["label"].to_numpy()[chosen].astype(np.int64)
        if labels.size == 0 or labels.min() == labels.max():
            continue
        given = columns[""][chosen].astype(np.float64)
        found |= _statistics(labels, given, users[chosen], segment)
        if truth is not None:
            best = WeightedAuc(labels, columns["best"][chosen], users[chosen])
            words = f"AUC of the true click probability (simulated){_of(segment)}"
            found[f"auc_best{segment}"] = (best, labels.size, words)
    return _estimates(found, int(users.max()) + 1, num_resamples, seed, level)


def share_of_the_way(
    ids_only: pl.DataFrame,
    model: pl.DataFrame,
    truth: pl.DataFrame | pl.LazyFrame,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """How far a model goes from the ids-only AUC to the best possible one; simulated shops only.

    (AUC of the model - AUC of ids only) / (AUC of the true click probability - AUC of ids only),
    interval by bootstrap over users, all three under the same draws.

    Raises:
        RankingError: tables of scores of different rows, or a true probability missing.
    """
    keys = ["request_id", "item_id"]
    paired = ids_only.join(model.select(*keys, other="score"), on=keys, how="inner")
    if paired.height != ids_only.height or paired.height != model.height:
        raise RankingError(
            f"the two tables hold {ids_only.height} and {model.height} impressions, "
            f"{paired.height} in common; score the same shop and period"
        )
    labels = paired["label"].to_numpy()
    users = group_codes(paired["user_id"].to_numpy(), paired.height)
    columns = [paired["score"].to_numpy(), paired["other"].to_numpy()]
    columns.append(true_probabilities(paired, truth))
    statistics = [WeightedAuc(*checked(labels, column), users) for column in columns]
    num_users = int(users.max()) + 1
    whole = np.array([[statistic.value(np.ones(num_users)) for statistic in statistics]])
    drawn = resample(statistics, num_users, num_resamples, seed)
    (value,), shares = _share(whole), _share(drawn)
    low, high = interval(shares, level)
    words = "share of the way from the ids-only AUC to the AUC of the true click probability (simulated)"
    return Estimate(float(value), low, high, paired.height, words, level)


def _share(aucs: np.ndarray) -> np.ndarray:
    """`(resamples, 3)` AUCs of ids only, model and truth -> `(resamples,)`; NaN where truth is no better."""
    way = aucs[:, 2] - aucs[:, 0]
    return np.where(way > 0, (aucs[:, 1] - aucs[:, 0]) / np.where(way > 0, way, 1), np.nan)


def true_probabilities(scores: pl.DataFrame, truth: pl.DataFrame | pl.LazyFrame) -> np.ndarray:
    """The true click probability of each row of `scores`, `(rows,)`.

    Raises:
        RankingError: a row without one.
    """
    keys = ["request_id", "item_id"]
    known = truth.lazy().select(*keys, "click_probability").collect()
    found = scores.select(keys).join(known, on=keys, how="left", maintain_order="left")
    missing = found.filter(pl.col("click_probability").is_null())
    if missing.height:
        raise RankingError(
            f"{missing.height} scored impressions have no true click probability "
            f"(first: request {missing['request_id'][0]}, item {missing['item_id'][0]})"
        )
    return found["click_probability"].to_numpy()


def _statistics(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray, segment: str
) -> dict[str, tuple[Statistic, int, str]]:
    """Name -> statistic, number of rows, definition, of one segment."""
    check_probabilities(scores)
    of = _of(segment)
    ratio, error = weighted_calibration(labels, scores, users)
    statistics: dict[str, tuple[Statistic, str]] = {
        "auc": (WeightedAuc(labels, scores, users), f"AUC by midranks{of}"),
        "gauc": (
            weighted_gauc(labels, scores, users, "impressions"),
            f"AUC within users, weighted by impressions, one-class users left out{of}",
        ),
        "log_loss": (weighted_log_loss(labels, scores, users), f"mean log loss in nats{of}"),
        "calibration": (ratio, f"predicted over observed clicks{of}"),
        "calibration_error": (error, f"calibration error over {NUM_BINS} equal bins of rows{of}"),
    }
    return {
        f"{name}{segment}": (statistic, labels.size, words)
        for name, (statistic, words) in statistics.items()
    }


def _of(segment: str) -> str:
    return {"": "", "_cold": ", cold items only", "_warm": ", warm items only"}[segment]


def _estimates(
    found: dict[str, tuple[Statistic, int, str]],
    num_users: int,
    num_resamples: int,
    seed: int,
    level: float,
) -> dict[str, Estimate]:
    whole = np.ones(num_users)
    values = {name: statistic.value(whole) for name, (statistic, _, _) in found.items()}
    kept = [name for name, value in values.items() if np.isfinite(value)]
    statistics = [found[name][0] for name in kept]
    drawn = resample(statistics, num_users, num_resamples, seed, "bootstrap over users")
    estimates = {}
    for column, name in enumerate(kept):
        low, high = interval(drawn[:, column], level)
        _, count, words = found[name]
        words += "; bootstrap over users"
        estimates[name] = Estimate(values[name], low, high, count, words, level)
    return estimates


def _check_columns(scores: pl.DataFrame) -> None:
    wanted = {"request_id", "item_id", "user_id", "label", "score", "is_cold"}
    missing = sorted(wanted - set(scores.columns))
    if missing:
        raise RankingError(
            f"a table of scores misses {', '.join(missing)}; it has {', '.join(scores.columns)}"
        )
