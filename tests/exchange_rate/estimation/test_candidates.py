"""A metric that drives AUC is ranked above one that does not."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from exchange_rate import rank_metrics
from exchange_rate.estimation.candidates import metric_errors
from exchange_rate.estimation.ranking import is_larger, rank_by_error
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


def saturating(num_encoders=10):
    """AUC flattens in `curved`, which follows it closely, and rises by a line in `noisy`, which does not."""
    random = np.random.default_rng(1)
    quality = np.linspace(0, 1, num_encoders)
    rise = (1 - np.exp(-2.5 * quality)) / (1 - np.exp(-2.5))
    return pl.DataFrame(
        {
            "encoder": [f"encoder {row}" for row in range(num_encoders)],
            "auc": 0.6 + 0.08 * rise + random.normal(0, 0.0005, num_encoders),
            "curved": quality,
            "noisy": rise + random.permutation(np.linspace(-0.35, 0.35, num_encoders)),
        }
    )


def test_the_best_metric_is_chosen_by_error_whatever_its_verdict():
    first, second = rank_metrics(saturating()).rows(named=True)
    assert (first["metric"], first["verdict"]) == ("curved", "saturating")
    assert (second["metric"], second["verdict"]) == ("noisy", "rests on one encoder")
    assert first["left_out_error"] < second["left_out_error"]


def test_two_metrics_alike_are_not_told_apart_and_a_worse_one_is():
    frame = saturating(12).with_columns(
        again=pl.col("curved") + 1e-4 * pl.Series(np.resize([1.0, -1.0], 12)),
        idle=pl.Series(np.random.default_rng(3).permutation(np.arange(12.0))),
    )
    ranked = rank_metrics(frame, metrics=["curved", "again", "idle"])
    told = dict(ranked.select("metric", "is_told_from_best").iter_rows())
    best, other = sorted(("curved", "again"), key=lambda name: told[name] is not None)
    assert (told[best], told[other], told["idle"]) == (None, False, True)
    beats = dict(ranked.select("metric", "is_told_from_mean").iter_rows())
    assert beats["curved"] and not beats["idle"]


def test_the_paired_test_is_that_of_a_correlation():
    """Granger and Newbold's statistic: sums and differences of the errors, with three degrees of freedom fewer than encoders."""
    random = np.random.default_rng(4)
    small, large = random.normal(0, 1, 12), random.normal(0, 3, 12)
    each = np.arange(12)  # every encoder is its own path
    total, difference = large + small, large - small
    r = float(total @ difference / np.sqrt((total @ total) * (difference @ difference)))
    p = float(stats.t.sf(r * np.sqrt(9 / (1 - r**2)), 9))
    assert is_larger(large, small, p * 1.001, each) and not is_larger(large, small, p * 0.999, each)
    assert not is_larger(small, large, 0.4, each) and not is_larger(small, small, 0.4, each)


def test_metrics_alike_are_seldom_told_apart():
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        quality = random.uniform(0, 1, 7)
        frame = pl.DataFrame(
            {
                "encoder": list("abcdefg"),
                "auc": 0.6 + 0.08 * quality,
                "one": quality + random.normal(0, 0.1, 7),
                "two": quality + random.normal(0, 0.1, 7),
            }
        )
        wrong += bool(rank_by_error(frame, "auc", ["one", "two"], 0.95)[1].is_told_from_best)
    # one-sided at .05, but the better of two is the one it is set against: .10 at most, with three standard errors
    assert wrong <= 200 * 0.10 + 3 * np.sqrt(200 * 0.1 * 0.9)


def test_metrics_alike_on_paths_are_seldom_told_apart():
    """Three checkpoints of each of eight trainings share most of what their metrics and AUC are."""
    random, wrong, code = np.random.default_rng(6), 0, np.repeat(np.arange(8), 3)

    def draw():
        return 0.77 * random.normal(0, 1, 8)[code] + 0.63 * random.normal(0, 1, 24)

    for _ in range(200):
        quality = draw()
        frame = pl.DataFrame(
            {
                "encoder": [f"encoder {row}" for row in range(24)],
                "path": [f"path {one}" for one in code],
                "auc": quality + 0.2 * draw(),
                "one": quality + 0.5 * draw(),
                "two": quality + 0.5 * draw(),
            }
        )
        wrong += bool(rank_by_error(frame, "auc", ["one", "two"], 0.95)[1].is_told_from_best)
    assert wrong <= 200 * 0.10 + 3 * np.sqrt(200 * 0.1 * 0.9)


def test_a_metric_missing_for_an_encoder_is_not_compared():
    frame = table().with_columns(
        recall=pl.when(pl.col("encoder") != "encoder 3").then("recall")  # the better one
    )
    rows = rank_metrics(frame).rows(named=True)
    assert [row["metric"] for row in rows] == ["idle", "recall"]
    assert rows[1]["num_encoders"] == 7 and rows[1]["is_told_from_best"] is None
    assert rows[1]["left_out_error"] < rows[0]["left_out_error"]


def test_an_interval_without_width_is_no_certainty():
    frame = table().with_columns(
        pl.when(pl.col("encoder") == "encoder 0").then(0.0).otherwise("recall").alias("recall")
    )
    is_first = pl.col("encoder") == "encoder 0"
    frame = frame.with_columns(
        pl.when(is_first).then(0.0).otherwise("recall.low").alias("recall.low"),
        pl.when(is_first).then(0.0).otherwise("recall.high").alias("recall.high"),
    )
    with pytest.raises(StudyError, match=r"row 0 \(encoder 'encoder 0'\).*\[0, 0\] has no width"):
        metric_errors(frame, "recall")
    reason = rank_metrics(frame, metrics=["recall"]).row(0, named=True)
    assert reason["verdict"] == "not identified" and "has no width" in reason["reason"]
    assert np.isfinite(reason["left_out_error"])  # prediction needs no standard error
    counted = frame.with_columns(pl.lit(3.0).alias("recall.count"))
    errors, told = metric_errors(counted, "recall")
    assert errors is not None
    # Wilson at 0 of 3: [0, z^2 / (n + z^2)]
    assert errors[0] == pytest.approx(1.959964**2 / (3 + 1.959964**2) / (2 * 1.959964))
    assert errors[-1] == pytest.approx(0.04 / (2 * 1.959964))
    assert "Wilson's: 'encoder 0' (0 of n = 3)" in told
    assert "Wilson's" in rank_metrics(counted, metrics=["recall"])["reason"][0]
