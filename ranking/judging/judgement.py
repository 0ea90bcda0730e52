"""Judge tables of scores: every metric with its interval, overall and in segments. No torch."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from moon_rec.errors import RankingError
from moon_rec.estimate import Estimate
from ranking.groups import group_codes
from ranking.judging.resampling import (
    Statistic,
    WeightedAuc,
    WeightedCalibrationError,
    interval,
    resample,
    too_few,
    weighted_calibration,
    weighted_gauc,
    weighted_log_loss,
    weighted_normalised_entropy,
)
from ranking.judging.segments import Segment, Segments, segments_of
from ranking.metrics import NUM_BINS, WEIGHTS, Weight, check_probabilities, checked

NUM_RESAMPLES = 500
"""Of the intervals; each costs one pass over the rows a metric."""

IS_PROBABILITY = "is_probability"
"""Column of a table of scores that are none; only order is measured of them."""
GAUC_NAMES: dict[Weight, str] = {
    weight: "gauc" if weight == "impressions" else f"gauc_{weight}" for weight in WEIGHTS
}


def evaluate(
    scores: pl.DataFrame,
    truth: pl.DataFrame | pl.LazyFrame | None = None,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
    by: Sequence[str] = (),
    segments: Segments | None = None,
) -> dict[str, Estimate]:
    """All metrics of a table of scores: overall, on cold and warm items, and in the groups of columns.

    Args:
        scores: what `score` gives; any column of it can be grouped by.
        truth: `request_id, item_id, click_probability` of a simulated shop.
        num_resamples: of the bootstrap over users, shared by all metrics.
        by: columns, such as `category` or `history_length`, cut into segments.
        segments: these instead, such as `segments_of(scores, by)` with other limits.

    Returns:
        `auc, gauc, gauc_users, gauc_positives`, and of probabilities `log_loss, normalised_entropy, calibration` (predicted
        over observed clicks), `calibration_error`, each also with `_cold` and `_warm`, and with
        `[column=value]` for each group; with truth also `auc_best`. What has no value (a segment
        without clicks, no user with both classes) is left out; `segments_of` names what was. What rests
        on too few users has a value without an interval (NaN), and its definition ends in why.

    Raises:
        RankingError: labels of one class overall, NaN scores, a column or a true probability missing.
    """
    check_columns(scores)
    labels, given = _checked(scores)
    best = None if truth is None else true_probabilities(scores, truth)
    users = group_codes(scores["user_id"].to_numpy(), scores.height)
    found: dict[str, tuple[Statistic, int, str]] = {}
    for segment in (segments or segments_of(scores, by)).judged:
        rows = segment.rows
        found |= _statistics(
            labels[rows], given[rows], users[rows], segment, are_probabilities(scores)
        )
        if best is not None:
            statistic = WeightedAuc(labels[rows], best[rows], users[rows])
            words = f"AUC of the true click probability (simulated){segment.words}"
            found[f"auc_best{segment.key}"] = (statistic, segment.num_rows, words)
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
    counted = min(one.counted for one in statistics)
    low, high = interval(shares, level, counted)
    words = "share of the way from the ids-only AUC to the AUC of the true click probability (simulated)"
    return Estimate(float(value), low, high, paired.height, words + _how(counted), level)


def _how(counted: int) -> str:
    """How an interval was made, or why there is none; the end of a definition."""
    return f"; {too_few(counted) or 'bootstrap over users'}"


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
    labels: np.ndarray,
    scores: np.ndarray,
    users: np.ndarray,
    segment: Segment,
    are_probabilities: bool,
) -> dict[str, tuple[Statistic, int, str]]:
    """Name -> statistic, number of rows, definition, of one segment."""
    counted = segment.num_two_class_users
    left_out = f"{counted:,} users counted, {segment.num_users - counted:,} of one class left out"
    statistics: dict[str, tuple[Statistic, str]] = {
        "auc": (WeightedAuc(labels, scores, users), "AUC by midranks")
    }
    for weight, name in GAUC_NAMES.items():
        words = f"AUC within users, weighted by {weight}, {left_out}"
        statistics[name] = (weighted_gauc(labels, scores, users, weight), words)
    if are_probabilities:
        statistics |= _of_probabilities(labels, scores, users)
    return {
        f"{name}{segment.key}": (statistic, labels.size, words + segment.words)
        for name, (statistic, words) in statistics.items()
    }


def _of_probabilities(
    labels: np.ndarray, scores: np.ndarray, users: np.ndarray
) -> dict[str, tuple[Statistic, str]]:
    """Name -> statistic and definition, of what only probabilities have."""
    ratio, error = weighted_calibration(labels, scores, users)
    return {
        "log_loss": (weighted_log_loss(labels, scores, users), "mean log loss in nats"),
        "normalised_entropy": (
            weighted_normalised_entropy(labels, scores, users),
            "log loss over the entropy of the click rate",
        ),
        "calibration": (ratio, "predicted over observed clicks"),
        "calibration_error": (
            error,
            f"root mean square gap of prediction and click rate over {NUM_BINS} equal bins of rows, "
            "freed of its bias",
        ),
    }


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
    statistics = [_redrawn(found[name][0]) for name in kept]
    drawn = resample(statistics, num_users, num_resamples, seed, "bootstrap over users")
    estimates = {}
    for column, name in enumerate(kept):
        statistic, count, words = found[name]
        low, high = interval(drawn[:, column], level, statistic.counted)
        words += _how(statistic.counted)
        estimates[name] = Estimate(values[name], low, high, count, words, level)
    return estimates


def _redrawn(statistic: Statistic) -> Statistic:
    """What a bootstrap takes in its place: draws add noise a second time, which only an error of bias shows."""
    return statistic.drawn() if isinstance(statistic, WeightedCalibrationError) else statistic


def check_columns(scores: pl.DataFrame) -> None:
    """Raise RankingError where a table of scores misses a column, a row or a value, or holds a row twice."""
    wanted = {"request_id", "item_id", "user_id", "label", "score", "is_cold"}
    missing = sorted(wanted - set(scores.columns))
    if missing:
        raise RankingError(
            f"a table of scores misses {', '.join(missing)}; it has {', '.join(scores.columns)}"
        )
    if scores.height == 0:
        raise RankingError("a table of scores has no row; score a period that has impressions")
    for name in sorted(wanted):
        empty = scores[name].is_null()
        if name == "is_cold" and empty.all() and scores[name].dtype == pl.Boolean:
            continue  # not known: cold and warm items are not told apart
        if empty.any():
            raise RankingError(
                f"column {name} of the scores has no value in row {empty.arg_max()} "
                f"({empty.sum():,} of {scores.height:,} rows)"
            )
    if scores["is_cold"].dtype != pl.Boolean:
        raise RankingError(
            f"column is_cold of the scores is of {scores['is_cold'].dtype}, first {scores['is_cold'][0]!r}: "
            "wanted true and false"
        )
    twice = scores.select("request_id", "item_id").is_duplicated()
    if twice.any():
        first = scores.row(int(twice.arg_max() or 0), named=True)
        raise RankingError(
            f"request {first['request_id']}, item {first['item_id']} has more than one score "
            f"({twice.sum():,} of {scores.height:,} rows are not alone): score each impression once"
        )


def check_scores(scores: pl.DataFrame) -> None:
    """`check_columns`, and RankingError for a label, score or user id that is none, by its row."""
    check_columns(scores)
    _checked(scores)
    group_codes(scores["user_id"], scores.height)


def are_probabilities(scores: pl.DataFrame) -> bool:
    """Whether scores are click probabilities: they are, unless a column `is_probability` says that they are not."""
    return IS_PROBABILITY not in scores.columns or bool(scores[IS_PROBABILITY].all())


def _checked(scores: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores `(rows,)`; RankingError for one that is none."""
    labels, given = checked(scores["label"].to_numpy(), scores["score"].to_numpy())
    if are_probabilities(scores):
        check_probabilities(given)
    return labels, given
