"""A metric that drives AUC is ranked above one that does not."""

import numpy as np
import polars as pl
import pytest

from exchange_rate import rank_metrics
from moon_rec.errors import StudyError


def table(num_encoders=8, num_seeds=3):
    random = np.random.default_rng(0)
    recall = np.linspace(0.1, 0.8, num_encoders)
    noise = random.permutation(recall)
    rows = [
        {
            "encoder": f"encoder {row}",
            "seed": seed,
            "recall": recall[row],
            "recall.low": recall[row] - 0.02,
            "recall.high": recall[row] + 0.02,
            "idle": noise[row],
            "auc": 0.6 + 0.1 * recall[row] + random.normal(0, 0.002),
        }
        for row in range(num_encoders)
        for seed in range(num_seeds)
    ]
    return pl.DataFrame(rows)


def test_the_metric_behind_auc_comes_first():
    ranked = rank_metrics(table())
    assert ranked["metric"].to_list() == ["recall", "idle"]
    first, second = ranked.rows(named=True)
    assert first["verdict"] == "identified" and second["verdict"] != "identified"
    assert first["slope_per_deviation"] == pytest.approx(
        0.1 * np.linspace(0.1, 0.8, 8).std(ddof=1), rel=0.1
    )
    assert first["left_out_error"] < first["left_out_error_of_mean"] / 5
    assert first["kendall"] == 1.0 and 0 < first["kendall_low"] < 1 == first["kendall_high"]


def test_left_out_error_equals_a_literal_loop():
    frame = table(num_seeds=1)
    metric, auc = frame["recall"].to_numpy(), frame["auc"].to_numpy()
    errors = []
    for row in range(8):
        slope, start = np.polyfit(np.delete(metric, row), np.delete(auc, row), 1)
        errors.append(auc[row] - start - slope * metric[row])
    ranked = rank_metrics(frame, metrics=["recall"])
    assert ranked["left_out_error"][0] == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_too_few_encoders_give_no_numbers():
    ranked = rank_metrics(table(num_encoders=3))
    assert set(ranked["verdict"]) == {"not identified"}
    assert ranked["slope"].is_nan().all()


def test_a_metric_missing_everywhere_is_not_identified():
    frame = table().with_columns(recall=pl.lit(None, dtype=pl.Float64))
    row = rank_metrics(frame).filter(pl.col("metric") == "recall").row(0, named=True)
    assert row["verdict"] == "not identified" and row["num_encoders"] == 0


def test_a_missing_column_is_named():
    with pytest.raises(StudyError, match="'gauc'"):
        rank_metrics(table(), outcome="gauc")
